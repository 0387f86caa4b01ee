#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/transfer_work.h"

#include <pthread.h>

#define LOOK_MS 500        /* between two looks at row and lease */
#define FAILURES_KEPT 1000 /* rows of one transfer; all are counted */
#define AWAY_AFTER 16      /* chunks of one batch that could not be moved, and none that was: a back end is away */
#define AWAY_MS 600000     /* so long it is waited for */
#define AWAY_PAUSE_MS 5000 /* and tried again so often */
#define IDLE_PASSES 10     /* in a row, that neither moved anything nor failed to, with something left */
#define REASON_MAX 500

static struct metric moved_total = METRIC_COUNTER("stowage_chunk_migrated_total", "Chunks moved to another back end.");

/* One replica at work. */
struct work {
	struct gateway *gateway;
	struct store *store;
	char *lease;
	struct transfer transfer;
	int64_t away_since_ms; /* clock_monotonic_ms(); 0: nothing is away */
	int idle_passes;

	pthread_mutex_t mutex; /* guards what follows: movers ask at any time */
	int64_t looked_at_ms;
	bool over;
};

/* ---- may it go on? ---- */

/* Another order for the same transfer ends the work like a stop does; it begins again with that. */
static enum err_code still_mine(struct work *w, bool *mine, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_lease(w->store->db, "objects", w->lease, process_instance(w->gateway->process),
	             w->gateway->settings->lease_ms, mine, e));
	if (!*mine)
		return ERR_OK;
	*mine = false;
	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT 1 FROM objects.transfer WHERE id = $1 AND state = 'running' AND rate = $2"
	             " AND keep_source = $3",
	             DB_NUMBER(w->transfer.id), DB_NUMBER(w->transfer.rate), DB_FLAG(w->transfer.keep_source)));
	*mine = db_count(rows) == 1;
	return ERR_OK;
}

/* While the database is away nothing can be moved: the next round tries again. */
static bool go_on(void *arg, int64_t ms)
{
	struct work *w = arg;
	bool mine = false, over;
	struct err e;

	if (ms > 0)
		process_sleep(w->gateway->process, ms);
	pthread_mutex_lock(&w->mutex);
	if (!w->over && clock_monotonic_ms() - w->looked_at_ms >= LOOK_MS) {
		if (still_mine(w, &mine, &e) != ERR_OK)
			LOG_WARN("migration pauses: its row cannot be read", LOG_TEXT("store", w->store->name),
			         LOG_ERR(&e));
		w->looked_at_ms = clock_monotonic_ms();
		w->over = !mine;
	}
	over = w->over || process_draining(w->gateway->process);
	pthread_mutex_unlock(&w->mutex);
	return !over;
}

/* ---- its row ---- */

static enum err_code read_transfer(struct work *w, bool *found, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, source, target, rate, keep_source, position, pass_moved FROM objects.transfer"
	             " WHERE store = $1 AND state = 'running'",
	             DB_TEXT(w->store->name)));
	*found = db_count(rows) == 1;
	if (*found)
		w->transfer = (struct transfer){
		    .id = db_number(rows, 0, 0),
		    .source = db_number(rows, 0, 1),
		    .target = db_number(rows, 0, 2),
		    .rate = db_number(rows, 0, 3),
		    .keep_source = db_flag(rows, 0, 4),
		    .position = db_number(rows, 0, 5),
		    .pass_moved = db_number(rows, 0, 6),
		};
	return ERR_OK;
}

struct saving {
	const struct work *work;
	const struct transfer_batch *batch;
};

static enum err_code save_failure(struct db *db, const struct work *w, const struct transfer_failure *f, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, NULL, NULL, e,
	                "INSERT INTO objects.transfer_failure (transfer, chunk, sha256, reason)"
	                " SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM objects.transfer_failure"
	                "   WHERE transfer = $1) < $5"
	                " ON CONFLICT (transfer, chunk) DO UPDATE SET reason = excluded.reason",
	                DB_NUMBER(w->transfer.id), DB_NUMBER(f->chunk.id), DB_DIGEST(&f->chunk.sha256),
	                DB_TEXT(talloc_strndup(ctx, f->why.text, REASON_MAX)), DB_NUMBER(FAILURES_KEPT));
}

/* An interrupted batch is looked at again; what it moved is not there any more then. */
static enum err_code save_body(struct db *db, void *arg, struct err *e)
{
	const struct saving *s = arg;
	const struct transfer_batch *b = s->batch;
	const struct work *w = s->work;

	for (size_t i = 0; i < b->failure_count && !b->interrupted; i++)
		TRY(save_failure(db, w, &b->failures[i], e));
	return db_query(db, NULL, NULL, e,
	                "UPDATE objects.transfer SET position = $2, moved_chunks = moved_chunks + $3,"
	                " pass_moved = pass_moved + $3, moved_bytes = moved_bytes + $4,"
	                " failed_chunks = failed_chunks + $5, last_error = coalesce($6, last_error) WHERE id = $1",
	                DB_NUMBER(w->transfer.id), DB_NUMBER(b->interrupted ? w->transfer.position : b->last),
	                DB_NUMBER(b->moved), DB_NUMBER(b->moved_bytes),
	                DB_NUMBER(b->interrupted ? 0 : b->failure_count),
	                DB_TEXT(b->failure_count ? b->failures[0].why.text : NULL));
}

static enum err_code save_batch(struct work *w, const struct transfer_batch *b, struct err *e)
{
	struct saving saving = {w, b};

	TRY(db_transaction(w->store->db, save_body, &saving, e));
	metric_add(&moved_total, b->moved);
	w->transfer.pass_moved += b->moved;
	if (!b->interrupted)
		w->transfer.position = b->last;
	return ERR_OK;
}

/* What could not be moved last time is tried again, and counted anew. */
static enum err_code next_pass(struct work *w, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, NULL, NULL, e,
	             "WITH gone AS (DELETE FROM objects.transfer_failure WHERE transfer = $1)"
	             " UPDATE objects.transfer SET position = 0, pass_moved = 0, failed_chunks = 0 WHERE id = $1",
	             DB_NUMBER(w->transfer.id)));
	w->transfer.position = 0;
	w->transfer.pass_moved = 0;
	return ERR_OK;
}

/* ---- the end ---- */

struct rest {
	int64_t live, spare; /* in the source */
	int64_t failed;      /* in this pass */
};

static enum err_code count_rest(struct work *w, struct rest *rest, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT count(*) FILTER (WHERE state = 'live'), count(*) FILTER (WHERE state = 'spare'),"
	             " (SELECT failed_chunks FROM objects.transfer WHERE id = $2) FROM objects.chunk WHERE backend = $1"
	             " AND state IN ('live', 'spare')",
	             DB_NUMBER(w->transfer.source), DB_NUMBER(w->transfer.id)));
	*rest = (struct rest){db_number(rows, 0, 0), db_number(rows, 0, 1), db_number(rows, 0, 2)};
	return ERR_OK;
}

/* The next spare copies behind *position; not those of content that is damaged where it is live: they may be the only
 * good ones. */
static enum err_code drop_some(struct work *w, int64_t *position, bool *more, struct err *e)
{
	enum { BATCH = 1000 };
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct chunk_moved moved;
	struct db_rows *rows;
	int64_t ids[BATCH];

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk c WHERE backend = $1 AND id > $2 AND state = 'spare'"
	             " AND NOT EXISTS (SELECT 1 FROM objects.chunk l WHERE l.store = c.store AND l.sha256 = c.sha256"
	             "   AND l.state = 'live' AND l.damaged) ORDER BY id LIMIT $3",
	             DB_NUMBER(w->transfer.source), DB_NUMBER(*position), DB_NUMBER(BATCH)));
	for (size_t i = 0; i < db_count(rows); i++)
		*position = ids[i] = db_number(rows, i, 0);
	*more = db_count(rows) == BATCH;
	return chunk_set_state(db, ids, db_count(rows), CHUNK_SPARE, CHUNK_DELETING, &moved, e);
}

/* Spare copies of an earlier migration that kept them go, too, unless this one keeps its own. */
static enum err_code drop_spares(struct work *w, struct err *e)
{
	bool more = !w->transfer.keep_source;
	int64_t position = 0;

	while (more && go_on(w, 0))
		TRY(drop_some(w, &position, &more, e));
	return ERR_OK;
}

static enum err_code end(struct work *w, enum transfer_state state, const char *why, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	bool ended;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(transfer_end(db, w->transfer.id, state, why, &ended, e));
	w->over = true;
	if (ended)
		LOG_INFO("migration ended", LOG_TEXT("store", w->store->name),
		         LOG_TEXT("state", transfer_state_text(state)), LOG_NUMBER("transfer", w->transfer.id));
	return ERR_OK;
}

static enum err_code fail(struct work *w, int64_t left, const char *what, struct err *e)
{
	SCRATCH_CTX(ctx);

	return end(w, TRANSFER_FAILED, talloc_asprintf(ctx, "%lld %s", (long long)left, what), e);
}

/* Nothing is live in the source. */
static enum err_code finish(struct work *w, struct err *e)
{
	struct rest rest;

	TRY(drop_spares(w, e));
	if (!go_on(w, 0))
		return ERR_OK;
	TRY(count_rest(w, &rest, e));
	if (rest.spare && !w->transfer.keep_source)
		return fail(w, rest.spare,
		            "spare copies are left in the source: what they are copies of is damaged, and `store"
		            " verify` mends it with them",
		            e);
	FAULT_POINT("migrate-before-done");
	return end(w, TRANSFER_DONE, NULL, e);
}

/* Chunks that replicas with the old configuration write meanwhile are found by the next pass. */
static enum err_code finish_pass(struct work *w, struct err *e)
{
	struct rest rest;

	TRY(count_rest(w, &rest, e));
	if (!rest.live)
		return finish(w, e);
	w->idle_passes = w->transfer.pass_moved ? 0 : w->idle_passes + 1;
	if (w->idle_passes && (rest.failed || w->idle_passes > IDLE_PASSES))
		return fail(w, rest.live, "chunks are left in the source", e);
	return next_pass(w, e);
}

/* ---- the work ---- */

/* Everything failed, and nothing for what the chunk itself is like. */
static bool is_away(const struct transfer_batch *b)
{
	for (size_t i = 0; i < b->failure_count; i++)
		if (b->failures[i].why.code == ERR_CORRUPT)
			return false;
	return b->failure_count >= AWAY_AFTER && !b->moved;
}

static enum err_code await_it(struct work *w, const struct err *why)
{
	LOG_WARN("migration waits for a back end", LOG_TEXT("store", w->store->name), LOG_ERR(why));
	for (int64_t ms = 0; ms < AWAY_PAUSE_MS; ms += LOOK_MS)
		if (!go_on(w, LOOK_MS))
			break;
	return ERR_OK;
}

/* A batch that met a back end that is away is done again, as if it had been interrupted. */
static enum err_code step(struct work *w, struct err *e)
{
	SCRATCH_CTX(ctx);
	int64_t now = clock_monotonic_ms();
	struct transfer_batch *batch;
	bool away, waits;

	TRY(transfer_batch_run(w->store, ctx, &w->transfer, go_on, w, &batch, e));
	away = is_away(batch);
	w->away_since_ms = !away ? 0 : w->away_since_ms ? w->away_since_ms : now;
	waits = away && now - w->away_since_ms < AWAY_MS;
	batch->interrupted |= waits;
	TRY(save_batch(w, batch, e));
	FAULT_POINT("migrate-after-batch");
	if (waits)
		return await_it(w, &batch->failures[0].why);
	if (batch->interrupted)
		return ERR_OK;
	if (batch->count == 0)
		return finish_pass(w, e);
	return away ? end(w, TRANSFER_FAILED, batch->failures[0].why.text, e) : ERR_OK;
}

static void note_pause(struct work *w, const struct err *why)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct err ignored;

	if (db_acquire(w->store->db, DB_WAIT_MS, &db, &ignored) != ERR_OK ||
	    db_query(db, NULL, NULL, &ignored, "UPDATE objects.transfer SET last_error = $2 WHERE id = $1",
	             DB_NUMBER(w->transfer.id), DB_TEXT(why->text)) != ERR_OK)
		LOG_WARN("the pause of a migration cannot be noted", LOG_ERR(&ignored));
}

/* The row is read once more when the lease is here: whoever had it before has saved how far it came. */
static enum err_code take_over(struct work *w, bool *found, bool *mine, struct err *e)
{
	TRY(read_transfer(w, found, e));
	return *found && go_on(w, 0) ? read_transfer(w, mine, e) : ERR_OK;
}

static void work_on(struct work *w)
{
	bool found = false, mine = false;
	struct err e;

	if (take_over(w, &found, &mine, &e) != ERR_OK)
		LOG_WARN("migration cannot be read", LOG_TEXT("store", w->store->name), LOG_ERR(&e));
	while (mine && go_on(w, 0)) {
		if (step(w, &e) == ERR_OK)
			continue;
		/* The database, or the target, is away: the row says so, and the next round tries again. */
		LOG_WARN("migration pauses", LOG_TEXT("store", w->store->name), LOG_ERR(&e));
		note_pause(w, &e);
		break;
	}
	if (found &&
	    db_lease_release(w->store->db, "objects", w->lease, process_instance(w->gateway->process), &e) != ERR_OK)
		LOG_WARN("migration lease not released", LOG_ERR(&e));
}

void transfer_run(struct gateway *g, struct store *s)
{
	struct work w = {.gateway = g, .store = s, .looked_at_ms = INT64_MIN / 2};

	w.lease = talloc_asprintf(NULL, "migrate/%s", s->name);
	ASSERT(w.lease && pthread_mutex_init(&w.mutex, NULL) == 0);
	work_on(&w);
	pthread_mutex_destroy(&w.mutex);
	talloc_free(w.lease);
}
