/*
 * rpc: requests and replies between Stowage processes: one sealed frame each way, over nanomsg.
 *
 * This header is what both sides share: the request as a server's handler sees it, and the client. Frames stand in
 * common/frame.h, sockets in common/transport.h, the serving side in common/rpc_server.h. Messages as C structs come
 * from proto/, which is built on this.
 *
 * A client may be used by any number of threads; a call blocks its thread. Neither a client nor a server survives a
 * fork.
 */
#ifndef COMMON_RPC_H
#define COMMON_RPC_H

#include "common/err.h"

#include <cjson/cJSON.h>

#define RPC_PAYLOAD_MAX (4 * MIB)                               /* raw bytes beside a message: one chunk */
#define RPC_HEADER_MAX (4 * MIB)                                /* JSON of one message */
#define RPC_FRAME_MAX (RPC_PAYLOAD_MAX + RPC_HEADER_MAX + 4096) /* NN_RCVMAXSIZE on both ends */

/* One request as its handler sees it. Everything in it lives on ctx, which is freed when the reply has been sent. */
struct rpc_call {
	TALLOC_CTX *ctx;
	void *service; /* what the server was started with */
	const char *request_id, *method, *account, *principal, *trace_id;
	int64_t deadline_ms; /* clock_monotonic_ms() after which nobody waits for the reply */
	const void *payload;
	size_t payload_len;
	/* The handler may set these; the bytes hang on ctx. */
	const void *reply_payload;
	size_t reply_payload_len;
};

/* ERR_DEADLINE once the deadline passed; long handlers ask between their steps. */
enum err_code rpc_check_deadline(const struct rpc_call *call, struct err *e) MUST_CHECK;
/* Milliseconds left, at least 0. */
int64_t rpc_time_left(const struct rpc_call *call);

/* What a server calls for each request: proto/ makes it from a service's table of messages. On ERR_OK *reply is the
 * body of the reply (the server frees it; NULL is an empty one). Runs on a worker thread and may block. */
typedef enum err_code (*rpc_dispatch)(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e);

struct rpc_client;

struct rpc_secret { /* 16 to 64 bytes; both are accepted, the first seals */
	const char *current, *previous;
};

struct rpc_client_options {
	const char *name;             /* of the service called, for messages: "catalog" */
	const char *const *endpoints; /* tcp://host:port or ipc:///path; copied */
	size_t endpoint_count;
	struct rpc_secret secret;
	const char *principal;   /* who calls: "analyzer-worker/host-1" */
	int64_t connect_wait_ms; /* how long a call looks for an endpoint, while services start; 0: 5 s */
};

struct rpc_request {
	const char *method, *account;
	const char *trace_id; /* 32 hexadecimal digits of a W3C trace to continue; NULL: a new one */
	const cJSON *body;    /* stays the caller's */
	const void *payload;
	size_t payload_len;
	int64_t deadline_ms; /* for the whole call, from now */
	int64_t attempt_ms;  /* without a reply, before the endpoint has to show that it lives; 0: 5 s */
};

struct rpc_reply {
	cJSON *body; /* freed with ctx */
	const void *payload;
	size_t payload_len;
};

enum err_code rpc_client_new(TALLOC_CTX *ctx, const struct rpc_client_options *options, struct rpc_client **out,
                             struct err *e) MUST_CHECK;

/*
 * Sends the request to a healthy endpoint and waits. One that refuses the connection is passed over at once, one that
 * cannot be reached after a fraction of a second. An endpoint that does not answer within the attempt is pinged (for
 * at most half an attempt, or a second): if it lives, the request is sent to it again under the same request id, which
 * joins the one that runs or fetches the kept reply, and has twice the time. If it does not, it is taken out, asked
 * back in by pings in the background, and the request goes to another one, again under the same id. So a handler may
 * run more than once, on different replicas: it must be idempotent. `unavailable` answers with a retry-after are waited
 * out within the deadline.
 *
 * The reply, or the error the server sent, is what the caller gets. ERR_TOO_LARGE: refused before anything was sent,
 * payload over RPC_PAYLOAD_MAX or message over RPC_HEADER_MAX. ERR_UNAVAILABLE: no endpoint took it within
 * connect_wait_ms. ERR_DEADLINE: an endpoint took it, and time ran out. ERR_INVALID: method or account are not plain
 * text. reply hangs on ctx.
 */
enum err_code rpc_client_call(struct rpc_client *c, const struct rpc_request *request, TALLOC_CTX *ctx,
                              struct rpc_reply *reply, struct err *e) MUST_CHECK;

#endif
