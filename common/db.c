#include "common/db.h"

#include "common/clock.h"
#include "common/db_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define RETRY_BASE_MS 100
#define RETRY_CAP_MS 2000

/* Everything after the lock is under it. open counts the idle, the lent, and those being opened. */
struct db_pool {
	struct db_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct db *idle; /* newest first: the others may rest */
	size_t open;

	/* While the server is away, one thread at a time tries, with growing pauses; the others wait for what it finds.
	 */
	unsigned failures; /* in a row */
	uint64_t failed;   /* ever */
	bool trying;
	int64_t not_before_ms;
	struct err last_failure;
};

static int pool_destroy(struct db_pool *pool)
{
	while (pool->idle) {
		struct db *db = pool->idle;

		pool->idle = db->next;
		pool->open--;
		db_close(db);
	}
	ASSERT(pool->open == 0);
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	return 0;
}

struct db_pool *db_pool_new(TALLOC_CTX *ctx, const struct db_options *options)
{
	struct db_pool *pool = talloc_zero(ctx, struct db_pool);
	pthread_condattr_t attributes;

	ASSERT(pool);
	pool->options = *options;
	pool->options.url = talloc_strdup(pool, options->url ? options->url : "");
	pool->options.application = talloc_strdup(pool, options->application ? options->application : "stowage");
	ASSERT(pool->options.url && pool->options.application);
	pool->options.connections = MAX(options->connections, (size_t)1);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	talloc_set_destructor(pool, pool_destroy);
	return pool;
}

/* Gives the lock back while it waits. */
static void wait_until(struct db_pool *pool, int64_t until_ms)
{
	struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	pthread_cond_timedwait(&pool->changed, &pool->lock, &at);
}

/* What a caller gets without a system call: an idle connection, or leave to open one (*out stays NULL). */
static bool take(struct db_pool *pool, struct db **out)
{
	if (pool->idle) {
		*out = pool->idle;
		pool->idle = pool->idle->next;
		return true;
	}
	if (pool->open >= pool->options.connections)
		return false;
	if (pool->failures > 0) {
		if (pool->trying || clock_monotonic_ms() < pool->not_before_ms)
			return false;
		pool->trying = true;
	}
	pool->open++;
	return true;
}

static enum err_code give_up(struct db_pool *pool, bool server_away, struct err *e)
{
	if (!server_away)
		return ERR(e, ERR_EXHAUSTED, "database: all %zu connections are busy", pool->options.connections);
	if (e)
		*e = pool->last_failure;
	return pool->last_failure.code;
}

static enum err_code reserve(struct db_pool *pool, int64_t wait_ms, struct db **out, struct err *e)
{
	int64_t until_ms = clock_monotonic_ms() + wait_ms;
	enum err_code code = ERR_OK;
	uint64_t failed;

	pthread_mutex_lock(&pool->lock);
	failed = pool->failed;
	while (!take(pool, out)) {
		bool away = pool->failures > 0;
		int64_t wake_ms = until_ms;

		/* Somebody tried while this caller was waiting: the answer is good for both. */
		if (clock_monotonic_ms() >= until_ms || pool->failed != failed) {
			code = give_up(pool, away, e);
			break;
		}
		if (away && !pool->trying)
			wake_ms = MIN(wake_ms, pool->not_before_ms);
		wait_until(pool, wake_ms);
	}
	pthread_mutex_unlock(&pool->lock);
	return code;
}

static void note_attempt(struct db_pool *pool, enum err_code code, const struct err *failure)
{
	pthread_mutex_lock(&pool->lock);
	pool->trying = false;
	if (code == ERR_OK) {
		pool->failures = 0;
	} else {
		pool->open--;
		pool->failed++;
		pool->not_before_ms = clock_monotonic_ms() + backoff_ms(pool->failures, RETRY_BASE_MS, RETRY_CAP_MS);
		pool->failures++;
		pool->last_failure = *failure;
	}
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
}

enum err_code db_acquire(struct db_pool *pool, int64_t wait_ms, struct db **out, struct err *e)
{
	struct db *db = NULL;
	struct err failure = {0};
	enum err_code code;

	TRY(reserve(pool, wait_ms, &db, e));
	if (db && !db_is_alive(db)) {
		db_close(db); /* its place in the pool stays ours */
		db = NULL;
	}
	if (!db) {
		code = db_open(&pool->options, &db, &failure);
		note_attempt(pool, code, &failure);
		if (code != ERR_OK) {
			if (e)
				*e = failure;
			return code;
		}
		db->pool = pool;
	}
	db->run_again = false;
	*out = db;
	return ERR_OK;
}

void db_release(struct db *db)
{
	struct db_pool *pool;
	bool keep;

	if (!db)
		return;
	pool = db->pool;
	db_rollback(db);
	keep = !db->broken && !db->keep_not && PQtransactionStatus(db->conn) == PQTRANS_IDLE;
	if (!keep)
		db_close(db);
	pthread_mutex_lock(&pool->lock);
	if (keep) {
		db->next = pool->idle;
		pool->idle = db;
	} else {
		pool->open--;
	}
	pthread_cond_signal(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
}

void db_cleanup(struct db **db)
{
	db_release(*db);
	*db = NULL;
}

enum err_code db_ping(struct db_pool *pool, int64_t wait_ms, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t answer_ms;
	enum err_code code;

	TRY(db_acquire(pool, wait_ms, &db, e));
	answer_ms = db->answer_ms;
	db->answer_ms = MAX(wait_ms, (int64_t)1000);
	code = db_query(db, NULL, NULL, e, "SELECT 1");
	db->answer_ms = answer_ms;
	return code;
}
