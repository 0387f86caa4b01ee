#include "services/object-store-gateway/rekey.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk_cipher.h"
#include "services/object-store-gateway/chunk_heal.h"

#include <pthread.h>
#include <string.h>

#define LIMIT 1000 /* chunks in a batch whose caller names no limit */
#define WORKERS 4  /* chunks under way at once: back ends answer late rather than slowly */
#define REASON_MAX 500

/* What is to be rewritten: live chunks and spare copies of a store ($1) that are not under the current key ($2). */
#define STALE " c.store = $1 AND c.state IN ('live', 'spare') AND c.cipher_key IS DISTINCT FROM $2"

static struct metric rekeyed_total =
    METRIC_COUNTER("stowage_chunk_rekeyed_total", "Chunks written anew under another key.");

struct batch {
	struct store *store;
	TALLOC_CTX *ctx;
	struct chunk_kept *stale;
	size_t count;
	int64_t end_ms; /* clock_monotonic_ms(): none is begun after it */

	pthread_mutex_t mutex; /* guards next and reply, and with it ctx */
	size_t next;
	struct store_rekey_reply *reply;
};

/* ---- one chunk ---- */

/* What came back is not the chunk. That may pass, be mended from another copy, or stay: *readable, *done, or an error.
 */
static enum err_code look_again(struct store *s, const struct chunk_kept *kept, bool *readable, bool *done,
                                struct err *e)
{
	enum chunk_health health = chunk_check(s, kept, true, e);

	*readable = health == CHUNK_SOUND;
	*done = health == CHUNK_HEALED;
	return health == CHUNK_DAMAGED || health == CHUNK_UNREACHABLE ? e->code : ERR_OK;
}

/* Without its key a chunk is lost, but its content may be elsewhere. */
static enum err_code replace_without_key(struct store *s, TALLOC_CTX *ctx, const struct chunk_kept *kept, bool *done,
                                         struct err *e)
{
	struct err ignored;
	void *bytes;

	if (chunk_heal(s, ctx, kept, &bytes, done, &ignored) == ERR_OK && *done)
		return ERR_OK;
	return chunk_key_missing(s->name, &kept->chunk.sha256, kept->chunk.cipher_key, e);
}

/* *done stays false when it is not there any more, or somebody else has written it anew. */
static enum err_code rewrite(struct store *s, const struct chunk_kept *kept, bool *done, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct chunk *chunk = &kept->chunk;
	struct backend *backend;
	bool readable = true;
	enum err_code code;
	void *bytes;

	if (*chunk->cipher_key && !keyring_find(s->keys, chunk->cipher_key))
		return replace_without_key(s, ctx, kept, done, e);
	code = chunk_get(s, ctx, chunk, &bytes, e);
	if (code == ERR_CORRUPT) {
		TRY(look_again(s, kept, &readable, done, e));
		if (!readable)
			return ERR_OK;
		code = chunk_get(s, ctx, chunk, &bytes, e);
	}
	TRY(code);
	TRY(backend_by_id(s, chunk->backend, &backend, e));
	return kept->spare ? chunk_rewrite_spare(s, chunk, bytes, backend, done, e)
	                   : chunk_rewrite(s, chunk, bytes, backend, CHUNK_DELETING, done, e);
}

/* ---- a batch, by several threads ---- */

/* NULL: none is left, or the time is over. The first is always taken, so that every batch comes further. */
static const struct chunk_kept *take(struct batch *b)
{
	const struct chunk_kept *kept = NULL;

	pthread_mutex_lock(&b->mutex);
	if (b->next < b->count && (b->next == 0 || clock_monotonic_ms() < b->end_ms))
		kept = &b->stale[b->next++];
	pthread_mutex_unlock(&b->mutex);
	return kept;
}

static void note(struct batch *b, const struct chunk *chunk, bool done, enum err_code code, const struct err *why)
{
	struct store_rekey_reply *reply = b->reply;

	pthread_mutex_lock(&b->mutex);
	reply->rewritten += done;
	reply->bytes += done ? (int64_t)chunk->size : 0;
	reply->failed += code != ERR_OK;
	if (code != ERR_OK && reply->failures_count < REKEY_FAILURES_MAX)
		reply->failures[reply->failures_count++] =
		    (struct chunk_failure){chunk->sha256, talloc_strndup(b->ctx, why->text, REASON_MAX)};
	pthread_mutex_unlock(&b->mutex);
	metric_add(&rekeyed_total, done);
}

static void *work(void *arg)
{
	struct batch *b = arg;
	const struct chunk_kept *kept;

	while ((kept = take(b))) {
		struct err why = {0};
		bool done = false;
		enum err_code code = rewrite(b->store, kept, &done, &why);

		note(b, &kept->chunk, done, code, &why);
	}
	return NULL;
}

/* The caller is one of them; a thread that does not start is done without. */
static void run(struct batch *b)
{
	pthread_t threads[WORKERS - 1];
	size_t started = 0;

	while (started < ARRAY_SIZE(threads) && started + 1 < b->count &&
	       pthread_create(&threads[started], NULL, work, b) == 0)
		started++;
	work(b);
	while (started > 0)
		ASSERT(pthread_join(threads[--started], NULL) == 0);
}

/* ---- the request ---- */

static enum err_code check_request(const struct store *s, const struct store_rekey_request *request, struct err *e)
{
	const char *current = keyring_current(s->keys) ?: KEY_NONE;

	if (request->key && *request->key && strcmp(request->key, current) != 0)
		return ERR(e, ERR_PRECONDITION,
		           "%s: a gateway that was asked encrypts with key %s, not %s: restart it with the same keys",
		           s->name, current, request->key);
	return ERR_OK;
}

static enum err_code find_stale(struct batch *b, int64_t after, int64_t limit, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(b->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(
	    db, b->ctx, &rows, e,
	    "SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c WHERE" STALE " AND c.id > $3 ORDER BY c.id LIMIT $4",
	    DB_TEXT(b->store->name), DB_TEXT(keyring_current(b->store->keys)), DB_NUMBER(after), DB_NUMBER(limit)));
	b->count = db_count(rows);
	b->stale = talloc_zero_array(b->ctx, struct chunk_kept, b->count + 1);
	ASSERT(b->stale);
	for (size_t i = 0; i < b->count; i++)
		b->stale[i] = chunk_kept_from_row(rows, i);
	return ERR_OK;
}

static enum err_code count_left(struct batch *b, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(b->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, b->ctx, &rows, e, "SELECT count(*) FROM objects.chunk c WHERE" STALE, DB_TEXT(b->store->name),
	             DB_TEXT(keyring_current(b->store->keys))));
	b->reply->left = db_number(rows, 0, 0);
	return ERR_OK;
}

enum err_code rekey_batch(struct store *s, TALLOC_CTX *ctx, const struct store_rekey_request *request, int64_t time_ms,
                          struct store_rekey_reply *reply, struct err *e)
{
	struct batch b = {.store = s, .ctx = ctx, .end_ms = clock_monotonic_ms() + time_ms, .reply = reply};
	int64_t limit = request->limit ? request->limit : LIMIT;

	TRY(check_request(s, request, e));
	reply->key = keyring_current(s->keys) ?: KEY_NONE;
	reply->last = request->after;
	reply->failures = talloc_zero_array(ctx, struct chunk_failure, REKEY_FAILURES_MAX);
	ASSERT(reply->failures);
	TRY(find_stale(&b, request->after, limit, e));
	ASSERT(pthread_mutex_init(&b.mutex, NULL) == 0);
	run(&b);
	pthread_mutex_destroy(&b.mutex);
	reply->checked = (int64_t)b.next;
	if (b.next)
		reply->last = b.stale[b.next - 1].chunk.id;
	reply->more = b.next < b.count || b.count == (size_t)limit;
	return reply->more ? ERR_OK : count_left(&b, e);
}
