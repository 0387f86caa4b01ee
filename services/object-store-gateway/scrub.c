#include "services/object-store-gateway/scrub.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"

#include <string.h>

#define RENEWALS 4 /* of a lease, before it ends */
#define BATCH 64
#define SAVE_MS 5000
#define AWAY_AFTER 3       /* chunks of one back end in a row that could not be read: it is away, */
#define AWAY_PAUSE_MS 5000 /* and the rest of the batch that is in it waits for the next pass, like this one */
#define OBJECTS_LOGGED 5

static struct metric chunks_total = METRIC_COUNTER("stowage_scrub_chunks_total", "Chunks read back by the scrub.");
static struct metric bytes_total = METRIC_COUNTER("stowage_scrub_bytes_total", "Bytes read back by the scrub.");
static struct metric damaged_total = METRIC_COUNTER("stowage_scrub_damaged_total", "Damaged chunks the scrub found.");
static struct metric unreachable_total =
    METRIC_COUNTER("stowage_scrub_unreachable_total", "Chunks the scrub could not read: their back end was away.");

/* ---- the row ---- */

#define PASS_COLUMNS                                                                                                   \
	"pass, position, until, (extract(epoch FROM started_at) * 1000)::bigint,"                                      \
	" (extract(epoch FROM finished_at) * 1000)::bigint, chunks, bytes, damaged, healed, unreachable"

static struct scrub_pass pass_from_row(const struct db_rows *rows, size_t i)
{
	return (struct scrub_pass){
	    .number = db_number(rows, i, 0),
	    .position = db_number(rows, i, 1),
	    .until = db_number(rows, i, 2),
	    .started_at = db_number(rows, i, 3),
	    .finished_at = db_number(rows, i, 4),
	    .chunks = db_number(rows, i, 5),
	    .bytes = db_number(rows, i, 6),
	    .damaged = db_number(rows, i, 7),
	    .healed = db_number(rows, i, 8),
	    .unreachable = db_number(rows, i, 9),
	};
}

enum err_code scrub_read(struct store *s, struct scrub_pass *passes, size_t max, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " PASS_COLUMNS " FROM objects.scrub WHERE store = $1 ORDER BY pass DESC LIMIT $2",
	             DB_TEXT(s->name), DB_NUMBER(max)));
	*count = MIN(db_count(rows), max);
	for (size_t i = 0; i < *count; i++)
		passes[i] = pass_from_row(rows, i);
	return ERR_OK;
}

/* Two that begin one at once get the same. */
static enum err_code begin_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct scrub *scrub = arg;
	const char *store = scrub->store->name;
	int64_t number = scrub->pass.number + 1;
	struct db_rows *rows;

	TRY(db_query(db, NULL, NULL, e,
	             "INSERT INTO objects.scrub (store, pass, until)"
	             " SELECT $1, $2, coalesce(max(id), 0) FROM objects.chunk WHERE store = $1"
	             " ON CONFLICT (store, pass) DO NOTHING",
	             DB_TEXT(store), DB_NUMBER(number)));
	TRY(db_query(db, NULL, NULL, e, "DELETE FROM objects.scrub WHERE store = $1 AND pass <= $2", DB_TEXT(store),
	             DB_NUMBER(number - SCRUB_PASSES_KEPT)));
	TRY(db_query(db, ctx, &rows, e, "SELECT " PASS_COLUMNS " FROM objects.scrub WHERE store = $1 AND pass = $2",
	             DB_TEXT(store), DB_NUMBER(number)));
	scrub->pass = pass_from_row(rows, 0);
	return ERR_OK;
}

static enum err_code is_due(const struct scrub *scrub, int64_t interval_ms, bool *due, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(scrub->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT coalesce(max(started_at) <= now() - $2::bigint * interval '1 millisecond', true)"
	             " FROM objects.scrub WHERE store = $1",
	             DB_TEXT(scrub->store->name), DB_NUMBER(interval_ms)));
	*due = db_flag(rows, 0, 0);
	return ERR_OK;
}

enum err_code scrub_begin(struct scrub *scrub, int64_t interval_ms, bool *due, struct err *e)
{
	struct scrub_pass last = {0};
	size_t count;

	scrub->lost = false;
	TRY(scrub_read(scrub->store, &last, 1, &count, e));
	scrub->pass = last;
	*due = count && !scrub->pass.finished_at;
	if (*due)
		return ERR_OK;
	TRY(is_due(scrub, interval_ms, due, e));
	return *due ? db_transaction(scrub->store->db, begin_body, scrub, e) : ERR_OK;
}

/* Another replica that went on meanwhile, because this one was frozen, has moved the position: then nothing of this
 * counts. */
static enum err_code save(struct scrub *scrub, const struct scrub_pass *now, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(scrub->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.scrub SET position = $4, chunks = $5, bytes = $6, damaged = $7, healed = $8,"
	             " unreachable = $9 WHERE store = $1 AND pass = $2 AND position = $3 AND finished_at IS NULL",
	             DB_TEXT(scrub->store->name), DB_NUMBER(now->number), DB_NUMBER(scrub->pass.position),
	             DB_NUMBER(now->position), DB_NUMBER(now->chunks), DB_NUMBER(now->bytes), DB_NUMBER(now->damaged),
	             DB_NUMBER(now->healed), DB_NUMBER(now->unreachable)));
	scrub->lost = db_affected(rows) == 0;
	if (!scrub->lost)
		scrub->pass = *now;
	return ERR_OK;
}

static enum err_code finish(struct scrub *scrub, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	const struct scrub_pass *p = &scrub->pass;
	struct db_rows *rows;

	TRY(db_acquire(scrub->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.scrub SET finished_at = now(), position = until WHERE store = $1 AND pass = $2"
	             " AND position = $3 AND finished_at IS NULL RETURNING " PASS_COLUMNS,
	             DB_TEXT(scrub->store->name), DB_NUMBER(p->number), DB_NUMBER(p->position)));
	scrub->lost = db_count(rows) == 0;
	if (scrub->lost)
		return ERR_OK;
	scrub->pass = pass_from_row(rows, 0);
	LOG_INFO("scrub finished a pass", LOG_TEXT("store", scrub->store->name), LOG_NUMBER("pass", p->number),
	         LOG_NUMBER("chunks", p->chunks), LOG_NUMBER("bytes", p->bytes), LOG_NUMBER("damaged", p->damaged),
	         LOG_NUMBER("healed", p->healed), LOG_NUMBER("unreachable", p->unreachable),
	         LOG_NUMBER("ms", p->finished_at - p->started_at));
	FAULT_POINT("scrub-after-pass");
	return ERR_OK;
}

/* ---- a batch ---- */

/* A back end of which nothing came lately. */
struct away {
	int64_t backend;
	int in_a_row;
};

static bool is_away(const struct away *a, const struct chunk *chunk)
{
	return a->backend == chunk->backend && a->in_a_row >= AWAY_AFTER;
}

static void note_reached(struct away *a, const struct chunk *chunk, bool reached)
{
	if (reached || a->backend != chunk->backend)
		a->in_a_row = 0;
	a->backend = chunk->backend;
	a->in_a_row += !reached;
}

static void log_affected(struct store *s, const struct chunk_kept *kept, bool healed)
{
	SCRATCH_CTX(ctx);
	struct proto_texts objects = {0};
	char *names = talloc_strdup(ctx, "");
	struct err e;

	if (!kept->spare && chunk_objects(s, ctx, &kept->chunk.sha256, OBJECTS_LOGGED + 1, &objects, &e) != ERR_OK) {
		LOG_WARN("the objects of a damaged chunk cannot be read", LOG_ERR(&e));
		return;
	}
	for (size_t i = 0; i < objects.count; i++)
		names =
		    talloc_asprintf_append(names, "%s%s", i ? ", " : "", i < OBJECTS_LOGGED ? objects.items[i] : "...");
	LOG_WARN(healed ? "scrub found damage and healed it" : "scrub found damage", LOG_TEXT("store", s->name),
	         LOG_TEXT("chunk", digest_text(&kept->chunk.sha256).text), LOG_NUMBER("number", kept->chunk.id),
	         LOG_TEXT("objects", kept->spare ? "none, it is a spare copy" : names));
}

static void tally(struct scrub *scrub, struct scrub_pass *p, const struct chunk_kept *kept, enum chunk_health health,
                  const struct err *why)
{
	bool damaged = health == CHUNK_DAMAGED || health == CHUNK_HEALED;

	if (health == CHUNK_UNREACHABLE) {
		if (!p->unreachable++)
			LOG_WARN("scrub cannot reach chunks", LOG_TEXT("store", scrub->store->name), LOG_ERR(why));
		metric_add(&unreachable_total, 1);
		return;
	}
	p->chunks++;
	p->bytes += (int64_t)kept->chunk.stored_size;
	p->damaged += damaged;
	p->healed += health == CHUNK_HEALED;
	metric_add(&chunks_total, 1);
	metric_add(&bytes_total, (int64_t)kept->chunk.stored_size);
	metric_add(&damaged_total, damaged);
	if (damaged)
		log_affected(scrub->store, kept, health == CHUNK_HEALED);
}

/* False: it ends here. */
static bool await_turn(struct scrub *scrub, const struct chunk *chunk)
{
	size_t bytes = MAX(chunk->stored_size, (size_t)SCRUB_CHUNK_LEAST);

	return scrub->wait(scrub->arg, pace_turn(&scrub->pace, clock_monotonic_us(), bytes) / 1000);
}

static enum err_code check_batch(struct scrub *scrub, const struct db_rows *rows, struct err *e)
{
	struct scrub_pass now = scrub->pass;
	struct away away = {0};
	int64_t saved_ms = clock_monotonic_ms();

	for (size_t i = 0; i < db_count(rows) && !scrub->lost; i++) {
		struct chunk_kept kept = chunk_kept_from_row(rows, i);
		enum chunk_health health = CHUNK_UNREACHABLE;
		struct err why = {.code = ERR_UNAVAILABLE, .text = "its back end is away"};

		if (!is_away(&away, &kept.chunk)) {
			if (!await_turn(scrub, &kept.chunk))
				break;
			health = chunk_check(scrub->store, &kept, true, &why);
			note_reached(&away, &kept.chunk, health != CHUNK_UNREACHABLE);
		}
		tally(scrub, &now, &kept, health, &why);
		now.position = kept.chunk.id;
		FAULT_POINT("scrub-after-chunk");
		if (clock_monotonic_ms() - saved_ms >= SAVE_MS) {
			TRY(save(scrub, &now, e));
			saved_ms = clock_monotonic_ms();
		}
	}
	if (!scrub->lost && now.position != scrub->pass.position)
		TRY(save(scrub, &now, e));
	FAULT_POINT("scrub-after-batch");
	if (away.in_a_row >= AWAY_AFTER)
		scrub->wait(scrub->arg, AWAY_PAUSE_MS);
	return ERR_OK;
}

enum err_code scrub_step(struct scrub *scrub, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(scrub->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c WHERE store = $1 AND id > $2 AND id <= $3"
	             " AND state IN ('live', 'spare') ORDER BY id LIMIT $4",
	             DB_TEXT(scrub->store->name), DB_NUMBER(scrub->pass.position), DB_NUMBER(scrub->pass.until),
	             DB_NUMBER(BATCH)));
	db_release(db);
	db = NULL;
	return db_count(rows) ? check_batch(scrub, rows, e) : finish(scrub, e);
}

/* ---- the task ---- */

struct work {
	struct gateway *gateway;
	const char *lease;
	int64_t renew_ms;   /* how often */
	int64_t renewed_ms; /* clock_monotonic_ms(); 0: never */
};

static bool keep_lease(struct work *w)
{
	struct err e;
	bool mine = false;

	if (w->renewed_ms && clock_monotonic_ms() - w->renewed_ms < w->renew_ms)
		return true;
	if (db_lease(w->gateway->db, "objects", w->lease, process_instance(w->gateway->process),
	             w->gateway->settings->lease_ms, &mine, &e) != ERR_OK)
		LOG_WARN("scrub cannot renew its lease", LOG_ERR(&e));
	w->renewed_ms = mine ? clock_monotonic_ms() : 0;
	return mine;
}

static bool go_on(void *arg, int64_t ms)
{
	struct work *w = arg;
	int64_t until = clock_monotonic_ms() + ms, left;

	do {
		left = MAX(until - clock_monotonic_ms(), (int64_t)0);
		if (left > 0)
			process_sleep(w->gateway->process, MIN(left, w->renew_ms));
		if (process_draining(w->gateway->process) || !keep_lease(w))
			return false;
	} while (left > w->renew_ms);
	return true;
}

static enum err_code run_pass(struct scrub *scrub, struct err *e)
{
	while (!scrub->pass.finished_at && !scrub->lost && scrub->wait(scrub->arg, 0))
		TRY(scrub_step(scrub, e));
	return ERR_OK;
}

void scrub_run(struct gateway *g, struct store *s)
{
	SCRATCH_CTX(ctx);
	struct work w = {
	    .gateway = g,
	    .lease = talloc_asprintf(ctx, SCRUB_LEASE "%s", s->name),
	    .renew_ms = g->settings->lease_ms / RENEWALS,
	};
	struct scrub scrub = {.store = s, .pace = {.rate = g->settings->scrub_rate}, .wait = go_on, .arg = &w};
	enum err_code code = ERR_OK;
	struct err e;
	bool due;

	if (!scrub.pace.rate || !go_on(&w, 0))
		return;
	code = scrub_begin(&scrub, g->settings->scrub_interval_ms, &due, &e);
	if (code == ERR_OK && due)
		code = run_pass(&scrub, &e);
	if (code != ERR_OK)
		LOG_WARN("scrub pauses", LOG_TEXT("store", s->name), LOG_ERR(&e));
	if (db_lease_release(g->db, "objects", w.lease, process_instance(g->process), &e) != ERR_OK)
		LOG_WARN("scrub lease not released", LOG_ERR(&e));
}
