#include "proto/store_io.h"
#include "services/catalog/objects.h"

#define STORE "object_store"

struct gateway {
	struct rpc_client *client;
	int64_t call_ms;
};

static enum err_code put(void *arg, const char *account, const char *bucket, const char *key, const void *bytes,
                         size_t len, struct err *e)
{
	struct gateway *g = arg;
	struct store_object to = {.account = account, .store = STORE, .bucket = bucket, .key = key};

	return store_put_bytes(g->client, &to, bytes, len, NULL, e);
}

static enum err_code get(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket, const char *key,
                         size_t max, void **bytes, size_t *len, struct err *e)
{
	struct gateway *g = arg;
	struct store_object from = {.account = account, .store = STORE, .bucket = bucket, .key = key};

	return store_get_bytes(g->client, ctx, &from, max, bytes, len, e);
}

static enum err_code remove_prefix(void *arg, const char *account, const char *bucket, const char *prefix, bool *more,
                                   struct err *e)
{
	SCRATCH_CTX(ctx);
	struct gateway *g = arg;
	struct proto_call call = {.account = account, .deadline_ms = g->call_ms, .attempt_ms = g->call_ms};
	struct object_delete_prefix_request request = {.store = STORE, .bucket = bucket, .prefix = prefix};
	struct object_delete_prefix_reply reply = {0};

	TRY(call_object_delete_prefix(g->client, &call, ctx, &request, &reply, e));
	*more = reply.more;
	return ERR_OK;
}

static enum err_code list(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket, const char *after,
                          struct objects_page *page, struct err *e)
{
	struct gateway *g = arg;
	struct proto_call call = {.account = account, .deadline_ms = g->call_ms};
	struct object_list_request request = {.store = STORE, .bucket = bucket, .after = after, .limit = OBJECTS_PAGE};
	struct object_list_reply reply = {0};

	TRY(call_object_list(g->client, &call, ctx, &request, &reply, e));
	*page = (struct objects_page){
	    .keys = talloc_zero_array(ctx, const char *, MAX(reply.items_count, (size_t)1)),
	    .created_at = talloc_zero_array(ctx, int64_t, MAX(reply.items_count, (size_t)1)),
	    .count = reply.items_count,
	    .more = reply.more,
	};
	ASSERT(page->keys && page->created_at);
	for (size_t i = 0; i < reply.items_count; i++) {
		page->keys[i] = reply.items[i].key;
		page->created_at[i] = reply.items[i].created_at;
	}
	return ERR_OK;
}

struct objects objects_gateway(TALLOC_CTX *ctx, struct rpc_client *gateway, int64_t call_ms)
{
	struct gateway *g = talloc_zero(ctx, struct gateway);

	ASSERT(g);
	*g = (struct gateway){gateway, call_ms};
	return (struct objects){.put = put, .get = get, .remove_prefix = remove_prefix, .list = list, .arg = g};
}
