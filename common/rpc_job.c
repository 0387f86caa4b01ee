#include "common/rpc_job.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc_header.h"

#include <inttypes.h>
#include <string.h>

#define PING "ping"
#define WARN_EVERY_MS 10000

static struct metric requests = METRIC_COUNTER("stowage_rpc_requests_total", "Requests given to a handler.");
static struct metric failures = METRIC_COUNTER("stowage_rpc_failed_total", "Requests whose answer was an error.");
static struct metric refused = METRIC_COUNTER("stowage_rpc_refused_total", "Requests answered unavailable, not run.");
static struct metric late =
    METRIC_COUNTER("stowage_rpc_late_total", "Requests whose deadline passed while they waited.");
static struct metric joined = METRIC_COUNTER("stowage_rpc_joined_total", "Copies of a request that ran already.");
static struct metric resent = METRIC_COUNTER("stowage_rpc_resent_total", "Kept replies that were sent again.");
static struct metric pings = METRIC_COUNTER("stowage_rpc_pings_total", "Pings answered.");

static struct metric oversize = METRIC_COUNTER("stowage_rpc_dropped_oversize_total", "Frames over the size limit.");
static struct metric malformed =
    METRIC_COUNTER("stowage_rpc_dropped_malformed_total", "Messages that are no frame, or frames without a request.");
static struct metric unopened =
    METRIC_COUNTER("stowage_rpc_dropped_unopened_total", "Frames that no secret opens: another secret, cut, changed.");
static struct metric expired =
    METRIC_COUNTER("stowage_rpc_dropped_expired_total", "Frames whose time is too far from ours.");
static struct metric replayed =
    METRIC_COUNTER("stowage_rpc_dropped_replayed_total", "Frames seen before whose reply is not kept any more.");

static int job_destroy(struct rpc_job *job)
{
	transport_message_release(&job->frame);
	transport_message_release(&job->reply);
	return 0;
}

struct rpc_job *rpc_job_new(struct transport_message *frame, const struct transport_route *route)
{
	struct rpc_job *job = talloc_zero(NULL, struct rpc_job);

	ASSERT(job);
	talloc_set_destructor(job, job_destroy);
	job->frame = *frame;
	*frame = (struct transport_message){0};
	job->call.ctx = job;
	job->routes.route[0] = *route;
	job->routes.count = 1;
	return job;
}

/* Answering -------------------------------------------------------------------------------------------------------- */

static enum err_code seal(struct rpc_desk *desk, struct rpc_job *job, const struct buf *header, bool with_payload,
                          struct err *e)
{
	struct frame_content content = {
	    .bound = job->call.request_id,
	    .header = header->bytes,
	    .header_len = header->len,
	    .payload = with_payload ? job->call.reply_payload : NULL,
	    .payload_len = with_payload ? job->call.reply_payload_len : 0,
	};

	if (content.payload_len > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_TOO_LARGE, "a reply payload of %zu bytes exceeds %ju", content.payload_len,
		           (uintmax_t)RPC_PAYLOAD_MAX);
	TRY(transport_message_new(frame_size(content.header_len, content.payload_len), &job->reply, e));
	return frame_seal(desk->ring, &content, job->reply.bytes, e);
}

static enum err_code seal_body(struct rpc_desk *desk, struct rpc_job *job, const cJSON *body, struct err *e)
{
	CLEANUP(buf_release) struct buf header;

	buf_init(&header, RPC_HEADER_MAX);
	TRY(rpc_header_write_reply(&header, body, e));
	return seal(desk, job, &header, true, e);
}

/* What cannot be sealed is not answered: the peer asks again when its patience ends. */
static void seal_error(struct rpc_desk *desk, struct rpc_job *job, const struct err *error)
{
	CLEANUP(buf_release) struct buf header;
	struct err e;

	buf_init(&header, RPC_HEADER_MAX);
	rpc_header_write_error(&header, error);
	transport_message_release(&job->reply);
	if (seal(desk, job, &header, false, &e) != ERR_OK) {
		transport_message_release(&job->reply);
		LOG_ERROR("reply not sealed", LOG_TEXT("method", job->call.method), LOG_ERR(&e));
	}
}

/* An answer that says "come back later" must not be what a later copy of the request gets. */
static void finish(struct rpc_desk *desk, struct rpc_job *job, enum err_code code)
{
	bool keep = job->reply.bytes && err_retry(code) != ERR_RETRY_LATER;

	rpc_replies_finish(desk->replies, job->key, &job->reply, keep, clock_monotonic_ms(), &job->routes);
	transport_message_release(&job->frame);
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

/* Frames that no secret opens are never answered; the operator who gave two processes different secrets hears of it
 * here, now and then. */
static void warn_unopened(void)
{
	static _Atomic int64_t next_ms;
	int64_t now = clock_monotonic_ms(), due = atomic_load(&next_ms);

	if (now >= due && atomic_compare_exchange_strong(&next_ms, &due, now + WARN_EVERY_MS))
		LOG_WARN("frames that no secret opens: does a process have another cluster_secret?",
		         LOG_NUMBER("dropped", metric_read(&unopened)));
}

static enum rpc_job_verdict drop(struct metric *reason)
{
	metric_add(reason, 1);
	if (reason == &unopened)
		warn_unopened();
	return RPC_JOB_NOTHING;
}

static struct metric *metric_of(enum frame_fault fault)
{
	switch (fault) {
	case FRAME_OVERSIZE:
		return &oversize;
	case FRAME_UNOPENED:
		return &unopened;
	case FRAME_MALFORMED:
	case FRAME_FINE:
		break;
	}
	return &malformed;
}

static const char *make_trace_id(TALLOC_CTX *ctx)
{
	uint64_t random[2];

	random_bytes(random, sizeof(random));
	return talloc_asprintf(ctx, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

static void fill_call(struct rpc_desk *desk, struct rpc_job *job, const struct rpc_request_header *header,
                      const struct frame *frame)
{
	struct rpc_call *call = &job->call;

	call->service = desk->service;
	call->request_id = header->id;
	call->method = header->method;
	call->account = header->account;
	call->principal = header->principal;
	call->trace_id = *header->trace_id ? header->trace_id : make_trace_id(job);
	call->deadline_ms = clock_monotonic_ms() + header->deadline_ms;
	call->payload = frame->payload;
	call->payload_len = frame->payload_len;
	/* None of these contains a space, so this text says all of them apart. */
	job->key = talloc_asprintf(job, "%s %s %s %s", header->id, header->method, header->account, header->principal);
	ASSERT(call->trace_id && job->key);
}

static enum rpc_job_verdict answer_ping(struct rpc_desk *desk, struct rpc_job *job, bool first_time)
{
	cJSON *body;
	enum err_code code;

	if (!first_time)
		return drop(&replayed);
	body = cJSON_CreateObject();
	ASSERT(body && cJSON_AddStringToObject(body, "service", desk->name));
	code = seal_body(desk, job, body, NULL);
	cJSON_Delete(body);
	if (code != ERR_OK)
		return RPC_JOB_NOTHING;
	metric_add(&pings, 1);
	return RPC_JOB_ANSWER;
}

/* Has this request been here before? */
static enum rpc_job_verdict look_up(struct rpc_desk *desk, struct rpc_job *job, bool first_time)
{
	switch (rpc_replies_enter(desk->replies, job->key, first_time, &job->routes.route[0], clock_monotonic_ms(),
	                          &job->reply)) {
	case RPC_REPLIES_RUN:
		return RPC_JOB_RUN;
	case RPC_REPLIES_JOINED:
		metric_add(&joined, 1);
		return RPC_JOB_NOTHING;
	case RPC_REPLIES_KEPT:
		metric_add(&resent, 1);
		return RPC_JOB_ANSWER;
	case RPC_REPLIES_GONE:
		break;
	}
	return drop(&replayed);
}

enum rpc_job_verdict rpc_job_open(struct rpc_desk *desk, struct rpc_job *job)
{
	struct rpc_request_header header;
	enum frame_fault fault;
	struct frame frame;
	int64_t skew;
	bool first_time;

	job->opened = true;
	fault = frame_open(desk->ring, NULL, job->frame.bytes, job->frame.len, &frame);
	if (fault != FRAME_FINE)
		return drop(metric_of(fault));
	if (rpc_header_read_request(job, frame.header, frame.header_len, &header, &job->body, NULL) != ERR_OK)
		return drop(&malformed);
	skew = clock_wall_ms() - header.sent_at_ms;
	if (skew > desk->window_ms || skew < -desk->window_ms)
		return drop(&expired);
	fill_call(desk, job, &header, &frame);
	first_time = replay_first_time(desk->replay, frame.salt, frame.counter);
	if (strcmp(header.method, PING) == 0)
		return answer_ping(desk, job, first_time);
	return look_up(desk, job, first_time);
}

/* Running ---------------------------------------------------------------------------------------------------------- */

static enum err_code call_handler(struct rpc_desk *desk, struct rpc_job *job, struct err *e)
{
	cJSON *body = NULL;
	enum err_code code;

	if (clock_monotonic_ms() >= job->call.deadline_ms) {
		metric_add(&late, 1);
		return ERR(e, ERR_DEADLINE, "the deadline of %s passed while it waited", job->call.method);
	}
	metric_add(&requests, 1);
	code = desk->dispatch(&job->call, job->body, &body, e);
	if (code == ERR_OK)
		code = seal_body(desk, job, body, e);
	cJSON_Delete(body);
	return code;
}

static void log_result(const struct rpc_job *job, enum err_code code, int64_t took_ms, const struct err *e)
{
	if (code == ERR_INTERNAL || code == ERR_CORRUPT)
		LOG_ERROR("request failed", LOG_TEXT("method", job->call.method), LOG_ERR(e), LOG_TEXT("file", e->file),
		          LOG_NUMBER("line", e->line), LOG_NUMBER("ms", took_ms));
	else
		LOG_DEBUG("request done", LOG_TEXT("method", job->call.method), LOG_TEXT("code", err_name(code)),
		          LOG_NUMBER("ms", took_ms));
}

void rpc_job_run(struct rpc_desk *desk, struct rpc_job *job)
{
	int64_t began = clock_monotonic_ms();
	struct err e = {0};
	enum err_code code;

	log_context_set(job->call.request_id, job->call.trace_id, job->call.account, 0);
	code = call_handler(desk, job, &e);
	if (code != ERR_OK) {
		e.code = code;
		seal_error(desk, job, &e);
		metric_add(&failures, 1);
	}
	log_result(job, code, clock_monotonic_ms() - began, &e);
	finish(desk, job, code);
	log_context_clear();
}

void rpc_job_refuse(struct rpc_desk *desk, struct rpc_job *job, const char *why, unsigned retry_ms)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, 0, __FILE__, __LINE__, "%s %s", desk->name, why);
	e.retry_ms = retry_ms;
	seal_error(desk, job, &e);
	metric_add(&refused, 1);
	finish(desk, job, ERR_UNAVAILABLE);
}
