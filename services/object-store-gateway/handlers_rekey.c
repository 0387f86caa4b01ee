/* Messages about the keys of stores. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/rekey.h"

#define BATCH_MS 5000 /* so that whoever waits sees that it goes on */

enum err_code handle_store_rekey(struct rpc_call *call, const struct store_rekey_request *request,
                                 struct store_rekey_reply *reply, struct err *e)
{
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return rekey_batch(store, call->ctx, request, MIN((int64_t)BATCH_MS, rpc_time_left(call) / 4), reply, e);
}
