#include "services/object-store-gateway/quota.h"

#include <inttypes.h>

#define LOCK_WAIT "3s"

enum err_code quota_check(const struct store *s, const char *account, const struct db_rows *rows, size_t column,
                          struct err *e)
{
	int64_t used_bytes = db_number(rows, 0, column + 2), used_objects = db_number(rows, 0, column + 3);

	if (!db_is_null(rows, 0, column) && used_bytes > db_number(rows, 0, column))
		return ERR(e, ERR_EXHAUSTED,
		           "account %s may keep %" PRId64 " bytes in %s, and would have %" PRId64 " with this", account,
		           db_number(rows, 0, column), s->name, used_bytes);
	if (!db_is_null(rows, 0, column + 1) && used_objects > db_number(rows, 0, column + 1))
		return ERR(e, ERR_EXHAUSTED,
		           "account %s may keep %" PRId64 " objects in %s, and would have %" PRId64 " with this",
		           account, db_number(rows, 0, column + 1), s->name, used_objects);
	return ERR_OK;
}

enum err_code quota_charge(struct db *db, const struct store *s, const char *account, int64_t bytes, int64_t objects,
                           struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	if (bytes == 0 && objects == 0)
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.quota SET used_bytes = used_bytes + $3, used_objects = used_objects + $4"
	             " WHERE store = $1 AND account = $2 RETURNING max_bytes, max_objects, used_bytes, used_objects",
	             DB_TEXT(s->name), DB_TEXT(account), DB_NUMBER(bytes), DB_NUMBER(objects)));
	if (db_count(rows) == 0 || (bytes <= 0 && objects <= 0))
		return ERR_OK;
	return quota_check(s, account, rows, 0, e);
}

/* ---- limits ---- */

struct change {
	const struct store *store;
	const char *account;
	int64_t max_bytes, max_objects;
};

static struct db_param limit(int64_t max)
{
	return max ? DB_NUMBER(max) : DB_NULL;
}

/* Writers that did not see the row must be over before their objects are counted. While one of them is waited for, all
 * others wait, too: so not for long. */
static enum err_code lock_out_writers(struct db *db, const struct change *c, struct err *e)
{
	enum err_code code;

	TRY(db_query(db, NULL, NULL, e, "SET LOCAL lock_timeout = '" LOCK_WAIT "'"));
	code = db_query(db, NULL, NULL, e, "LOCK TABLE objects.object IN SHARE MODE");
	if (code != ERR_DEADLINE)
		return code;
	return err_wrap(e, "what account %s keeps in %s cannot be counted: a change of objects takes longer than %s",
	                c->account, c->store->name, LOCK_WAIT);
}

static enum err_code set_body(struct db *db, void *arg, struct err *e)
{
	const struct change *c = arg;

	TRY(lock_out_writers(db, c, e));
	return db_query(db, NULL, NULL, e,
	                "INSERT INTO objects.quota (store, account, max_bytes, max_objects, used_bytes, used_objects)"
	                " SELECT $1::text, $2::text, $3::bigint, $4::bigint, coalesce(sum(size), 0), count(*)"
	                " FROM objects.object WHERE store = $1 AND account = $2"
	                " ON CONFLICT (store, account) DO UPDATE SET max_bytes = excluded.max_bytes,"
	                " max_objects = excluded.max_objects, used_bytes = excluded.used_bytes,"
	                " used_objects = excluded.used_objects",
	                DB_TEXT(c->store->name), DB_TEXT(c->account), limit(c->max_bytes), limit(c->max_objects));
}

enum err_code quota_set(struct store *s, const char *account, int64_t max_bytes, int64_t max_objects, struct err *e)
{
	struct change change = {s, account, max_bytes, max_objects};

	if (max_bytes == 0 && max_objects == 0)
		return ERR(e, ERR_INVALID, "a quota of account %s without a limit: bytes, objects or both are needed",
		           account);
	return db_transaction(s->db, set_body, &change, e);
}

enum err_code quota_remove(struct store *s, const char *account, bool *existed, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e, "DELETE FROM objects.quota WHERE store = $1 AND account = $2", DB_TEXT(s->name),
	             DB_TEXT(account)));
	*existed = db_affected(rows) == 1;
	return ERR_OK;
}

enum err_code quota_list(struct db_pool *pool, TALLOC_CTX *ctx, const char *store, const char *account,
                         struct quota_list_reply *reply, size_t max, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(pool, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT store, account, max_bytes, max_objects, used_bytes, used_objects FROM objects.quota"
	             " WHERE ($1::text IS NULL OR store = $1) AND ($2::text IS NULL OR account = $2)"
	             " ORDER BY store, account LIMIT $3",
	             DB_TEXT(store), DB_TEXT(account), DB_NUMBER(max + 1)));
	reply->more = db_count(rows) > max;
	reply->items_count = MIN(db_count(rows), max);
	reply->items = talloc_zero_array(ctx, struct quota_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = (struct quota_item){
		    .store = db_text(rows, i, 0),
		    .account = db_text(rows, i, 1),
		    .max_bytes = db_number(rows, i, 2),
		    .max_objects = db_number(rows, i, 3),
		    .used_bytes = db_number(rows, i, 4),
		    .used_objects = db_number(rows, i, 5),
		};
	return ERR_OK;
}
