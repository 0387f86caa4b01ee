#include "services/catalog/upload.h"

#include "common/clock.h"
#include "services/catalog/account.h"

#define ID_BYTES 16
#define BATCH 100

enum err_code upload_begin(struct db *db, TALLOC_CTX *ctx, const char *account, char **id, struct err *e)
{
	unsigned char bytes[ID_BYTES];

	TRY(account_check(db, account, e));
	random_bytes(bytes, sizeof(bytes));
	*id = talloc_strdup(ctx, "");
	for (size_t i = 0; i < ID_BYTES; i++)
		*id = talloc_asprintf_append(*id, "%02x", bytes[i]);
	ASSERT(*id);
	return db_query(db, ctx, NULL, e, "INSERT INTO catalog.upload (id, account) VALUES ($1, $2)", DB_TEXT(*id),
	                DB_TEXT(account));
}

enum err_code upload_check(struct db *db, const char *account, const char *id, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT 1 FROM catalog.upload WHERE id = $1 AND account = $2 AND state <> 'done'", DB_TEXT(id),
	             DB_TEXT(account)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no upload %s in account %s", id, account);
	return ERR_OK;
}

static enum err_code mark(struct db *db, const char *id, const char *state, struct err *e)
{
	SCRATCH_CTX(ctx);

	if (!id)
		return ERR_OK;
	return db_query(db, ctx, NULL, e, "UPDATE catalog.upload SET state = $2 WHERE id = $1 AND state <> 'done'",
	                DB_TEXT(id), DB_TEXT(state));
}

enum err_code upload_mark_used(struct db *db, const char *id, struct err *e)
{
	return mark(db, id, "used", e);
}

enum err_code upload_mark_done(struct db *db, const char *id, struct err *e)
{
	return mark(db, id, "done", e);
}

enum err_code upload_expire(struct db *db, int64_t age_ms, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.upload u SET state = 'done' WHERE u.state <> 'done'"
	                " AND u.created_at < catalog.now_ms() - $1::bigint AND NOT EXISTS (SELECT 1 FROM"
	                " catalog.job_detail d JOIN catalog.job j ON j.id = d.job"
	                " WHERE d.upload = u.id AND j.state IN ('queued', 'leased'))",
	                DB_NUMBER(age_ms));
}

enum err_code upload_list_done(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	return db_query(db, ctx, rows, e,
	                "SELECT id, account FROM catalog.upload WHERE state = 'done' ORDER BY id LIMIT $1",
	                DB_NUMBER(BATCH));
}

enum err_code upload_forget(struct db *db, const char *id, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.upload WHERE id = $1 AND state = 'done'", DB_TEXT(id));
}
