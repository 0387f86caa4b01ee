#include "services/catalog/hub.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <time.h>

#define CHANNEL "catalog_changed"
#define CROWDED_MS 200
#define FULL_MS 20
#define LISTEN_SLICE_MS 100 /* a drain waits for no longer than that */

struct hub {
	pthread_mutex_t mutex; /* guards the rest */
	pthread_cond_t changed;
	uint64_t seen;
	size_t threads, held;
	bool due, closed;
	void (*wake)(void *arg);
	void *wake_arg;
};

static int hub_destroy(struct hub *hub)
{
	pthread_cond_destroy(&hub->changed);
	pthread_mutex_destroy(&hub->mutex);
	return 0;
}

struct hub *hub_new(TALLOC_CTX *ctx, size_t threads, void (*wake)(void *arg), void *arg)
{
	struct hub *hub = talloc_zero(ctx, struct hub);
	pthread_condattr_t attributes;

	ASSERT(hub && threads > 0);
	hub->threads = threads;
	hub->wake = wake;
	hub->wake_arg = arg;
	ASSERT(pthread_condattr_init(&attributes) == 0);
	ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
	ASSERT(pthread_mutex_init(&hub->mutex, NULL) == 0 && pthread_cond_init(&hub->changed, &attributes) == 0);
	pthread_condattr_destroy(&attributes);
	talloc_set_destructor(hub, hub_destroy);
	return hub;
}

int64_t hub_hold(struct hub *hub, int64_t wait_ms)
{
	pthread_mutex_lock(&hub->mutex);
	hub->held++;
	if (hub->held * 4 > hub->threads * 3)
		wait_ms = MIN(wait_ms, (int64_t)FULL_MS);
	else if (hub->held * 2 > hub->threads)
		wait_ms = MIN(wait_ms, (int64_t)CROWDED_MS);
	pthread_mutex_unlock(&hub->mutex);
	return clock_monotonic_ms() + wait_ms;
}

void hub_let_go(struct hub *hub)
{
	pthread_mutex_lock(&hub->mutex);
	ASSERT(hub->held > 0);
	hub->held--;
	pthread_mutex_unlock(&hub->mutex);
}

uint64_t hub_seen(struct hub *hub)
{
	uint64_t seen;

	pthread_mutex_lock(&hub->mutex);
	seen = hub->seen;
	pthread_mutex_unlock(&hub->mutex);
	return seen;
}

bool hub_wait(struct hub *hub, uint64_t seen, int64_t until_ms)
{
	int64_t wake_ms = MIN(until_ms, clock_monotonic_ms() + HUB_POLL_MS);
	struct timespec at = {.tv_sec = wake_ms / 1000, .tv_nsec = wake_ms % 1000 * 1000000};
	bool more;

	pthread_mutex_lock(&hub->mutex);
	while (hub->seen == seen && !hub->closed)
		if (pthread_cond_timedwait(&hub->changed, &hub->mutex, &at) != 0)
			break;
	more = !hub->closed && clock_monotonic_ms() < until_ms;
	pthread_mutex_unlock(&hub->mutex);
	return more;
}

static void wake_waiting(struct hub *hub, bool due)
{
	pthread_mutex_lock(&hub->mutex);
	hub->seen++;
	hub->due = hub->due || due;
	pthread_cond_broadcast(&hub->changed);
	pthread_mutex_unlock(&hub->mutex);
}

void hub_announce(struct hub *hub)
{
	wake_waiting(hub, true);
	if (hub->wake)
		hub->wake(hub->wake_arg);
}

void hub_close(struct hub *hub)
{
	pthread_mutex_lock(&hub->mutex);
	hub->closed = true;
	pthread_cond_broadcast(&hub->changed);
	pthread_mutex_unlock(&hub->mutex);
}

static bool take_due(struct hub *hub)
{
	bool due;

	pthread_mutex_lock(&hub->mutex);
	due = hub->due;
	hub->due = false;
	pthread_mutex_unlock(&hub->mutex);
	return due;
}

bool hub_send(struct hub *hub, struct db_pool *pool)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	SCRATCH_CTX(ctx);
	struct err e;

	if (!take_due(hub))
		return false;
	/* When it is lost, the others find out by their poll. */
	if (db_acquire(pool, 1000, &db, &e) != ERR_OK ||
	    db_query(db, ctx, NULL, &e, "SELECT pg_notify('" CHANNEL "', '')") != ERR_OK)
		LOG_DEBUG("announcement not sent", LOG_ERR(&e));
	return true;
}

static bool is_closed(struct hub *hub)
{
	bool closed;

	pthread_mutex_lock(&hub->mutex);
	closed = hub->closed;
	pthread_mutex_unlock(&hub->mutex);
	return closed;
}

enum err_code hub_listen(struct hub *hub, struct db_pool *pool, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(pool, 1000, &db, e));
	TRY(db_listen(db, CHANNEL, e));
	wake_waiting(hub, false); /* what was announced while nobody listened */
	while (!is_closed(hub)) {
		bool notified;

		TRY(db_wait_notify(db, LISTEN_SLICE_MS, &notified, e));
		if (notified)
			wake_waiting(hub, false);
	}
	return ERR_OK;
}
