/* Messages about quotas. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/quota.h"

#define QUOTAS_SHOWN 1000

enum err_code handle_quota_set(struct rpc_call *call, const struct quota_set_request *request,
                               struct quota_set_reply *reply, struct err *e)
{
	struct store *store;

	(void)reply;
	TRY(store_find(call->service, request->store, &store, e));
	return quota_set(store, request->account, request->max_bytes, request->max_objects, e);
}

enum err_code handle_quota_remove(struct rpc_call *call, const struct quota_remove_request *request,
                                  struct quota_remove_reply *reply, struct err *e)
{
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return quota_remove(store, request->account, &reply->existed, e);
}

enum err_code handle_quota_list(struct rpc_call *call, const struct quota_list_request *request,
                                struct quota_list_reply *reply, struct err *e)
{
	struct gateway *g = call->service;
	struct store *store;

	if (request->store)
		TRY(store_find(g, request->store, &store, e));
	return quota_list(g->db, call->ctx, request->store, request->account, reply, QUOTAS_SHOWN, e);
}
