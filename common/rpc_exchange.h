/*
 * rpc_exchange: one frame to one endpoint, and its answer: what calls and pings have in common.
 *
 * A socket goes back to the endpoint only when nothing is owed on it, so that no late reply meets a later request.
 */
#ifndef COMMON_RPC_EXCHANGE_H
#define COMMON_RPC_EXCHANGE_H

#include "common/frame.h"
#include "common/rpc_endpoints.h"
#include "common/rpc_header.h"

#include <stdatomic.h>

struct rpc_exchange {
	struct frame_ring *ring;
	struct rpc_request_header header; /* sent_at_ms is filled in when it is sent */
	const char *body;                 /* JSON text; NULL: {} */
	size_t body_len;
	const void *payload;
	size_t payload_len;
	int64_t connect_ms, reply_ms; /* the most to wait for a connection that is being made, and then for a reply */
	const atomic_bool *stop;      /* gives up soon after it turns true; may be NULL */
};

enum rpc_outcome {
	RPC_ANSWERED,  /* by the server: *code is its verdict */
	RPC_UNREACHED, /* nothing was sent: nobody there */
	RPC_LOST,      /* sent, and then the connection broke or brought nonsense */
	RPC_SILENT,    /* sent, and no reply in time */
	RPC_UNSENT,    /* our own fault, another endpoint would not help: too large, no memory, no sockets */
};

/* e is filled for everything but ANSWERED with *code ERR_OK; reply then hangs on ctx. */
enum rpc_outcome rpc_exchange(struct rpc_endpoint *ep, struct rpc_exchange *x, TALLOC_CTX *ctx, struct rpc_reply *reply,
                              enum err_code *code, struct err *e) MUST_CHECK;

/* Whether the endpoint answers a ping within wait_ms; connecting may take half as long before that. */
bool rpc_ping(struct rpc_endpoint *ep, struct frame_ring *ring, const char *principal, int64_t wait_ms,
              const atomic_bool *stop);

/* 32 random hexadecimal digits: a request id or a trace id. */
struct rpc_random_id {
	char text[33];
};
struct rpc_random_id rpc_random_id(void);

#endif
