#include "proto/dispatch.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LAST_ERRORS 20

static struct metric requests_total = METRIC_COUNTER("stowage_requests_total", "Requests that were dispatched.");
static struct metric requests_failed =
    METRIC_COUNTER("stowage_requests_failed_total", "Requests answered with an error.");

static enum err_code answer(const struct proto_route *route, struct rpc_call *call, const cJSON *body, cJSON **reply,
                            struct err *e)
{
	const struct proto_message *m = route->message;
	void *request = talloc_zero_size(call->ctx, MAX(m->request()->size, (size_t)1));
	void *filled = talloc_zero_size(call->ctx, MAX(m->reply()->size, (size_t)1));

	ASSERT(request && filled);
	if (call->payload_len > m->request_payload)
		return ERR(e, ERR_TOO_LARGE, "%s: a payload of %zu bytes, at most %zu are allowed", m->name,
		           call->payload_len, m->request_payload);
	TRY(proto_decode(m->request(), call->ctx, body, PROTO_REJECT_UNKNOWN, request, e));
	TRY(route->handler(call, request, filled, e));
	ASSERT(call->reply_payload_len <= m->reply_payload);
	if (proto_encode(m->reply(), filled, reply, e) != ERR_OK)
		return ERR(e, ERR_INTERNAL, "%s: a reply that cannot be sent: %s", m->name, e ? e->text : "");
	return ERR_OK;
}

enum err_code proto_dispatch(const struct proto_route *routes, struct rpc_call *call, const cJSON *body, cJSON **reply,
                             struct err *e)
{
	enum err_code code;

	metric_add(&requests_total, 1);
	for (const struct proto_route *r = routes; r->message; r++) {
		if (strcmp(r->message->name, call->method) != 0)
			continue;
		code = answer(r, call, body, reply, e);
		if (code != ERR_OK)
			metric_add(&requests_failed, 1);
		return code;
	}
	metric_add(&requests_failed, 1);
	return ERR(e, ERR_NOT_FOUND, "no message is called %s", call->method);
}

struct samples {
	TALLOC_CTX *ctx;
	struct metric_sample *items;
	size_t count;
};

static void add_sample(const struct metric *m, void *arg)
{
	struct samples *s = arg;

	if (s->count == 1000)
		return;
	s->items = talloc_realloc(s->ctx, s->items, struct metric_sample, s->count + 1);
	ASSERT(s->items);
	s->items[s->count++] = (struct metric_sample){.name = m->name, .value = metric_read(m)};
}

/* Runs before main: near enough to the process's start. */
static int64_t started_ms;

__attribute__((constructor)) static void note_start(void)
{
	started_ms = clock_monotonic_ms();
}

enum err_code handle_service_status(struct rpc_call *call, const struct service_status_request *request,
                                    struct service_status_reply *reply, struct err *e)
{
	struct utsname host;
	struct samples samples = {.ctx = call->ctx};
	char **errors = talloc_zero_array(call->ctx, char *, LAST_ERRORS);

	(void)request;
	if (uname(&host) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "the name of this host");
	ASSERT(errors);
	metrics_each(add_sample, &samples);
	*reply = (struct service_status_reply){
	    .service = program_invocation_short_name,
	    .version = STOWAGE_VERSION,
	    .host = talloc_strdup(call->ctx, host.nodename),
	    .pid = getpid(),
	    .uptime_ms = clock_monotonic_ms() - started_ms,
	    .metrics = samples.items,
	    .metrics_count = samples.count,
	};
	reply->last_errors.items = talloc_zero_array(call->ctx, const char *, LAST_ERRORS);
	ASSERT(reply->last_errors.items);
	reply->last_errors.count = log_last_errors(call->ctx, errors, LAST_ERRORS);
	for (size_t i = 0; i < reply->last_errors.count; i++)
		reply->last_errors.items[i] = errors[i];
	return ERR_OK;
}
