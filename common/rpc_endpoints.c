#include "common/rpc_endpoints.h"

#include "common/clock.h"
#include "common/rpc.h"

#include <pthread.h>

#define PING_BASE_MS 250
#define PING_CAP_MS 5000
#define FAILURES_MAX 16U

struct rpc_endpoint {
	struct rpc_endpoints *set;
	const char *address;
	size_t in_flight;
	unsigned failures; /* in a row; above 0: out */
	int64_t ping_ms;   /* when the next ping is due, while out */
	int64_t busy_until_ms;
	struct transport_socket *idle[RPC_ENDPOINT_IDLE_MAX];
	size_t idle_count;
};

struct rpc_endpoints {
	pthread_mutex_t lock; /* guards all that changes here and in the endpoints */
	size_t turn;          /* where looking for the next one begins */
	size_t count;
	struct rpc_endpoint endpoints[];
};

static int endpoints_destroy(struct rpc_endpoints *set)
{
	for (size_t i = 0; i < set->count; i++)
		for (size_t s = 0; s < set->endpoints[i].idle_count; s++)
			transport_close(set->endpoints[i].idle[s]);
	pthread_mutex_destroy(&set->lock);
	return 0;
}

enum err_code rpc_endpoints_new(TALLOC_CTX *ctx, const char *const *addresses, size_t count, struct rpc_endpoints **out,
                                struct err *e)
{
	struct rpc_endpoints *set;

	if (count == 0 || count > RPC_ENDPOINTS_MAX)
		return ERR(e, ERR_INVALID, "a client needs 1 to %d endpoints, not %zu", RPC_ENDPOINTS_MAX, count);
	set = talloc_zero_size(ctx, sizeof(*set) + count * sizeof(set->endpoints[0]));
	ASSERT(set && pthread_mutex_init(&set->lock, NULL) == 0);
	talloc_set_name_const(set, "struct rpc_endpoints");
	set->count = count;
	set->turn = random_below(count);
	for (size_t i = 0; i < count; i++) {
		set->endpoints[i].set = set;
		set->endpoints[i].address = talloc_strdup(set, addresses[i]);
		ASSERT(set->endpoints[i].address);
	}
	talloc_set_destructor(set, endpoints_destroy);
	*out = set;
	return ERR_OK;
}

/* Choosing --------------------------------------------------------------------------------------------------------- */

struct search {
	uint64_t tried;
	int64_t now_ms;
	struct rpc_endpoint *in, *out;
	int64_t patience_ms; /* the soonest end of one that is in and busy; INT64_MAX: none */
};

static void consider(struct search *search, struct rpc_endpoint *ep)
{
	if (ep->failures > 0) {
		bool tried = search->tried >> (ep - ep->set->endpoints) & 1;

		if (!tried && (!search->out || ep->failures < search->out->failures))
			search->out = ep;
	} else if (ep->busy_until_ms > search->now_ms) {
		search->patience_ms = MIN(search->patience_ms, ep->busy_until_ms);
	} else if (!search->in || ep->in_flight < search->in->in_flight) {
		search->in = ep;
	}
}

static struct rpc_endpoint *choose(struct rpc_endpoints *set, uint64_t *tried, int64_t *not_before_ms)
{
	struct search search = {.tried = *tried, .now_ms = clock_monotonic_ms(), .patience_ms = INT64_MAX};

	ASSERT(set->count > 0);
	for (size_t i = 0; i < set->count; i++)
		consider(&search, &set->endpoints[(set->turn + i) % set->count]);
	set->turn = (set->turn + 1) % set->count;
	*not_before_ms = 0;
	if (search.in)
		return search.in;
	if (search.patience_ms != INT64_MAX) {
		*not_before_ms = search.patience_ms;
		return NULL;
	}
	if (search.out)
		*tried |= (uint64_t)1 << (search.out - set->endpoints);
	return search.out;
}

struct rpc_endpoint *rpc_endpoints_choose(struct rpc_endpoints *set, uint64_t *tried, int64_t *not_before_ms)
{
	struct rpc_endpoint *ep;

	pthread_mutex_lock(&set->lock);
	ep = choose(set, tried, not_before_ms);
	if (ep)
		ep->in_flight++;
	pthread_mutex_unlock(&set->lock);
	return ep;
}

struct rpc_endpoint *rpc_endpoints_due(struct rpc_endpoints *set, int64_t *next_ms)
{
	struct rpc_endpoint *due = NULL;
	int64_t now = clock_monotonic_ms();

	*next_ms = INT64_MAX;
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count && !due; i++) {
		struct rpc_endpoint *ep = &set->endpoints[i];

		if (ep->failures == 0)
			continue;
		if (ep->ping_ms <= now)
			due = ep;
		else
			*next_ms = MIN(*next_ms, ep->ping_ms);
	}
	if (due)
		due->in_flight++;
	pthread_mutex_unlock(&set->lock);
	return due;
}

size_t rpc_endpoints_count(const struct rpc_endpoints *set)
{
	return set->count;
}

size_t rpc_endpoints_out(struct rpc_endpoints *set)
{
	size_t out = 0;

	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < set->count; i++)
		out += set->endpoints[i].failures > 0;
	pthread_mutex_unlock(&set->lock);
	return out;
}

/* One endpoint ----------------------------------------------------------------------------------------------------- */

const char *rpc_endpoint_address(const struct rpc_endpoint *ep)
{
	return ep->address;
}

static struct transport_socket *take_idle(struct rpc_endpoint *ep)
{
	struct transport_socket *socket = NULL;

	pthread_mutex_lock(&ep->set->lock);
	if (ep->idle_count > 0)
		socket = ep->idle[--ep->idle_count];
	pthread_mutex_unlock(&ep->set->lock);
	return socket;
}

enum err_code rpc_endpoint_take_socket(struct rpc_endpoint *ep, struct transport_socket **out, struct err *e)
{
	for (;;) {
		struct transport_socket *socket = take_idle(ep);

		if (!socket)
			return transport_connect(ep->address, RPC_FRAME_MAX, out, e);
		if (!transport_is_refused(socket)) {
			*out = socket;
			return ERR_OK;
		}
		transport_close(socket); /* its peer has gone; a new one asks at once whether it is back */
	}
}

void rpc_endpoint_give_socket(struct rpc_endpoint *ep, struct transport_socket *socket)
{
	bool refused = transport_is_refused(socket);

	pthread_mutex_lock(&ep->set->lock);
	if (!refused && ep->idle_count < ARRAY_SIZE(ep->idle)) {
		ep->idle[ep->idle_count++] = socket;
		socket = NULL;
	}
	pthread_mutex_unlock(&ep->set->lock);
	transport_close(socket);
}

unsigned rpc_endpoint_worked(struct rpc_endpoint *ep)
{
	unsigned failures;

	pthread_mutex_lock(&ep->set->lock);
	failures = ep->failures;
	ep->failures = 0;
	pthread_mutex_unlock(&ep->set->lock);
	return failures;
}

/* The first ping is due at once: it may have been the request that was slow, not the endpoint. Of many that fail
 * together, only one counts, so that the distance between pings grows with time and not with traffic. */
unsigned rpc_endpoint_failed(struct rpc_endpoint *ep)
{
	int64_t now = clock_monotonic_ms();
	unsigned failures;

	pthread_mutex_lock(&ep->set->lock);
	if (ep->failures == 0) {
		ep->failures = 1;
		ep->ping_ms = now;
	} else if (now >= ep->ping_ms) {
		ep->failures = MIN(ep->failures + 1, FAILURES_MAX);
		ep->ping_ms = now + PING_BASE_MS / 2 + backoff_ms(ep->failures, PING_BASE_MS, PING_CAP_MS);
	}
	failures = ep->failures;
	pthread_mutex_unlock(&ep->set->lock);
	return failures;
}

void rpc_endpoint_busy(struct rpc_endpoint *ep, unsigned retry_ms)
{
	int64_t until = clock_monotonic_ms() + retry_ms + (int64_t)random_below((uint64_t)retry_ms / 2 + 1);

	pthread_mutex_lock(&ep->set->lock);
	ep->busy_until_ms = MAX(ep->busy_until_ms, until);
	pthread_mutex_unlock(&ep->set->lock);
}

void rpc_endpoint_release(struct rpc_endpoint *ep)
{
	pthread_mutex_lock(&ep->set->lock);
	ASSERT(ep->in_flight > 0);
	ep->in_flight--;
	pthread_mutex_unlock(&ep->set->lock);
}
