#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "services/object-store-gateway/chunk_heal.h"
#include "services/object-store-gateway/transfer_work.h"

#include <pthread.h>
#include <string.h>

#define MOVERS 4
#define TRIES 4
#define PAUSE_MS 250 /* after the first failure of a chunk; doubled with each */
#define NAP_MS 100
#define BATCH_MS 5000 /* then no more is begun where something was moved, so that the row tells how far it is */

/* What the threads of a batch share. */
struct moving {
	struct store *store;
	const struct transfer *transfer;
	struct backend *target;
	transfer_wait wait;
	void *arg;
	struct chunk *chunks;
	size_t count;
	int64_t end_ms; /* clock_monotonic_ms() */

	pthread_mutex_t mutex; /* guards what follows */
	size_t next;
	int64_t free_at_us; /* clock_monotonic_us(); the rate allows no further chunk before */
	struct transfer_batch *batch;
};

/* ---- pace ---- */

/* False: it ends here. */
static bool nap_until(struct moving *m, int64_t at_us)
{
	int64_t left_ms;

	do {
		left_ms = MAX((at_us - clock_monotonic_us()) / 1000, (int64_t)0);
		if (!m->wait(m->arg, MIN(left_ms, (int64_t)NAP_MS)))
			return false;
	} while (left_ms > NAP_MS);
	return true;
}

/* When the next chunk of that many bytes may begin. */
static int64_t turn(struct moving *m, size_t bytes)
{
	int64_t now = clock_monotonic_us(), at;

	if (!m->transfer->rate)
		return now;
	pthread_mutex_lock(&m->mutex);
	at = MAX(m->free_at_us, now);
	m->free_at_us = at + (int64_t)((double)bytes * 1e6 / (double)m->transfer->rate);
	pthread_mutex_unlock(&m->mutex);
	return at;
}

/* ---- one chunk ---- */

/* A good copy from elsewhere takes its place; it has a higher number, so this pass comes to it. */
static enum err_code heal(struct moving *m, const struct chunk *chunk, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct chunk_kept kept = {.chunk = *chunk, .damaged = true};
	struct err none;
	bool healed = false;
	void *bytes;

	chunk_note_damage(m->store, chunk, e);
	if (chunk_heal(m->store, ctx, &kept, &bytes, &healed, &none) != ERR_OK || !healed)
		return ERR_CORRUPT;
	return ERR_OK;
}

/* *moved stays false when the chunk went meanwhile, or another row has its content now. */
static enum err_code move_once(struct moving *m, const struct chunk *chunk, bool *moved, struct err *e)
{
	SCRATCH_CTX(ctx);
	enum chunk_state end = m->transfer->keep_source ? CHUNK_SPARE : CHUNK_DELETING;
	enum err_code code;
	void *bytes;

	*moved = false;
	code = chunk_get(m->store, ctx, chunk, &bytes, e);
	if (code == ERR_CORRUPT && !chunk_is_live(m->store, chunk))
		return ERR_OK;
	if (code == ERR_CORRUPT)
		return heal(m, chunk, e);
	TRY(code);
	FAULT_POINT("migrate-after-read");
	return chunk_rewrite(m->store, chunk, bytes, m->target, end, moved, e);
}

/* A chunk that is damaged at its source stays so; everything else may pass. */
static enum err_code move_chunk(struct moving *m, const struct chunk *chunk, bool *moved, bool *ended, struct err *e)
{
	enum err_code code = ERR_INTERNAL;

	for (int i = 0; i < TRIES; i++) {
		int64_t pause_us = i ? (int64_t)(PAUSE_MS << (i - 1)) * 1000 : 0;

		*ended = !nap_until(m, MAX(turn(m, chunk->stored_size), clock_monotonic_us() + pause_us));
		if (*ended)
			return ERR_OK;
		code = move_once(m, chunk, moved, e);
		if (code == ERR_OK || code == ERR_CORRUPT)
			break;
	}
	return code;
}

/* ---- a batch ---- */

static const struct chunk *next_chunk(struct moving *m)
{
	const struct chunk *chunk = NULL;

	pthread_mutex_lock(&m->mutex);
	if (m->next < m->count && !m->batch->interrupted && (!m->batch->moved || clock_monotonic_ms() < m->end_ms))
		chunk = &m->chunks[m->next++];
	pthread_mutex_unlock(&m->mutex);
	return chunk;
}

static void note(struct moving *m, const struct chunk *chunk, enum err_code code, bool moved, bool ended,
                 const struct err *why)
{
	pthread_mutex_lock(&m->mutex);
	m->batch->interrupted |= ended;
	if (code != ERR_OK)
		m->batch->failures[m->batch->failure_count++] = (struct transfer_failure){*chunk, *why};
	m->batch->moved += moved;
	m->batch->moved_bytes += moved ? (int64_t)chunk->size : 0;
	pthread_mutex_unlock(&m->mutex);
}

static void *mover(void *arg)
{
	struct moving *m = arg;
	const struct chunk *chunk;

	while ((chunk = next_chunk(m))) {
		bool moved = false, ended = false;
		struct err why = {0};
		enum err_code code = move_chunk(m, chunk, &moved, &ended, &why);

		note(m, chunk, code, moved, ended, &why);
	}
	return NULL;
}

static enum err_code read_chunks(struct moving *m, TALLOC_CTX *ctx, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(m->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " CHUNK_COLUMNS " FROM objects.chunk c WHERE backend = $1 AND id > $2 AND state = 'live'"
	             " ORDER BY id LIMIT $3",
	             DB_NUMBER(m->transfer->source), DB_NUMBER(m->transfer->position), DB_NUMBER(TRANSFER_BATCH)));
	m->count = db_count(rows);
	m->chunks = talloc_zero_array(ctx, struct chunk, m->count + 1);
	ASSERT(m->chunks);
	for (size_t i = 0; i < m->count; i++)
		m->chunks[i] = chunk_from_row(rows, i, 0);
	return ERR_OK;
}

static void run_movers(struct moving *m)
{
	pthread_t threads[MOVERS];
	size_t started = 0, wanted = MIN(m->count, (size_t)MOVERS);

	while (started + 1 < wanted && pthread_create(&threads[started], NULL, mover, m) == 0)
		started++;
	mover(m);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}

enum err_code transfer_batch_run(struct store *s, TALLOC_CTX *ctx, const struct transfer *t, transfer_wait wait,
                                 void *arg, struct transfer_batch **out, struct err *e)
{
	struct moving m = {.store = s, .transfer = t, .wait = wait, .arg = arg};

	TRY(backend_by_id(s, t->target, &m.target, e));
	TRY(read_chunks(&m, ctx, e));
	m.batch = talloc_zero(ctx, struct transfer_batch);
	ASSERT(m.batch);
	m.batch->failures = talloc_zero_array(m.batch, struct transfer_failure, m.count + 1);
	ASSERT(m.batch->failures && pthread_mutex_init(&m.mutex, NULL) == 0);
	m.end_ms = clock_monotonic_ms() + BATCH_MS;
	if (m.count)
		run_movers(&m);
	pthread_mutex_destroy(&m.mutex);
	m.batch->count = m.next;
	m.batch->last = m.next ? m.chunks[m.next - 1].id : t->position;
	*out = m.batch;
	return ERR_OK;
}
