/* The message that gives space back. */
#include "common/clock.h"
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/compact.h"

#define BELOW 70 /* percent, unless the request says */
#define SLICE_MS 3000

enum err_code handle_store_compact(struct rpc_call *call, const struct store_compact_request *request,
                                   struct store_compact_reply *reply, struct err *e)
{
	struct compact_order order = {
	    .percent = request->below ? request->below : BELOW,
	    .before_ms = request->since,
	    .until_ms = clock_monotonic_ms() + MIN(rpc_time_left(call) / 2, (int64_t)SLICE_MS),
	};
	struct compaction done;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	if (!order.before_ms)
		TRY(compact_moment(store, 0, &order.before_ms, e));
	TRY(compact_run(store, &order, &done, &reply->backends, e));
	reply->since = order.before_ms;
	reply->moved_rows = done.moved_rows;
	reply->moved_bytes = done.moved_bytes;
	reply->dropped = done.dropped;
	reply->freed_bytes = done.freed_bytes;
	reply->held_bytes = done.held_bytes;
	reply->more = done.more;
	reply->waiting = done.waiting;
	return ERR_OK;
}
