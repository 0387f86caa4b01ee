/*
 * rpc_prober: asks endpoints that are out whether they are back, on a thread of its own, so that no caller pays for
 * finding out. The thread starts when the first endpoint goes out and sleeps while all are in.
 *
 * It hangs on ctx and ends, within a few dozen milliseconds, when it is freed: free it before the endpoints.
 */
#ifndef COMMON_RPC_PROBER_H
#define COMMON_RPC_PROBER_H

#include "common/frame.h"
#include "common/rpc_endpoints.h"

struct rpc_prober;

struct rpc_prober_options {
	struct rpc_endpoints *endpoints;
	struct frame_ring *ring;
	const char *service, *principal; /* must outlive the prober */
};

struct rpc_prober *rpc_prober_new(TALLOC_CTX *ctx, const struct rpc_prober_options *options);

/* An endpoint went out. Thread-safe. */
void rpc_prober_wake(struct rpc_prober *p);

#endif
