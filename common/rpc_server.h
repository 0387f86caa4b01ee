/*
 * rpc_server: the serving side of rpc.h, on a libuv loop and a fixed set of worker threads of its own.
 *
 *     TRY(rpc_server_new(loop, &options, &server, e));
 *     TRY(rpc_server_start(server, e));          -- binds; requests are served while the loop runs
 *     ...
 *     rpc_server_drain(server, drained, arg);    -- drained(arg) is called on the loop
 *     ...
 *     rpc_server_free(server);                   -- then run the loop until it returns
 *
 * Who does what:
 *
 *  - The loop's thread takes frames from the sockets. It never blocks: what takes long (opening large frames, handlers,
 *    sealing) is done by the workers, who send the replies, too: the loop would have to be woken for each.
 *  - A worker thread runs options.dispatch for one request at a time. The handler may block; it gets a call context of
 *    its own and must not touch the loop. The thread's log context is that of the request.
 *
 * What a caller may rely on:
 *
 *  - A request id that is running is never run a second time here: a copy joins it, and both get the reply. One that
 *    finished gets the kept reply again, as long as it is kept (options.keep_bytes, options.keep_count, window_ms). An
 *    answer that asks to come back later (unavailable, resource exhausted, deadline exceeded) is not kept, so that
 *    the same request id runs then.
 *  - The very frame that was seen before and whose reply is not kept any more is dropped as a replay.
 *  - More than queue_max requests waiting, or a server that drains: `unavailable` with a retry-after, at once.
 *  - A request whose deadline passes while it waits is answered `deadline exceeded` and not run.
 *  - Method "ping" is answered without dispatch, also while everything else waits or drains.
 *  - What does not open, is malformed, older or newer than window_ms, or replayed is dropped without an answer, and
 *    counted: stowage_rpc_dropped_<reason>_total.
 *
 * All functions belong to the loop's thread.
 */
#ifndef COMMON_RPC_SERVER_H
#define COMMON_RPC_SERVER_H

#include "common/rpc.h"

#include <uv.h>

#define RPC_SERVER_THREADS_MAX 256
#define RPC_SERVER_ENDPOINTS_MAX 16

struct rpc_server;

struct rpc_server_options {
	const char *name;             /* of the service, for logs: "catalog" */
	const char *const *endpoints; /* to listen on: tcp://host:port (host may be a star), ipc:///path; copied */
	size_t endpoint_count;
	struct rpc_secret secret;
	size_t threads;        /* that run handlers; 0: 4 */
	size_t queue_max;      /* requests waiting for a thread; 0: 256 */
	int64_t window_ms;     /* how far a frame's time may be from ours, and how long replies are kept; 0: 120 s */
	size_t keep_bytes;     /* of finished replies; 0: 32 MiB */
	size_t keep_count;     /* finished replies; 0: 16384 */
	rpc_dispatch dispatch; /* must be safe on several threads at once */
	void *service;         /* becomes rpc_call.service */
};

/* ERR_INVALID: no endpoint, no dispatch, or a secret that is too short or too long. */
enum err_code rpc_server_new(uv_loop_t *loop, const struct rpc_server_options *options, struct rpc_server **out,
                             struct err *e) MUST_CHECK;

/* Binds all endpoints and starts the threads; ERR_UNAVAILABLE names the endpoint that cannot be bound. After a failure
 * only rpc_server_free is left to call. */
enum err_code rpc_server_start(struct rpc_server *s, struct err *e) MUST_CHECK;

/* From now on new requests are answered `unavailable`; those running are finished. drained (may be NULL) is called
 * once, when the last reply was sent and had time to leave. Once only. */
void rpc_server_drain(struct rpc_server *s, void (*drained)(void *arg), void *arg);

/* Requests being run or waiting, for status and tests. */
size_t rpc_server_busy(const struct rpc_server *s);

/* Closes the sockets, waits for running handlers (it blocks as long as they do), and gives the memory back from the
 * loop's close callbacks, so run the loop once more. Replies not sent yet are lost: drain first. NULL is fine. */
void rpc_server_free(struct rpc_server *s);

#endif
