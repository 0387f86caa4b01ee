#include "services/catalog/registry_credentials.h"

#include "common/log.h"
#include "common/reference.h"
#include "services/catalog/account.h"

#include <string.h>

#define REGISTRIES_MAX 1000
#define RENEW_BATCH 1000

static char *context_of(TALLOC_CTX *ctx, const char *account, const char *registry)
{
	char *context = talloc_asprintf(ctx, "registry/%s/%s", account, registry);

	ASSERT(context);
	return context;
}

/* The registry as references write it: "Docker.IO" is docker.io. A reference into it must have it as its registry. */
static enum err_code normalise(const char *text, struct reference *r, struct err *e)
{
	SCRATCH_CTX(ctx);
	char *probe = talloc_asprintf(ctx, "https://%s/probe", text);
	struct err unused;

	ASSERT(probe);
	if (strchr(text, '/') || reference_parse(probe, r, &unused) != ERR_OK)
		return ERR(e, ERR_INVALID, "\"%s\" is no registry: host or host:port is expected", text);
	return ERR_OK;
}

enum err_code registry_credentials_find(struct db *db, TALLOC_CTX *ctx, const struct vault *vault, const char *account,
                                        const char *registry, struct registry_access *access, struct err *e)
{
	struct db_rows *rows;
	const void *sealed;
	size_t len;
	char *password;

	*access = (struct registry_access){.user = "", .password = ""};
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT username, password, insecure FROM catalog.registry WHERE account = $1 AND registry = $2",
	             DB_TEXT(account), DB_TEXT(registry)));
	if (db_count(rows) == 0)
		return ERR_OK;
	access->insecure = db_flag(rows, 0, 2);
	if (!db_is_null(rows, 0, 0))
		access->user = db_text(rows, 0, 0);
	if (db_is_null(rows, 0, 1))
		return ERR_OK;
	sealed = db_bytes(rows, 0, 1, &len);
	TRY(vault_open(vault, ctx, context_of(ctx, account, registry), sealed, len, &password, e));
	access->password = password;
	return ERR_OK;
}

enum err_code registry_credentials_put(struct db *db, const struct vault *vault, const char *account,
                                       const struct registry_add_request *request, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct reference r;
	struct db_param password = DB_NULL;
	void *sealed;
	size_t len;

	TRY(normalise(request->registry, &r, e));
	TRY(account_check(db, account, e));
	if (request->password && *request->password) {
		TRY(vault_seal(vault, ctx, context_of(ctx, account, r.registry), request->password, &sealed, &len, e));
		password = DB_BYTES(sealed, len);
	}
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.registry (account, registry, username, password, insecure)"
	                " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, registry) DO UPDATE"
	                " SET username = excluded.username, password = excluded.password,"
	                " insecure = excluded.insecure",
	                DB_TEXT(account), DB_TEXT(r.registry), DB_TEXT(request->user), password,
	                DB_FLAG(request->insecure));
}

enum err_code registry_credentials_read_all(struct db *db, TALLOC_CTX *ctx, const char *account,
                                            struct registry_list_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT registry, username, insecure FROM catalog.registry WHERE account = $1"
	             " ORDER BY registry LIMIT $2",
	             DB_TEXT(account), DB_NUMBER(REGISTRIES_MAX)));
	reply->items_count = db_count(rows);
	reply->items = talloc_zero_array(ctx, struct registry_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = (struct registry_item){
		    .registry = db_text(rows, i, 0),
		    .user = db_text(rows, i, 1),
		    .insecure = db_flag(rows, i, 2),
		};
	return ERR_OK;
}

/* Row of account, registry, password. A password that was set meanwhile stays. */
static enum err_code renew_one(struct db *db, const struct vault *vault, const struct db_rows *rows, size_t row,
                               struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *account = db_text(rows, row, 0), *registry = db_text(rows, row, 1);
	size_t len, renewed_len;
	const void *sealed = db_bytes(rows, row, 2, &len);
	void *renewed;
	struct err why;

	if (vault_renew(vault, ctx, context_of(ctx, account, registry), sealed, len, &renewed, &renewed_len, &why) !=
	    ERR_OK) {
		LOG_WARN("registry password cannot be used", LOG_TEXT("account", account),
		         LOG_TEXT("registry", registry), LOG_ERR(&why));
		return ERR_OK;
	}
	if (!renewed)
		return ERR_OK;
	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.registry SET password = $3"
	                " WHERE account = $1 AND registry = $2 AND password = $4",
	                DB_TEXT(account), DB_TEXT(registry), DB_BYTES(renewed, renewed_len), DB_BYTES(sealed, len));
}

enum err_code registry_credentials_renew(struct db *db, const struct vault *vault, struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *account = "", *registry = "";
	struct db_rows *rows;

	do {
		TRY(db_query(db, ctx, &rows, e,
		             "SELECT account, registry, password FROM catalog.registry"
		             " WHERE (account, registry) > ($1, $2) AND password IS NOT NULL"
		             " ORDER BY account, registry LIMIT $3",
		             DB_TEXT(account), DB_TEXT(registry), DB_NUMBER(RENEW_BATCH)));
		for (size_t i = 0; i < db_count(rows); i++) {
			TRY(renew_one(db, vault, rows, i, e));
			account = db_text(rows, i, 0);
			registry = db_text(rows, i, 1);
		}
	} while (db_count(rows) == RENEW_BATCH);
	return ERR_OK;
}

enum err_code registry_credentials_remove(struct db *db, const char *account, const char *registry, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct reference r;
	struct db_rows *rows;

	TRY(normalise(registry, &r, e));
	TRY(db_query(db, ctx, &rows, e, "DELETE FROM catalog.registry WHERE account = $1 AND registry = $2",
	             DB_TEXT(account), DB_TEXT(r.registry)));
	if (db_affected(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "account %s has no registry %s", account, r.registry);
	return ERR_OK;
}
