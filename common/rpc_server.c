#include "common/rpc_server.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc_job.h"

#include <stdatomic.h>
#include <string.h>

#define THREADS_DEFAULT 4
#define QUEUE_DEFAULT 256
#define WINDOW_DEFAULT_MS (120 * 1000)
#define KEEP_BYTES_DEFAULT (32 * MIB)
#define KEEP_COUNT_DEFAULT 16384

#define OPEN_ON_LOOP_MAX (64 * KIB) /* larger frames take too long to open between two others */
#define RETRY_FULL_MS 250
#define RETRY_DRAIN_MS 1000
#define LEAVE_MS 200 /* for a reply to leave before anybody closes the socket under it */

static struct metric busy_now = METRIC_GAUGE("stowage_rpc_busy", "Requests running or waiting for a thread.");
static struct metric unsent = METRIC_COUNTER("stowage_rpc_unsent_total", "Replies that the socket did not take.");

struct rpc_server {
	struct rpc_server_options options;
	struct rpc_desk desk;
	uv_loop_t *loop;
	uv_async_t idle_wake;
	uv_timer_t leave;
	int open_handles;
	struct transport_listener *listener;
	struct rpc_workers *workers;
	atomic_size_t busy;         /* given to the workers and not answered yet */
	_Atomic int64_t replied_ms; /* clock_monotonic_ms() */
	atomic_bool draining;
	void (*drained)(void *arg);
	void *drained_arg;
};

/* Sending ---------------------------------------------------------------------------------------------------------- */

/* Copies for all ways back but the last, which gets the reply itself. */
static void send_reply(struct rpc_server *s, struct rpc_job *job)
{
	for (size_t i = 0; i < job->routes.count && job->reply.bytes; i++) {
		struct transport_message copy = {0};
		bool last = i + 1 == job->routes.count;

		if (!last) {
			if (transport_message_new(job->reply.len, &copy, NULL) != ERR_OK)
				continue;
			memcpy(copy.bytes, job->reply.bytes, copy.len);
		}
		if (!transport_answer(s->listener, &job->routes.route[i], last ? &job->reply : &copy))
			metric_add(&unsent, 1);
		atomic_store(&s->replied_ms, clock_monotonic_ms());
	}
}

static void on_left(uv_timer_t *timer)
{
	struct rpc_server *s = timer->data;

	if (s->drained)
		s->drained(s->drained_arg);
}

static void look_whether_drained(struct rpc_server *s)
{
	int64_t wait_ms = atomic_load(&s->replied_ms) + LEAVE_MS - clock_monotonic_ms();

	if (atomic_load(&s->draining) && atomic_load(&s->busy) == 0 && !uv_is_active((uv_handle_t *)&s->leave))
		uv_timer_start(&s->leave, on_left, (uint64_t)MAX(wait_ms, 0), 0);
}

static void on_idle(uv_async_t *handle)
{
	look_whether_drained(handle->data);
}

/* Working ---------------------------------------------------------------------------------------------------------- */

static void work(struct rpc_work *piece, void *arg)
{
	struct rpc_server *s = arg;
	struct rpc_job *job = (struct rpc_job *)piece;
	enum rpc_job_verdict verdict = job->opened ? RPC_JOB_RUN : rpc_job_open(&s->desk, job);

	if (verdict == RPC_JOB_RUN) {
		if (atomic_load(&s->draining))
			rpc_job_refuse(&s->desk, job, "is stopping", RETRY_DRAIN_MS);
		else
			rpc_job_run(&s->desk, job);
	}
	/* Not by way of the loop: it would be woken for each. */
	send_reply(s, job);
	talloc_free(job);
	metric_add(&busy_now, -1);
	if (atomic_fetch_sub(&s->busy, 1) == 1 && atomic_load(&s->draining))
		uv_async_send(&s->idle_wake);
}

static bool hand_over(struct rpc_server *s, struct rpc_job *job)
{
	if (atomic_load(&s->draining))
		return false;
	atomic_fetch_add(&s->busy, 1);
	metric_add(&busy_now, 1);
	if (rpc_workers_push(s->workers, &job->work))
		return true;
	atomic_fetch_sub(&s->busy, 1);
	metric_add(&busy_now, -1);
	return false;
}

static void on_message(struct transport_message *m, const struct transport_route *route, void *arg)
{
	struct rpc_server *s = arg;
	struct rpc_job *job = rpc_job_new(m, route);
	enum rpc_job_verdict verdict;

	if (job->frame.len > OPEN_ON_LOOP_MAX && hand_over(s, job))
		return;
	verdict = rpc_job_open(&s->desk, job);
	if (verdict == RPC_JOB_RUN) {
		if (hand_over(s, job))
			return;
		if (atomic_load(&s->draining))
			rpc_job_refuse(&s->desk, job, "is stopping", RETRY_DRAIN_MS);
		else
			rpc_job_refuse(&s->desk, job, "has too many requests waiting", RETRY_FULL_MS);
	}
	if (verdict != RPC_JOB_NOTHING)
		send_reply(s, job);
	talloc_free(job);
}

/* Lifecycle -------------------------------------------------------------------------------------------------------- */

static void copy_options(struct rpc_server *s, const struct rpc_server_options *from)
{
	struct rpc_server_options *o = &s->options;
	const char **endpoints = talloc_array(s, const char *, from->endpoint_count);

	*o = *from;
	ASSERT(endpoints);
	for (size_t i = 0; i < from->endpoint_count; i++)
		endpoints[i] = talloc_strdup(endpoints, from->endpoints[i]);
	o->endpoints = endpoints;
	o->name = talloc_strdup(s, from->name ? from->name : "server");
	o->secret = (struct rpc_secret){0}; /* the ring has its own copy */
	o->threads = from->threads ? from->threads : THREADS_DEFAULT;
	o->queue_max = from->queue_max ? from->queue_max : QUEUE_DEFAULT;
	o->window_ms = from->window_ms ? from->window_ms : WINDOW_DEFAULT_MS;
	o->keep_bytes = from->keep_bytes ? from->keep_bytes : KEEP_BYTES_DEFAULT;
	o->keep_count = from->keep_count ? from->keep_count : KEEP_COUNT_DEFAULT;
}

static enum err_code check_options(const struct rpc_server_options *o, struct err *e)
{
	if (o->endpoint_count == 0 || o->endpoint_count > RPC_SERVER_ENDPOINTS_MAX)
		return ERR(e, ERR_INVALID, "a server needs 1 to %d endpoints, not %zu", RPC_SERVER_ENDPOINTS_MAX,
		           o->endpoint_count);
	if (o->threads > RPC_SERVER_THREADS_MAX)
		return ERR(e, ERR_INVALID, "a server has at most %d threads, not %zu", RPC_SERVER_THREADS_MAX,
		           o->threads);
	if (!o->dispatch)
		return ERR(e, ERR_INVALID, "a server needs a dispatcher");
	return ERR_OK;
}

static void open_desk(struct rpc_server *s, struct frame_ring *ring)
{
	struct rpc_replies_limits limits = {
	    .bytes = s->options.keep_bytes,
	    .count = s->options.keep_count,
	    .window_ms = s->options.window_ms,
	};

	s->desk = (struct rpc_desk){
	    .name = s->options.name,
	    .ring = talloc_steal(s, ring),
	    .replay = replay_new(s, REPLAY_SALTS_MAX),
	    .replies = rpc_replies_new(s, &limits),
	    .window_ms = s->options.window_ms,
	    .dispatch = s->options.dispatch,
	    .service = s->options.service,
	};
}

enum err_code rpc_server_new(uv_loop_t *loop, const struct rpc_server_options *options, struct rpc_server **out,
                             struct err *e)
{
	struct frame_ring *ring;
	struct rpc_server *s;

	TRY(check_options(options, e));
	TRY(frame_ring_new(NULL, &options->secret, &ring, e));
	s = talloc_zero(NULL, struct rpc_server);
	ASSERT(s);
	copy_options(s, options);
	open_desk(s, ring);
	s->loop = loop;
	s->replied_ms = clock_monotonic_ms() - LEAVE_MS; /* none yet */
	ASSERT(uv_async_init(loop, &s->idle_wake, on_idle) == 0 && uv_timer_init(loop, &s->leave) == 0);
	s->idle_wake.data = s;
	s->leave.data = s;
	s->open_handles = 2;
	*out = s;
	return ERR_OK;
}

enum err_code rpc_server_start(struct rpc_server *s, struct err *e)
{
	const struct rpc_server_options *o = &s->options;
	struct rpc_workers_options workers = {
	    .name = o->name, .threads = o->threads, .queue_max = o->queue_max, .body = work, .arg = s};

	TRY(transport_selftest(e));
	TRY(rpc_workers_start(s, &workers, &s->workers, e));
	TRY(transport_listen(s->loop, o->endpoints, o->endpoint_count, RPC_FRAME_MAX, on_message, s, &s->listener, e));
	for (size_t i = 0; i < o->endpoint_count; i++)
		LOG_INFO("listening", LOG_TEXT("endpoint", o->endpoints[i]), LOG_NUMBER("threads", o->threads));
	return ERR_OK;
}

void rpc_server_drain(struct rpc_server *s, void (*drained)(void *arg), void *arg)
{
	ASSERT(!atomic_load(&s->draining));
	s->drained = drained;
	s->drained_arg = arg;
	atomic_store(&s->draining, true);
	look_whether_drained(s);
}

size_t rpc_server_busy(const struct rpc_server *s)
{
	return atomic_load(&s->busy);
}

static void one_closed(struct rpc_server *s)
{
	if (--s->open_handles > 0)
		return;
	talloc_free(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
	one_closed(handle->data);
}

static void on_listener_closed(void *arg)
{
	one_closed(arg);
}

static void free_jobs(struct rpc_work_list *list)
{
	struct rpc_work *piece;

	while ((piece = rpc_work_take(list)))
		talloc_free((struct rpc_job *)piece);
}

void rpc_server_free(struct rpc_server *s)
{
	struct rpc_work_list left = {0};

	if (!s)
		return;
	rpc_workers_stop(s->workers, &left); /* before the socket that they answer on is closed */
	free_jobs(&left);
	if (s->listener) {
		s->open_handles++;
		transport_listener_free(s->listener, on_listener_closed, s);
	}
	uv_close((uv_handle_t *)&s->idle_wake, on_handle_closed);
	uv_close((uv_handle_t *)&s->leave, on_handle_closed);
}
