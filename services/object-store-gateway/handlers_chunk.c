/* Messages about chunks. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/chunk.h"

enum err_code handle_chunk_need(struct rpc_call *call, const struct chunk_need_request *request,
                                struct chunk_need_reply *reply, struct err *e)
{
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	reply->missing.items = talloc_zero_array(call->ctx, struct digest, request->chunks.count);
	ASSERT(reply->missing.items);
	return chunk_need(store, request->chunks.items, request->chunks.count, reply->missing.items,
	                  &reply->missing.count, e);
}

enum err_code handle_chunk_put(struct rpc_call *call, const struct chunk_put_request *request,
                               struct chunk_put_reply *reply, struct err *e)
{
	struct store *store;
	size_t stored;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(chunk_put(store, &request->sha256, call->payload, call->payload_len, &stored, e));
	reply->stored = stored > 0;
	reply->stored_bytes = (int64_t)stored;
	return ERR_OK;
}
