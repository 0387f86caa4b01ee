#include "common/db_internal.h"

/* clock_timestamp, not now: the statement may have waited for another one's row lock. */
static char *claim_sql(TALLOC_CTX *ctx, const char *schema)
{
	return talloc_asprintf(ctx,
	                       "INSERT INTO %s.lease AS held (name, owner, until)"
	                       " VALUES ($1, $2, clock_timestamp() + $3::double precision * interval '1 millisecond')"
	                       " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner,"
	                       " until = clock_timestamp() + $3::double precision * interval '1 millisecond'"
	                       " WHERE held.owner = excluded.owner OR held.until < clock_timestamp()",
	                       schema);
}

enum err_code db_lease(struct db_pool *pool, const char *schema, const char *name, const char *owner, int64_t lease_ms,
                       bool *mine, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	SCRATCH_CTX(scratch);
	struct db_rows *rows;
	char *sql;

	*mine = false;
	TRY(db_acquire(pool, DB_ACQUIRE_MS, &db, e));
	sql = claim_sql(scratch, db_quote_name(scratch, db, schema));
	ASSERT(sql);
	TRY(db_query(db, scratch, &rows, e, sql, DB_TEXT(name), DB_TEXT(owner), DB_NUMBER(lease_ms)));
	*mine = db_affected(rows) == 1;
	return ERR_OK;
}

enum err_code db_lease_release(struct db_pool *pool, const char *schema, const char *name, const char *owner,
                               struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	SCRATCH_CTX(scratch);
	char *sql;

	TRY(db_acquire(pool, DB_ACQUIRE_MS, &db, e));
	sql = talloc_asprintf(scratch, "DELETE FROM %s.lease WHERE name = $1 AND owner = $2",
	                      db_quote_name(scratch, db, schema));
	ASSERT(sql);
	return db_query(db, scratch, NULL, e, sql, DB_TEXT(name), DB_TEXT(owner));
}
