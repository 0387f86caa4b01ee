#include "services/object-store-gateway/compact.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

#define LEASE_MS 60000
#define SLICE_MS 2000 /* of the task: so soon does it notice that the process ends */

static struct metric moved_total =
    METRIC_COUNTER("stowage_compact_moved_bytes_total", "Bytes of chunks moved out of sparse tables.");
static struct metric freed_total =
    METRIC_COUNTER("stowage_compact_freed_bytes_total", "Bytes of files that compacting gave back.");

enum err_code compact_moment(struct store *s, int64_t age_ms, int64_t *moment_ms, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e, "SELECT (extract(epoch FROM now()) * 1000)::bigint"));
	*moment_ms = db_number(rows, 0, 0) - age_ms;
	return ERR_OK;
}

static enum err_code list_backends(struct store *s, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	return db_query(db, ctx, rows, e, "SELECT id, driver FROM objects.backend WHERE store = $1 ORDER BY id",
	                DB_TEXT(s->name));
}

/* One that leaves no gaps is not even opened. */
static bool leaves_gaps(const struct store *s, int64_t id, const char *name)
{
	const struct driver *driver = id == s->current->id ? s->current->driver : driver_find(name);

	return driver && driver->compact;
}

static void add(struct compaction *sum, const struct compaction *one)
{
	sum->moved_rows += one->moved_rows;
	sum->moved_bytes += one->moved_bytes;
	sum->dropped += one->dropped;
	sum->freed_bytes += one->freed_bytes;
	sum->held_bytes += one->held_bytes;
	sum->more |= one->more;
	sum->waiting |= one->waiting;
	metric_add(&moved_total, one->moved_bytes);
	metric_add(&freed_total, one->freed_bytes);
}

static enum err_code compact_backend(struct store *s, int64_t id, const struct compact_order *order,
                                     struct compaction *sum, struct err *e)
{
	struct compaction one = {0};
	struct backend *b;
	enum err_code code;

	TRY(backend_by_id(s, id, &b, e));
	code = b->driver->compact(b->conn, order, &one, e);
	add(sum, &one);
	return code == ERR_OK ? ERR_OK : err_wrap(e, "%s: back end %s", s->name, b->name);
}

enum err_code compact_run(struct store *s, const struct compact_order *order, struct compaction *done, int64_t *able,
                          struct err *e)
{
	SCRATCH_CTX(ctx);
	enum err_code code = ERR_OK;
	struct db_rows *rows;

	*done = (struct compaction){0};
	*able = 0;
	TRY(list_backends(s, ctx, &rows, e));
	for (size_t i = 0; i < db_count(rows); i++) {
		int64_t id = db_number(rows, i, 0);
		struct err why;

		if (!leaves_gaps(s, id, db_text(rows, i, 1)))
			continue;
		++*able;
		if (compact_backend(s, id, order, done, &why) != ERR_OK && code == ERR_OK)
			code = ERR(e, why.code, "%s", why.text);
	}
	return code;
}

/* ---- in the background ---- */

static enum err_code compact_store(struct gateway *g, struct store *s, struct err *e)
{
	struct compact_order order = {.percent = g->settings->compact_below, .gentle = true};
	struct compaction done = {.more = true};
	int64_t dropped = 0, freed = 0, able = 1;

	TRY(compact_moment(s, g->settings->compact_interval_ms, &order.before_ms, e));
	while (done.more && !done.waiting && able && !process_draining(g->process)) {
		bool mine;

		TRY(db_lease(g->db, "objects", "compact", process_instance(g->process), LEASE_MS, &mine, e));
		if (!mine)
			break;
		order.until_ms = clock_monotonic_ms() + SLICE_MS;
		TRY(compact_run(s, &order, &done, &able, e));
		dropped += done.dropped;
		freed += done.freed_bytes;
	}
	if (dropped)
		LOG_INFO("space given back", LOG_TEXT("store", s->name), LOG_NUMBER("tables", dropped),
		         LOG_NUMBER("bytes", freed));
	return ERR_OK;
}

void compact_task(struct process *process, void *state)
{
	struct gateway *g = state;
	struct err e;

	for (size_t i = 0; i < g->store_count; i++)
		if (compact_store(g, &g->stores[i], &e) != ERR_OK)
			LOG_WARN("compacting ended early", LOG_TEXT("store", g->stores[i].name), LOG_ERR(&e));
	if (db_lease_release(g->db, "objects", "compact", process_instance(process), &e) != ERR_OK)
		LOG_WARN("lease of compacting not released", LOG_ERR(&e));
}
