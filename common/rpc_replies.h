/*
 * rpc_replies: which requests run, and what the finished ones were answered, so that a request which arrives again is
 * not run again.
 *
 *     switch (rpc_replies_enter(r, key, first_time, route, now, &kept)) {
 *     case RPC_REPLIES_RUN:    run it, then rpc_replies_finish
 *     case RPC_REPLIES_JOINED: nothing; the route gets the reply when the running one is finished
 *     case RPC_REPLIES_KEPT:   send kept
 *     case RPC_REPLIES_GONE:   this very frame was here before and its reply is not kept: drop it
 *     }
 *
 * A key is whatever tells requests apart: the caller makes it from request id, method, account and principal. Replies
 * are kept for the window, at most so many bytes and so many of them, the oldest given up first; one of more than
 * RPC_REPLIES_EACH_MAX is not kept at all: large replies belong to reads, which may well run again.
 *
 * Thread-safe.
 */
#ifndef COMMON_RPC_REPLIES_H
#define COMMON_RPC_REPLIES_H

#include "common/transport.h"

#define RPC_REPLIES_EACH_MAX (256 * KIB)
#define RPC_REPLIES_JOINED_MAX 8 /* of one request; a further one takes the place of the oldest */

enum rpc_replies_verdict {
	RPC_REPLIES_RUN,
	RPC_REPLIES_JOINED,
	RPC_REPLIES_KEPT,
	RPC_REPLIES_GONE,
};

struct rpc_replies_limits {
	size_t bytes, count;
	int64_t window_ms;
};

/* Ways back for one reply. */
struct rpc_routes {
	struct transport_route route[RPC_REPLIES_JOINED_MAX + 1];
	size_t count;
};

struct rpc_replies;

struct rpc_replies *rpc_replies_new(TALLOC_CTX *ctx, const struct rpc_replies_limits *limits);

/* first_time: this very frame was never here. now_ms: monotonic. kept: filled for KEPT, the caller's then. */
enum rpc_replies_verdict rpc_replies_enter(struct rpc_replies *r, const char *key, bool first_time,
                                           const struct transport_route *route, int64_t now_ms,
                                           struct transport_message *kept);

/* Ends what ENTER answered with RUN: routes of the request and of all that joined. sealed is kept when keep says so and
 * it is not too large. */
void rpc_replies_finish(struct rpc_replies *r, const char *key, const struct transport_message *sealed, bool keep,
                        int64_t now_ms, struct rpc_routes *routes);

size_t rpc_replies_kept(const struct rpc_replies *r);       /* how many */
size_t rpc_replies_kept_bytes(const struct rpc_replies *r); /* and how much */

#endif
