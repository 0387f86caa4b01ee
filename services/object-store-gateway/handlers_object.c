/* Messages about objects. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/object.h"

#define LIST_DEFAULT 100

static struct object_path path_of(const struct rpc_call *call, const char *bucket, const char *key)
{
	return (struct object_path){call->account, bucket, key};
}

/* ---- metadata: a map in messages, JSON in the row ---- */

static const char *metadata_text(TALLOC_CTX *ctx, const struct proto_map *map)
{
	cJSON *json = cJSON_CreateObject();
	char *text, *kept;

	ASSERT(json);
	for (size_t i = 0; i < map->count; i++)
		ASSERT(cJSON_AddStringToObject(json, map->items[i].key, map->items[i].value));
	text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	ASSERT(text);
	kept = talloc_strdup(ctx, text);
	cJSON_free(text);
	return kept;
}

static struct proto_map metadata_map(TALLOC_CTX *ctx, const char *text)
{
	cJSON *json = cJSON_Parse(text);
	struct proto_map map = {0};
	const cJSON *item;

	map.items = talloc_zero_array(ctx, struct proto_pair, (size_t)cJSON_GetArraySize(json) + 1);
	ASSERT(map.items);
	cJSON_ArrayForEach (item, json) {
		if (!cJSON_IsString(item))
			continue;
		map.items[map.count].key = talloc_strdup(ctx, item->string);
		map.items[map.count++].value = talloc_strdup(ctx, item->valuestring);
	}
	cJSON_Delete(json);
	return map;
}

/* ---- writing ---- */

enum err_code handle_object_commit(struct rpc_call *call, const struct object_commit_request *request,
                                   struct object_commit_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	struct object_content content = {
	    .size = request->size,
	    .sha256 = request->sha256,
	    .chunks = request->chunks.items,
	    .chunk_count = request->chunks.count,
	    .metadata = metadata_text(call->ctx, &request->metadata),
	};
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return object_commit(store, &path, &content, &reply->replaced, e);
}

enum err_code handle_object_put(struct rpc_call *call, const struct object_put_request *request,
                                struct object_put_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	struct object_content content = {
	    .size = (int64_t)call->payload_len,
	    .sha256 = request->sha256,
	    .metadata = metadata_text(call->ctx, &request->metadata),
	};
	struct store *store;
	size_t stored;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_put(store, &path, &content, call->payload, &reply->replaced, &stored, e));
	reply->stored_bytes = (int64_t)stored;
	return ERR_OK;
}

enum err_code handle_object_delete(struct rpc_call *call, const struct object_delete_request *request,
                                   struct object_delete_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return object_delete(store, &path, &reply->existed, e);
}

enum err_code handle_object_delete_prefix(struct rpc_call *call, const struct object_delete_prefix_request *request,
                                          struct object_delete_prefix_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->prefix);
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return object_delete_prefix(store, &path, &reply->deleted, &reply->more, e);
}

enum err_code handle_object_link(struct rpc_call *call, const struct object_link_request *request,
                                 struct object_link_reply *reply, struct err *e)
{
	struct object_path from = path_of(call, request->from_bucket, request->from_key);
	struct object_path to = path_of(call, request->bucket, request->key);
	struct object object;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_link(store, call->ctx, &from, &to, &object, e));
	reply->size = object.size;
	reply->sha256 = object.sha256;
	return ERR_OK;
}

enum err_code handle_object_copy(struct rpc_call *call, const struct object_copy_request *request,
                                 struct object_copy_reply *reply, struct err *e)
{
	struct object_path from = path_of(call, request->from_bucket, request->from_key);
	struct object_path to = path_of(call, request->to_bucket, request->to_key);
	struct store *from_store, *to_store;
	struct object object;

	TRY(store_find(call->service, request->from_store, &from_store, e));
	TRY(store_find(call->service, request->to_store, &to_store, e));
	TRY(object_copy(call, from_store, &from, to_store, &to, &object, &reply->moved_bytes, e));
	reply->size = object.size;
	reply->sha256 = object.sha256;
	return ERR_OK;
}

/* ---- reading ---- */

enum err_code handle_object_get(struct rpc_call *call, const struct object_get_request *request,
                                struct object_get_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	int64_t length = request->length ? request->length : (int64_t)CHUNK_MAX;
	struct object object;
	struct store *store;
	void *bytes;
	size_t len;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_read(store, call->ctx, &path, request->offset, length, &object, &bytes, &len, e));
	call->reply_payload = bytes;
	call->reply_payload_len = len;
	reply->size = object.size;
	reply->sha256 = object.sha256;
	return ERR_OK;
}

enum err_code handle_object_head(struct rpc_call *call, const struct object_head_request *request,
                                 struct object_head_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	struct object object;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_find(store, call->ctx, &path, 0, OBJECT_ALL_CHUNKS, &object, e));
	*reply = (struct object_head_reply){
	    .size = object.size,
	    .sha256 = object.sha256,
	    .created_at = object.created_at,
	    .metadata = metadata_map(call->ctx, object.metadata),
	};
	reply->chunks.items = talloc_zero_array(call->ctx, struct digest, object.chunk_count + 1);
	ASSERT(reply->chunks.items);
	for (size_t i = 0; i < object.chunk_count; i++)
		reply->chunks.items[reply->chunks.count++] = object.chunks[i].sha256;
	return ERR_OK;
}

enum err_code handle_object_verify(struct rpc_call *call, const struct object_verify_request *request,
                                   struct object_verify_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->key);
	struct object object;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_verify(call, store, &path, &object, e));
	reply->size = object.size;
	reply->sha256 = object.sha256;
	return ERR_OK;
}

enum err_code handle_object_list(struct rpc_call *call, const struct object_list_request *request,
                                 struct object_list_reply *reply, struct err *e)
{
	struct object_path path = path_of(call, request->bucket, request->prefix ? request->prefix : "");
	size_t limit = request->limit ? (size_t)request->limit : LIST_DEFAULT, count;
	struct object_listed *listed;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(object_list(store, call->ctx, &path, request->after ? request->after : "", limit + 1, &listed, &count, e));
	reply->more = count > limit;
	reply->items_count = MIN(count, limit);
	reply->items = talloc_zero_array(call->ctx, struct object_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = (struct object_item){
		    .key = listed[i].key,
		    .size = listed[i].object.size,
		    .sha256 = listed[i].object.sha256,
		    .created_at = listed[i].object.created_at,
		};
	return ERR_OK;
}
