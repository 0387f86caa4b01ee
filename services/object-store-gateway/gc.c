#include "services/object-store-gateway/gc.h"

#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/sql_array.h"

#define BACKENDS_MAX 64 /* swept in one batch */

static struct metric removed_total = METRIC_COUNTER("stowage_chunk_removed_total", "Chunks that the sweep removed.");
static struct metric freed_total = METRIC_COUNTER("stowage_chunk_freed_bytes_total", "Bytes that the sweep freed.");

struct sweep {
	struct store *store;
	int64_t grace_ms, limit;
	size_t looked_at;
};

static int64_t *ids_of(TALLOC_CTX *ctx, const struct db_rows *rows)
{
	int64_t *ids = talloc_zero_array(ctx, int64_t, db_count(rows) + 1);

	ASSERT(ids);
	for (size_t i = 0; i < db_count(rows); i++)
		ids[i] = db_number(rows, i, 0);
	return ids;
}

/* Spare copies go with what they are copies of. */
static enum err_code condemn_spares(struct db *db, TALLOC_CTX *ctx, const struct store *store, const char *ids,
                                    struct err *e)
{
	struct chunk_moved moved;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT c.id FROM (SELECT sha256 FROM objects.chunk WHERE id = ANY ($2::bigint[])) AS gone"
	             " JOIN objects.chunk c ON c.store = $1 AND c.sha256 = gone.sha256 AND c.state = 'spare'"
	             " ORDER BY c.id",
	             DB_TEXT(store->name), DB_TEXT(ids)));
	return chunk_set_state(db, ids_of(ctx, rows), db_count(rows), CHUNK_SPARE, CHUNK_DELETING, &moved, e);
}

/* The rows are locked by the first statement; whether they are named is asked by a second one, whose snapshot has every
 * commit that was over before. */
static enum err_code condemn_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct sweep *s = arg;
	struct chunk_moved moved;
	struct db_rows *rows;
	const char *ids;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE store = $1 AND state = 'live' AND suspect"
	             " AND touched_at <= now() - $2::bigint * interval '1 millisecond'"
	             " ORDER BY touched_at LIMIT $3 FOR UPDATE SKIP LOCKED",
	             DB_TEXT(s->store->name), DB_NUMBER(s->grace_ms), DB_NUMBER(s->limit)));
	s->looked_at = db_count(rows);
	if (!s->looked_at)
		return ERR_OK;
	ids = sql_numbers(ctx, ids_of(ctx, rows), db_count(rows));
	TRY(db_query(db, NULL, NULL, e,
	             "UPDATE objects.chunk c SET suspect = false WHERE id = ANY ($1::bigint[])"
	             " AND EXISTS (SELECT 1 FROM objects.object_chunk oc WHERE oc.chunk = c.id)",
	             DB_TEXT(ids)));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE id = ANY ($1::bigint[]) AND suspect ORDER BY id",
	             DB_TEXT(ids)));
	ids = sql_numbers(ctx, ids_of(ctx, rows), db_count(rows));
	TRY(chunk_set_state(db, ids_of(ctx, rows), db_count(rows), CHUNK_LIVE, CHUNK_DELETING, &moved, e));
	return condemn_spares(db, ctx, s->store, ids, e);
}

static enum err_code condemn_abandoned(struct sweep *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct chunk_moved moved;
	struct db_rows *rows;

	TRY(db_acquire(s->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE store = $1 AND state = 'writing'"
	             " AND touched_at <= now() - $2::bigint * interval '1 millisecond' ORDER BY touched_at LIMIT $3",
	             DB_TEXT(s->store->name), DB_NUMBER(s->store->write_grace_ms), DB_NUMBER(s->limit)));
	return chunk_set_state(db, ids_of(ctx, rows), db_count(rows), CHUNK_WRITING, CHUNK_DELETING, &moved, e);
}

/* A back end with rows that are `deleting`, whoever made them so, and that is not in `done`; 0: none. Each is asked for
 * its first row: a million that wait in one back end are no reason to read them all for another. */
static enum err_code find_backend(struct sweep *s, const int64_t *done, size_t done_count, int64_t *backend,
                                  struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT b.id FROM objects.backend b WHERE b.store = $1 AND b.id <> ALL ($2::bigint[])"
	             " AND EXISTS (SELECT 1 FROM objects.chunk c WHERE c.store = $1 AND c.backend = b.id"
	             "   AND c.state = 'deleting') ORDER BY b.id LIMIT 1",
	             DB_TEXT(s->store->name), DB_TEXT(sql_numbers(ctx, done, done_count))));
	*backend = db_count(rows) ? db_number(rows, 0, 0) : 0;
	return ERR_OK;
}

static enum err_code find_condemned(struct sweep *s, TALLOC_CTX *ctx, int64_t backend, struct location **at,
                                    size_t *count, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, sha256 FROM objects.chunk WHERE store = $1 AND state = 'deleting' AND backend = $2"
	             " ORDER BY touched_at LIMIT $3",
	             DB_TEXT(s->store->name), DB_NUMBER(backend), DB_NUMBER(s->limit)));
	*count = db_count(rows);
	*at = talloc_zero_array(ctx, struct location, *count + 1);
	ASSERT(*at);
	for (size_t i = 0; i < *count; i++)
		(*at)[i] = (struct location){db_digest(rows, i, 1), db_number(rows, i, 0)};
	return ERR_OK;
}

static enum err_code forget_rows(struct sweep *s, TALLOC_CTX *ctx, const struct location *at, size_t count,
                                 struct chunk_moved *moved, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t *ids = talloc_zero_array(ctx, int64_t, count);

	ASSERT(ids);
	for (size_t i = 0; i < count; i++)
		ids[i] = at[i].number;
	TRY(db_acquire(s->store->db, DB_WAIT_MS, &db, e));
	return chunk_set_state(db, ids, count, CHUNK_DELETING, CHUNK_NONE, moved, e);
}

/* Bytes first, rows after. */
static enum err_code execute_in(struct sweep *s, int64_t id, struct gc_result *result, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct store *store = s->store;
	struct chunk_moved moved;
	struct backend *backend;
	struct location *at;
	size_t count;

	TRY(backend_by_id(store, id, &backend, e));
	TRY(find_condemned(s, ctx, id, &at, &count, e));
	if (!count)
		return ERR_OK;
	FAULT_POINT("gc-before-remove");
	if (backend->driver->remove(backend->conn, at, count, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s", store->name, backend->name);
	FAULT_POINT("gc-after-remove");
	TRY(forget_rows(s, ctx, at, count, &moved, e));
	FAULT_POINT("gc-after-rows");
	result->removed += (int64_t)moved.rows;
	result->freed_bytes += moved.stored_bytes;
	result->more |= count == (size_t)s->limit;
	metric_add(&removed_total, (int64_t)moved.rows);
	metric_add(&freed_total, moved.stored_bytes);
	return ERR_OK;
}

/* One batch in each back end. One that is away is no reason to leave what is in the others; its error is reported. */
static enum err_code execute(struct sweep *s, struct gc_result *result, struct err *e)
{
	int64_t done[BACKENDS_MAX], backend;
	enum err_code code = ERR_OK;

	for (size_t count = 0; count < BACKENDS_MAX; count++) {
		struct err why;

		TRY(find_backend(s, done, count, &backend, e));
		if (!backend)
			break;
		done[count] = backend;
		if (execute_in(s, backend, result, &why) != ERR_OK && code == ERR_OK) {
			code = why.code;
			*e = why;
		}
	}
	return code;
}

enum err_code gc_run(struct store *store, int64_t grace_ms, int64_t limit, struct gc_result *result, struct err *e)
{
	struct sweep s = {.store = store, .grace_ms = grace_ms, .limit = limit};

	*result = (struct gc_result){0};
	TRY(db_transaction(store->db, condemn_body, &s, e));
	if (s.looked_at)
		FAULT_POINT("gc-after-condemned");
	result->more = s.looked_at == (size_t)limit;
	TRY(condemn_abandoned(&s, e));
	return execute(&s, result, e);
}

/* A batch that failed in one back end may be full in another, and is followed by the next one then. */
static enum err_code sweep_store(struct gateway *g, struct store *s, struct err *e)
{
	struct gc_result result = {.more = true};
	int64_t removed = 0, bytes = 0;
	enum err_code code = ERR_OK;

	while (result.more && !process_draining(g->process)) {
		struct err why;
		bool mine;

		TRY(db_lease(g->db, "objects", "gc", process_instance(g->process), g->settings->lease_ms, &mine, e));
		if (!mine)
			break;
		if (gc_run(s, s->grace_ms, g->settings->gc_batch, &result, &why) != ERR_OK && code == ERR_OK) {
			code = why.code;
			*e = why;
		}
		removed += result.removed;
		bytes += result.freed_bytes;
	}
	if (removed)
		LOG_INFO("chunks removed", LOG_TEXT("store", s->name), LOG_NUMBER("chunks", removed),
		         LOG_NUMBER("bytes", bytes));
	return code;
}

void gc_task(struct process *process, void *state)
{
	struct gateway *g = state;
	struct err e;

	/* One back end that is away is no reason to leave the other's chunks. */
	for (size_t i = 0; i < g->store_count; i++)
		if (sweep_store(g, &g->stores[i], &e) != ERR_OK)
			LOG_WARN("sweep ended early", LOG_TEXT("store", g->stores[i].name), LOG_ERR(&e));
	if (db_lease_release(g->db, "objects", "gc", process_instance(process), &e) != ERR_OK)
		LOG_WARN("sweep lease not released", LOG_ERR(&e));
}
