#include "common/clock.h"
#include "common/metrics.h"
#include "common/rpc_endpoints.h"
#include "common/rpc_exchange.h"
#include "common/rpc_prober.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define ATTEMPT_DEFAULT_MS 5000
#define CONNECT_WAIT_DEFAULT_MS 5000
#define CONNECT_SLICE_MS 300 /* for one endpoint to be reached before another is tried */
#define PING_WAIT_MS 1000    /* for an endpoint that owes a reply to show that it lives */
#define ROUND_BASE_MS 50     /* between two rounds through all endpoints */
#define ROUND_CAP_MS 500

static struct metric calls = METRIC_COUNTER("stowage_rpc_calls_total", "Requests made of other services.");
static struct metric again = METRIC_COUNTER("stowage_rpc_calls_again_total", "Requests sent once more.");

struct rpc_client {
	const char *name, *principal;
	int64_t connect_wait_ms;
	struct frame_ring *ring;
	struct rpc_endpoints *endpoints;
	struct rpc_prober *prober;
};

/* One call on its way. */
struct call {
	struct rpc_client *client;
	const struct rpc_request *request;
	struct rpc_random_id id, trace;
	struct buf body;
	int64_t deadline_ms, attempt_ms;
	int64_t reached_ms; /* when an endpoint was last reached, or the call began */
	bool reached;
	uint64_t tried;
	unsigned rounds, attempts;
	TALLOC_CTX *ctx;
	struct rpc_reply *reply;
	enum err_code code; /* of the last attempt */
	struct err last;    /* and its text */
};

/* Lifecycle -------------------------------------------------------------------------------------------------------- */

/* The prober first: it uses what the rest of the tree holds. */
static int client_destroy(struct rpc_client *c)
{
	talloc_free(c->prober);
	return 0;
}

static bool is_plain(const char *text, size_t most)
{
	size_t len = text ? strlen(text) : 0;

	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)text[i]))
			return false;
	return len <= most;
}

static enum err_code fill_client(struct rpc_client *c, const struct rpc_client_options *options, struct err *e)
{
	struct rpc_prober_options prober = {0};

	c->name = talloc_strdup(c, options->name ? options->name : "service");
	c->principal = talloc_strdup(c, options->principal ? options->principal : "");
	ASSERT(c->name && c->principal);
	c->connect_wait_ms = options->connect_wait_ms ? options->connect_wait_ms : CONNECT_WAIT_DEFAULT_MS;
	TRY(frame_ring_new(c, &options->secret, &c->ring, e));
	TRY(rpc_endpoints_new(c, options->endpoints, options->endpoint_count, &c->endpoints, e));
	prober.endpoints = c->endpoints;
	prober.ring = c->ring;
	prober.service = c->name;
	prober.principal = c->principal;
	c->prober = rpc_prober_new(c, &prober);
	talloc_set_destructor(c, client_destroy);
	return ERR_OK;
}

enum err_code rpc_client_new(TALLOC_CTX *ctx, const struct rpc_client_options *options, struct rpc_client **out,
                             struct err *e)
{
	struct rpc_client *c;
	enum err_code code;

	if (!is_plain(options->principal, RPC_PRINCIPAL_MAX))
		return ERR(e, ERR_INVALID, "the principal %s is not plain text of at most %d bytes", options->principal,
		           RPC_PRINCIPAL_MAX);
	TRY(transport_selftest(e));
	c = talloc_zero(ctx, struct rpc_client);
	ASSERT(c);
	code = fill_client(c, options, e);
	if (code != ERR_OK) {
		talloc_free(c);
		return code;
	}
	*out = c;
	return ERR_OK;
}

/* One attempt ------------------------------------------------------------------------------------------------------ */

static int64_t time_left(const struct call *call)
{
	int64_t left = call->deadline_ms - clock_monotonic_ms();

	return MAX(left, 0);
}

static enum rpc_outcome exchange(struct call *call, struct rpc_endpoint *ep, int64_t reply_ms)
{
	const struct rpc_request *request = call->request;
	int64_t left = time_left(call);
	struct rpc_exchange x = {
	    .ring = call->client->ring,
	    .header = {.id = call->id.text,
	               .method = request->method,
	               .account = request->account,
	               .principal = call->client->principal,
	               .trace_id = request->trace_id ? request->trace_id : call->trace.text,
	               .deadline_ms = MIN(left, RPC_DEADLINE_MAX)},
	    .body = call->body.bytes,
	    .body_len = call->body.len,
	    .payload = request->payload,
	    .payload_len = request->payload_len,
	    .connect_ms = MIN(left, CONNECT_SLICE_MS),
	    .reply_ms = MIN(left, reply_ms),
	};
	enum rpc_outcome outcome;

	if (call->attempts++ > 0)
		metric_add(&again, 1);
	outcome = rpc_exchange(ep, &x, call->ctx, call->reply, &call->code, &call->last);
	if (outcome != RPC_UNREACHED && outcome != RPC_UNSENT) {
		call->reached = true;
		call->reached_ms = clock_monotonic_ms();
	}
	return outcome;
}

/*
 * An endpoint that stays silent for an attempt is frozen, or has much to do with this request, or its reply was lost. A
 * ping tells the first from the others; those are asked again under the same request id, which joins the running
 * request or fetches the kept reply, and given twice the time.
 */
static enum rpc_outcome ask(struct call *call, struct rpc_endpoint *ep)
{
	int64_t reply_ms = call->attempt_ms;

	for (;;) {
		enum rpc_outcome outcome = exchange(call, ep, reply_ms);
		int64_t left = time_left(call), ping_ms = MIN(PING_WAIT_MS, call->attempt_ms / 2);

		ping_ms = MIN(ping_ms, left);
		if (outcome != RPC_SILENT || ping_ms == 0)
			return outcome;
		if (!rpc_ping(ep, call->client->ring, call->client->principal, ping_ms, NULL))
			return outcome;
		reply_ms *= 2;
	}
}

/* True: call->code and call->last are what the caller gets. */
static bool attempt(struct call *call, struct rpc_endpoint *ep)
{
	bool over = false;

	switch (ask(call, ep)) {
	case RPC_ANSWERED:
		(void)rpc_endpoint_worked(ep);
		over =
		    call->code != ERR_UNAVAILABLE || call->last.retry_ms == 0 || call->last.retry_ms >= time_left(call);
		if (!over)
			rpc_endpoint_busy(ep, call->last.retry_ms);
		break;
	case RPC_UNSENT:
		over = true;
		break;
	case RPC_UNREACHED:
	case RPC_LOST:
	case RPC_SILENT:
		(void)rpc_endpoint_failed(ep);
		rpc_prober_wake(call->client->prober);
		break;
	}
	return over;
}

/* The call --------------------------------------------------------------------------------------------------------- */

static void sleep_ms(int64_t ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

/* Nobody can be asked right now: until one that is busy is not, or before all are tried once more. */
static void wait_for_endpoint(struct call *call, int64_t not_before_ms)
{
	int64_t left = time_left(call), wait;

	if (not_before_ms == 0) {
		call->tried = 0;
		wait = 1 + backoff_ms(call->rounds++, ROUND_BASE_MS, ROUND_CAP_MS);
		sleep_ms(MIN(wait, left));
		return;
	}
	wait = not_before_ms - clock_monotonic_ms();
	sleep_ms(MIN(MAX(wait, 1), left));
	call->reached_ms = clock_monotonic_ms(); /* it asked for the wait, so it is there */
}

static enum err_code give_up(struct call *call, const char *why)
{
	struct err last = call->last;
	enum err_code code = call->reached && time_left(call) == 0 ? ERR_DEADLINE : ERR_UNAVAILABLE;

	return ERR(&call->last, code, "%s %s%s%s", call->client->name, why, *last.text ? ": " : "", last.text);
}

/* All are busy until after the deadline: who asked us, or another call, to come back later. */
static enum err_code give_up_early(struct call *call, int64_t not_before_ms)
{
	int64_t wait = not_before_ms - clock_monotonic_ms();

	if (call->code == ERR_UNAVAILABLE && call->last.retry_ms > 0)
		return call->code;
	err_set(&call->last, ERR_UNAVAILABLE, 0, __FILE__, __LINE__, "%s has too much to do", call->client->name);
	call->last.retry_ms = (unsigned)MIN(MAX(wait, 1), INT32_MAX);
	return ERR_UNAVAILABLE;
}

static enum err_code run_call(struct call *call)
{
	struct rpc_client *c = call->client;

	for (;;) {
		struct rpc_endpoint *ep;
		int64_t not_before_ms;
		bool over;

		if (time_left(call) == 0)
			return give_up(call, "did not answer in time (or does not share this cluster_secret)");
		if (clock_monotonic_ms() - call->reached_ms > c->connect_wait_ms)
			return give_up(call, "cannot be reached");
		ep = rpc_endpoints_choose(c->endpoints, &call->tried, &not_before_ms);
		if (!ep && not_before_ms >= call->deadline_ms)
			return give_up_early(call, not_before_ms);
		if (!ep) {
			wait_for_endpoint(call, not_before_ms);
			continue;
		}
		over = attempt(call, ep);
		rpc_endpoint_release(ep);
		if (over)
			return call->code;
	}
}

/* What the peer would drop without a word is refused here, with one. */
static enum err_code check_request(const struct rpc_request *request, struct err *e)
{
	if (!request->method || !*request->method || !is_plain(request->method, RPC_METHOD_MAX))
		return ERR(e, ERR_INVALID, "%s is not a method's name", request->method ? request->method : "nothing");
	if (!is_plain(request->account, RPC_ACCOUNT_MAX))
		return ERR(e, ERR_INVALID, "%s is not an account's name", request->account);
	if (request->deadline_ms <= 0)
		return ERR(e, ERR_DEADLINE, "%s has no time left", request->method);
	if (request->payload_len > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_TOO_LARGE, "a payload of %zu bytes for %s exceeds %ju", request->payload_len,
		           request->method, (uintmax_t)RPC_PAYLOAD_MAX);
	return ERR_OK;
}

enum err_code rpc_client_call(struct rpc_client *c, const struct rpc_request *request, TALLOC_CTX *ctx,
                              struct rpc_reply *reply, struct err *e)
{
	struct call call = {.client = c, .request = request, .ctx = ctx, .reply = reply};
	enum err_code code = ERR_OK;

	*reply = (struct rpc_reply){0};
	TRY(check_request(request, e));
	call.id = rpc_random_id();
	call.trace = rpc_random_id();
	call.reached_ms = clock_monotonic_ms();
	call.deadline_ms = call.reached_ms + MIN(request->deadline_ms, RPC_DEADLINE_MAX);
	call.attempt_ms = request->attempt_ms > 0 ? request->attempt_ms : ATTEMPT_DEFAULT_MS;
	buf_init(&call.body, RPC_HEADER_MAX);
	metric_add(&calls, 1);
	if (request->body)
		code = rpc_header_print(&call.body, request->body, &call.last);
	if (code == ERR_OK)
		code = run_call(&call);
	buf_release(&call.body);
	if (code != ERR_OK && e)
		*e = call.last;
	return code;
}
