/*
 * rpc_endpoints: the replicas of one service as a client sees them: which are healthy, and idle sockets to each.
 *
 *     struct rpc_endpoint *ep = rpc_endpoints_choose(set, tried, &not_before_ms);
 *     code = rpc_endpoint_take_socket(ep, &socket, e);
 *     ... one request, one reply ...
 *     rpc_endpoint_give_socket(ep, socket);    -- or transport_close, when a reply is still owed on it
 *     rpc_endpoint_worked(ep) / _failed(ep) / _busy(ep, ms);
 *     rpc_endpoint_release(ep);                -- ends what choose began
 *
 * An endpoint that failed is out: it is chosen only when none is in. It comes back in when a request or a ping to it
 * worked. The first ping is due at once, then at growing, jittered distances: rpc_endpoints_due hands out those that
 * are to be pinged, and is for one thread. An endpoint that said "come back later" is left alone until then.
 *
 * Thread-safe. The set must outlive all use of its endpoints.
 */
#ifndef COMMON_RPC_ENDPOINTS_H
#define COMMON_RPC_ENDPOINTS_H

#include "common/transport.h"

#define RPC_ENDPOINTS_MAX 64
#define RPC_ENDPOINT_IDLE_MAX 16 /* sockets kept open without a request */

struct rpc_endpoints;
struct rpc_endpoint;

/* ERR_INVALID: no address, or too many. Hangs on ctx; sockets are closed with it. */
enum err_code rpc_endpoints_new(TALLOC_CTX *ctx, const char *const *addresses, size_t count, struct rpc_endpoints **out,
                                struct err *e) MUST_CHECK;

/* Of those whose bit in *tried is not set: one that is in and free, the one with the fewest requests, in turn when
 * equal; else, if one that is in asked for patience, NULL and when it is over; else one that is out, whose bit is then
 * set; else NULL, and *not_before_ms is 0: all were tried. */
struct rpc_endpoint *rpc_endpoints_choose(struct rpc_endpoints *set, uint64_t *tried, int64_t *not_before_ms);

/* One that is out and due to be pinged, counted as chosen; else NULL and the time when the next is due, or INT64_MAX.
 */
struct rpc_endpoint *rpc_endpoints_due(struct rpc_endpoints *set, int64_t *next_ms);

size_t rpc_endpoints_count(const struct rpc_endpoints *set);
size_t rpc_endpoints_out(struct rpc_endpoints *set); /* how many are out */

const char *rpc_endpoint_address(const struct rpc_endpoint *ep);

/* Taken is one that is connected or about to be; given back may be one that is neither, which is closed. */
enum err_code rpc_endpoint_take_socket(struct rpc_endpoint *ep, struct transport_socket **out,
                                       struct err *e) MUST_CHECK;
void rpc_endpoint_give_socket(struct rpc_endpoint *ep, struct transport_socket *socket);

/* Both return how often in a row it had failed: before this success, or with this failure. 1 is a suspicion, which the
 * ping that is due at once refutes or confirms. */
unsigned rpc_endpoint_worked(struct rpc_endpoint *ep);
unsigned rpc_endpoint_failed(struct rpc_endpoint *ep);
void rpc_endpoint_busy(struct rpc_endpoint *ep, unsigned retry_ms);
void rpc_endpoint_release(struct rpc_endpoint *ep);

#endif
