#include "services/object-store-gateway/gc.h"

#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/sql_array.h"

#define WAIT_MS 10000
#define LEASE_MS 10000 /* two sweeps at once do no harm, they only repeat work */

static struct metric removed_total = METRIC_COUNTER("stowage_chunk_removed_total", "Chunks that the sweep removed.");

struct sweep {
	struct store *store;
	int64_t grace_ms, limit;
	size_t looked_at;
};

static const char *ids_of(TALLOC_CTX *ctx, const struct db_rows *rows, int64_t **numbers)
{
	*numbers = talloc_zero_array(ctx, int64_t, db_count(rows) + 1);
	ASSERT(*numbers);
	for (size_t i = 0; i < db_count(rows); i++)
		(*numbers)[i] = db_number(rows, i, 0);
	return sql_numbers(ctx, *numbers, db_count(rows));
}

/* The rows are locked by the first statement; whether they are named is asked by a second one, whose snapshot has every
 * commit that was over before. */
static enum err_code condemn_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct sweep *s = arg;
	struct db_rows *rows;
	int64_t *numbers;
	const char *ids;
	size_t changed;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE store = $1 AND state = 'live' AND suspect"
	             " AND touched_at <= now() - $2::bigint * interval '1 millisecond'"
	             " ORDER BY touched_at LIMIT $3 FOR UPDATE SKIP LOCKED",
	             DB_TEXT(s->store->name), DB_NUMBER(s->grace_ms), DB_NUMBER(s->limit)));
	s->looked_at = db_count(rows);
	if (!s->looked_at)
		return ERR_OK;
	ids = ids_of(ctx, rows, &numbers);
	TRY(db_query(db, NULL, NULL, e,
	             "UPDATE objects.chunk c SET suspect = false WHERE id = ANY ($1::bigint[])"
	             " AND EXISTS (SELECT 1 FROM objects.object_chunk oc WHERE oc.chunk = c.id)",
	             DB_TEXT(ids)));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE id = ANY ($1::bigint[]) AND suspect ORDER BY id",
	             DB_TEXT(ids)));
	ids_of(ctx, rows, &numbers);
	return chunk_set_state(db, numbers, db_count(rows), CHUNK_LIVE, CHUNK_DELETING, &changed, e);
}

static enum err_code condemn_abandoned(struct sweep *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	int64_t *numbers;
	size_t changed;

	TRY(db_acquire(s->store->db, WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE store = $1 AND state = 'writing'"
	             " AND touched_at <= now() - $2::bigint * interval '1 millisecond' ORDER BY touched_at LIMIT $3",
	             DB_TEXT(s->store->name), DB_NUMBER(s->store->write_grace_ms), DB_NUMBER(s->limit)));
	ids_of(ctx, rows, &numbers);
	return chunk_set_state(db, numbers, db_count(rows), CHUNK_WRITING, CHUNK_DELETING, &changed, e);
}

/* Bytes first, rows after: whatever is `deleting`, whoever made it so. */
static enum err_code execute(struct sweep *s, struct gc_result *result, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct location *locations;
	struct db_rows *rows;
	int64_t *numbers, bytes = 0;
	size_t changed;

	TRY(db_acquire(s->store->db, WAIT_MS, &db, e));
	TRY(db_query(
	    db, ctx, &rows, e,
	    "SELECT id, sha256, stored_size FROM objects.chunk WHERE store = $1 AND state = 'deleting' AND driver = $2"
	    " ORDER BY touched_at LIMIT $3",
	    DB_TEXT(s->store->name), DB_TEXT(s->store->driver->name), DB_NUMBER(s->limit)));
	if (!db_count(rows))
		return ERR_OK;
	locations = talloc_zero_array(ctx, struct location, db_count(rows));
	ASSERT(locations);
	for (size_t i = 0; i < db_count(rows); i++) {
		locations[i] = (struct location){db_digest(rows, i, 1), db_number(rows, i, 0)};
		bytes += db_number(rows, i, 2);
	}
	FAULT_POINT("gc-before-remove");
	TRY(s->store->driver->remove(s->store->conn, locations, db_count(rows), e));
	FAULT_POINT("gc-after-remove");
	ids_of(ctx, rows, &numbers);
	TRY(chunk_set_state(db, numbers, db_count(rows), CHUNK_DELETING, CHUNK_NONE, &changed, e));
	FAULT_POINT("gc-after-rows");
	result->removed += (int64_t)changed;
	result->freed_bytes += bytes;
	result->more |= db_count(rows) == (size_t)s->limit;
	metric_add(&removed_total, (int64_t)changed);
	return ERR_OK;
}

enum err_code gc_run(struct store *store, int64_t grace_ms, int64_t limit, struct gc_result *result, struct err *e)
{
	struct sweep s = {.store = store, .grace_ms = grace_ms, .limit = limit};

	*result = (struct gc_result){0};
	TRY(db_transaction(store->db, condemn_body, &s, e));
	FAULT_POINT("gc-after-condemned");
	result->more = s.looked_at == (size_t)limit;
	TRY(condemn_abandoned(&s, e));
	return execute(&s, result, e);
}

static enum err_code sweep_all(struct gateway *g, struct err *e)
{
	for (size_t i = 0; i < g->store_count; i++) {
		struct gc_result result = {.more = true};
		int64_t removed = 0, bytes = 0;

		while (result.more && !process_draining(g->process)) {
			bool mine;

			TRY(db_lease(g->db, "objects", "gc", process_instance(g->process), LEASE_MS, &mine, e));
			if (!mine)
				return ERR_OK;
			TRY(gc_run(&g->stores[i], g->stores[i].grace_ms, g->settings->gc_batch, &result, e));
			removed += result.removed;
			bytes += result.freed_bytes;
		}
		if (removed)
			LOG_INFO("chunks removed", LOG_TEXT("store", g->stores[i].name), LOG_NUMBER("chunks", removed),
			         LOG_NUMBER("bytes", bytes));
	}
	return ERR_OK;
}

void gc_task(struct process *process, void *state)
{
	struct err e;

	(void)process;
	if (sweep_all(state, &e) != ERR_OK)
		LOG_WARN("sweep ended early", LOG_ERR(&e));
}
