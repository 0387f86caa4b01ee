#include "services/catalog/account.h"

#include "services/catalog/catalog.h"

#include <string.h>

#define NAME_MAX_BYTES 128
#define ACCOUNTS_MAX 10000

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	return len >= 1 && len <= NAME_MAX_BYTES && strspn(name, letters) == len && !strchr("._-", name[0]);
}

enum err_code account_check(struct db *db, const char *name, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.account WHERE name = $1", DB_TEXT(name)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no account %s", name);
	return ERR_OK;
}

enum err_code account_add(struct db *db, const char *name, bool *existed, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	if (!is_name(name))
		return ERR(e, ERR_INVALID, "\"%s\" is no account name: a-z 0-9 . _ - are allowed, first a-z or 0-9",
		           name);
	TRY(db_query(db, ctx, &rows, e, "INSERT INTO catalog.account (name) VALUES ($1) ON CONFLICT DO NOTHING",
	             DB_TEXT(name)));
	*existed = db_affected(rows) == 0;
	return ERR_OK;
}

enum err_code account_read_all(struct db *db, TALLOC_CTX *ctx, struct account_list_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT a.name, a.created_at, count(i.id) FROM catalog.account a"
	             " LEFT JOIN catalog.image i ON i.account = a.name AND i.state <> 'deleting'"
	             " GROUP BY a.name ORDER BY a.name LIMIT $1",
	             DB_NUMBER(ACCOUNTS_MAX)));
	reply->items_count = db_count(rows);
	reply->items = talloc_zero_array(ctx, struct account_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = (struct account_item){
		    .name = db_text(rows, i, 0),
		    .created_at = db_number(rows, i, 1),
		    .images = db_number(rows, i, 2),
		};
	return ERR_OK;
}

enum err_code account_remove(struct db *db, const char *name, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	if (strcmp(name, CATALOG_DEFAULT_ACCOUNT) == 0)
		return ERR(e, ERR_PRECONDITION, "account %s cannot be removed", name);
	/* FOR UPDATE: no image can be added any more, since its foreign key would wait. */
	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.account WHERE name = $1 FOR UPDATE", DB_TEXT(name)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no account %s", name);
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT count(*), count(*) FILTER (WHERE state = 'deleting') FROM catalog.image"
	             " WHERE account = $1",
	             DB_TEXT(name)));
	if (db_number(rows, 0, 0) > 0)
		return ERR(e, ERR_PRECONDITION, "account %s has %lld images, %lld of them are being removed", name,
		           (long long)db_number(rows, 0, 0), (long long)db_number(rows, 0, 1));
	TRY(db_query(db, ctx, NULL, e, "UPDATE catalog.upload SET state = 'done' WHERE account = $1", DB_TEXT(name)));
	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.tag_history WHERE account = $1", DB_TEXT(name)));
	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.event WHERE account = $1", DB_TEXT(name)));
	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.audit WHERE account = $1", DB_TEXT(name)));
	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.account WHERE name = $1", DB_TEXT(name));
}
