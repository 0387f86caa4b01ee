#include "common/rpc_prober.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc_exchange.h"

#include <pthread.h>
#include <time.h>

#define PING_WAIT_MS 1000
#define CONFIRMED 2 /* failures in a row */

static struct metric out = METRIC_COUNTER("stowage_rpc_endpoints_out_total", "Times an endpoint was found to be away.");

struct rpc_prober {
	struct rpc_prober_options options;
	pthread_mutex_t lock; /* guards started and woken */
	pthread_cond_t wake;
	pthread_t thread;
	bool started, woken;
	atomic_bool stop;
};

/* A single failure is a suspicion and worth no line: it may have been a slow request whose caller had little time. */
static void note_failed(struct rpc_prober *p, struct rpc_endpoint *ep)
{
	if (rpc_endpoint_failed(ep) == CONFIRMED) {
		metric_add(&out, 1);
		LOG_WARN("endpoint out", LOG_TEXT("service", p->options.service),
		         LOG_TEXT("endpoint", rpc_endpoint_address(ep)));
	}
}

static void note_back(struct rpc_prober *p, struct rpc_endpoint *ep)
{
	if (rpc_endpoint_worked(ep) >= CONFIRMED)
		LOG_INFO("endpoint back", LOG_TEXT("service", p->options.service),
		         LOG_TEXT("endpoint", rpc_endpoint_address(ep)));
}

static void ping_due(struct rpc_prober *p, struct rpc_endpoint *ep)
{
	if (rpc_ping(ep, p->options.ring, p->options.principal, PING_WAIT_MS, &p->stop))
		note_back(p, ep);
	else if (!atomic_load(&p->stop))
		note_failed(p, ep);
	rpc_endpoint_release(ep);
}

/* Until the next ping is due, somebody wakes us, or it is over. */
static void sleep_until(struct rpc_prober *p, int64_t next_ms)
{
	struct timespec at = {.tv_sec = next_ms / 1000, .tv_nsec = next_ms % 1000 * 1000000};

	pthread_mutex_lock(&p->lock);
	while (!p->woken && !atomic_load(&p->stop)) {
		if (next_ms == INT64_MAX)
			pthread_cond_wait(&p->wake, &p->lock);
		else if (pthread_cond_timedwait(&p->wake, &p->lock, &at) != 0)
			break;
	}
	p->woken = false;
	pthread_mutex_unlock(&p->lock);
}

static void *probe_until_stopped(void *arg)
{
	struct rpc_prober *p = arg;

	while (!atomic_load(&p->stop)) {
		int64_t next_ms;
		struct rpc_endpoint *ep = rpc_endpoints_due(p->options.endpoints, &next_ms);

		if (ep)
			ping_due(p, ep);
		else
			sleep_until(p, next_ms);
	}
	return NULL;
}

static int prober_destroy(struct rpc_prober *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->stop, true);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (p->started)
		pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	return 0;
}

struct rpc_prober *rpc_prober_new(TALLOC_CTX *ctx, const struct rpc_prober_options *options)
{
	struct rpc_prober *p = talloc_zero(ctx, struct rpc_prober);
	pthread_condattr_t monotonic;

	ASSERT(p && pthread_mutex_init(&p->lock, NULL) == 0 && pthread_condattr_init(&monotonic) == 0);
	ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	       pthread_cond_init(&p->wake, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	p->options = *options;
	talloc_set_destructor(p, prober_destroy);
	return p;
}

/* Without a thread the endpoints stay out until a call finds nothing better and tries them. */
void rpc_prober_wake(struct rpc_prober *p)
{
	pthread_mutex_lock(&p->lock);
	if (!p->started && pthread_create(&p->thread, NULL, probe_until_stopped, p) == 0) {
		pthread_setname_np(p->thread, "rpc-prober");
		p->started = true;
	}
	p->woken = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}
