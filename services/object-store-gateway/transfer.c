#include "services/object-store-gateway/transfer_work.h"

/* ---- starting ---- */

struct start {
	const struct store *store;
	const struct transfer_order *order;
	int64_t from, to, id;
};

/* The one that runs already, if it is the same; 0: none runs. */
static enum err_code find_running(struct db *db, TALLOC_CTX *ctx, struct start *st, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT t.id, t.source = $2 AND t.target = $3, f.name, b.name FROM objects.transfer t"
	             " JOIN objects.backend f ON f.id = t.source JOIN objects.backend b ON b.id = t.target"
	             " WHERE t.store = $1 AND t.state = 'running'",
	             DB_TEXT(st->store->name), DB_NUMBER(st->from), DB_NUMBER(st->to)));
	if (!db_count(rows))
		return ERR_OK;
	st->id = db_number(rows, 0, 0);
	if (!db_flag(rows, 0, 1))
		return ERR(e, ERR_CONFLICT, "%s is being migrated from %s to %s; one at a time", st->store->name,
		           db_text(rows, 0, 2), db_text(rows, 0, 3));
	return ERR_OK;
}

static enum err_code start_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct start *st = arg;
	struct db_rows *rows;

	st->id = 0;
	TRY(db_query(db, NULL, NULL, e, "LOCK TABLE objects.transfer IN SHARE ROW EXCLUSIVE MODE"));
	TRY(find_running(db, ctx, st, e));
	if (st->id)
		return db_query(db, NULL, NULL, e,
		                "UPDATE objects.transfer SET rate = $2, keep_source = $3 WHERE id = $1",
		                DB_NUMBER(st->id), DB_NUMBER(st->order->rate), DB_FLAG(st->order->keep_source));
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.transfer (store, source, target, rate, keep_source, state, chunks, bytes)"
	             " SELECT $1, $2, $3, $4, $5, 'running', count(*), coalesce(sum(size), 0) FROM objects.chunk"
	             " WHERE backend = $2 AND state = 'live' RETURNING id",
	             DB_TEXT(st->store->name), DB_NUMBER(st->from), DB_NUMBER(st->to), DB_NUMBER(st->order->rate),
	             DB_FLAG(st->order->keep_source)));
	st->id = db_number(rows, 0, 0);
	return ERR_OK;
}

enum err_code transfer_start(struct store *s, const struct transfer_order *order, int64_t *id, struct err *e)
{
	struct start st = {.store = s, .order = order};
	struct backend *from, *to;

	TRY(backend_by_name(s, order->from, &from, e));
	TRY(backend_by_name(s, order->to, &to, e));
	if (from == to)
		return ERR(e, ERR_INVALID, "both back ends are %s", from->name);
	if (from == s->current)
		return ERR(
		    e, ERR_PRECONDITION,
		    "new chunks of %s go to %s: let the configuration name %s first, then move what is in the old one",
		    s->name, from->name, to->name);
	st.from = from->id;
	st.to = to->id;
	TRY(db_transaction(s->db, start_body, &st, e));
	*id = st.id;
	return ERR_OK;
}

enum err_code transfer_end(struct db *db, int64_t id, enum transfer_state state, const char *why, bool *ended,
                           struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	ASSERT(state != TRANSFER_RUNNING);
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.transfer SET state = $2, ended_at = now(), last_error = coalesce($3, last_error)"
	             " WHERE id = $1 AND state = 'running' RETURNING id",
	             DB_NUMBER(id), DB_TEXT(transfer_state_text(state)), DB_TEXT(why)));
	*ended = db_count(rows) == 1;
	return ERR_OK;
}

enum err_code transfer_stop(struct store *s, bool *stopped, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e, "SELECT id FROM objects.transfer WHERE store = $1 AND state = 'running'",
	             DB_TEXT(s->name)));
	*stopped = false;
	if (!db_count(rows))
		return ERR_OK;
	return transfer_end(db, db_number(rows, 0, 0), TRANSFER_STOPPED, NULL, stopped, e);
}

/* ---- reading ---- */

static struct transfer_item item_from_row(const struct db_rows *rows, size_t i)
{
	return (struct transfer_item){
	    .id = db_number(rows, i, 0),
	    .store = db_text(rows, i, 1),
	    .from = db_text(rows, i, 2),
	    .to = db_text(rows, i, 3),
	    .state = transfer_state_value(db_text(rows, i, 4)),
	    .rate = db_number(rows, i, 5),
	    .keep_source = db_flag(rows, i, 6),
	    .chunks = db_number(rows, i, 7),
	    .bytes = db_number(rows, i, 8),
	    .moved_chunks = db_number(rows, i, 9),
	    .moved_bytes = db_number(rows, i, 10),
	    .failed_chunks = db_number(rows, i, 11),
	    .started_at = db_number(rows, i, 12),
	    .ended_at = db_number(rows, i, 13),
	    .last_error = db_text(rows, i, 14),
	    .left_chunks = db_number(rows, i, 15),
	};
}

static enum err_code read_failures(struct db *db, TALLOC_CTX *ctx, int64_t id, struct store_migrate_status_reply *reply,
                                   struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT sha256, reason FROM objects.transfer_failure WHERE transfer = $1 ORDER BY chunk LIMIT $2",
	             DB_NUMBER(id), DB_NUMBER(TRANSFER_FAILURES_SHOWN)));
	reply->failures_count = db_count(rows);
	reply->failures = talloc_zero_array(ctx, struct chunk_failure, reply->failures_count + 1);
	ASSERT(reply->failures);
	for (size_t i = 0; i < reply->failures_count; i++)
		reply->failures[i] = (struct chunk_failure){db_digest(rows, i, 0), db_text(rows, i, 1)};
	return ERR_OK;
}

enum err_code transfer_read(struct store *s, TALLOC_CTX *ctx, size_t max, struct store_migrate_status_reply *reply,
                            struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "WITH shown AS (SELECT * FROM objects.transfer WHERE store = $1 ORDER BY id DESC LIMIT $2)"
	             " SELECT t.id, t.store, f.name, b.name, t.state, t.rate, t.keep_source, t.chunks, t.bytes,"
	             " t.moved_chunks, t.moved_bytes, t.failed_chunks,"
	             " (extract(epoch FROM t.started_at) * 1000)::bigint,"
	             " (extract(epoch FROM t.ended_at) * 1000)::bigint, t.last_error,"
	             " CASE t.state WHEN 'done' THEN 0 ELSE coalesce(l.chunks, 0) END FROM shown t"
	             " JOIN objects.backend f ON f.id = t.source JOIN objects.backend b ON b.id = t.target"
	             " LEFT JOIN (SELECT backend, count(*) AS chunks FROM objects.chunk WHERE state = 'live'"
	             "   AND backend IN (SELECT source FROM shown WHERE state <> 'done') GROUP BY backend) AS l"
	             "   ON l.backend = t.source ORDER BY t.id DESC",
	             DB_TEXT(s->name), DB_NUMBER(max)));
	reply->items_count = db_count(rows);
	reply->items = talloc_zero_array(ctx, struct transfer_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = item_from_row(rows, i);
	return reply->items_count ? read_failures(db, ctx, reply->items[0].id, reply, e) : ERR_OK;
}
