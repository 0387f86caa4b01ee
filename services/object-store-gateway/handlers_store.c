/* Messages about whole stores. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/gc.h"

#include <string.h>

#define OBJECTS_SHOWN 100 /* that a damaged chunk affects */

enum err_code handle_store_list(struct rpc_call *call, const struct store_list_request *request,
                                struct store_list_reply *reply, struct err *e)
{
	struct gateway *g = call->service;

	(void)request;
	(void)e;
	reply->stores = talloc_zero_array(call->ctx, struct store_item, g->store_count);
	ASSERT(reply->stores);
	for (size_t i = 0; i < g->store_count; i++)
		reply->stores[reply->stores_count++] = (struct store_item){
		    .store = g->stores[i].name,
		    .driver = g->stores[i].current->driver->name,
		    .compression = g->stores[i].compress,
		    .same_as_object_store = g->stores[i].same_as_object_store,
		};
	return ERR_OK;
}

/* ---- statistics ---- */

static enum err_code count_objects(struct db *db, struct rpc_call *call, const struct store *s,
                                   struct store_stats_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT account, bucket, count(*), sum(size)::bigint FROM objects.object WHERE store = $1"
	             " GROUP BY account, bucket ORDER BY account, bucket",
	             DB_TEXT(s->name)));
	reply->buckets = talloc_zero_array(call->ctx, struct bucket_usage, db_count(rows) + 1);
	ASSERT(reply->buckets);
	for (size_t i = 0; i < db_count(rows); i++) {
		struct bucket_usage usage = {db_text(rows, i, 0), db_text(rows, i, 1), db_number(rows, i, 2),
		                             db_number(rows, i, 3)};

		reply->objects += usage.objects;
		reply->logical_bytes += usage.bytes;
		if (reply->buckets_count < 1000)
			reply->buckets[reply->buckets_count++] = usage;
	}
	return ERR_OK;
}

static enum err_code count_chunks(struct db *db, struct rpc_call *call, const struct store *s,
                                  struct store_stats_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT b.name, b.driver, c.codec, count(*), sum(c.size)::bigint, sum(c.stored_size)::bigint"
	             " FROM objects.chunk c JOIN objects.backend b ON b.id = c.backend"
	             " WHERE c.store = $1 AND c.state = 'live' GROUP BY b.name, b.driver, c.codec ORDER BY 1, 3",
	             DB_TEXT(s->name)));
	reply->backends = talloc_zero_array(call->ctx, struct backend_usage, db_count(rows) + 1);
	ASSERT(reply->backends);
	for (size_t i = 0; i < db_count(rows) && i < 64; i++) {
		struct backend_usage usage = {
		    .backend = db_text(rows, i, 0),
		    .driver = db_text(rows, i, 1),
		    .codec = db_text(rows, i, 2),
		    .chunks = db_number(rows, i, 3),
		    .bytes = db_number(rows, i, 4),
		    .stored_bytes = db_number(rows, i, 5),
		};

		reply->chunks += usage.chunks;
		reply->chunk_bytes += usage.bytes;
		reply->stored_bytes += usage.stored_bytes;
		reply->backends[reply->backends_count++] = usage;
	}
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT count(*) FROM objects.chunk c WHERE store = $1 AND state = 'live' AND suspect"
	             " AND NOT EXISTS (SELECT 1 FROM objects.object_chunk oc WHERE oc.chunk = c.id)",
	             DB_TEXT(s->name)));
	reply->unowned_chunks = db_number(rows, 0, 0);
	return ERR_OK;
}

enum err_code handle_store_stats(struct rpc_call *call, const struct store_stats_request *request,
                                 struct store_stats_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(db_acquire(store->db, rpc_time_left(call), &db, e));
	TRY(count_objects(db, call, store, reply, e));
	return count_chunks(db, call, store, reply, e);
}

/* ---- sweeping ---- */

enum err_code handle_store_gc(struct rpc_call *call, const struct store_gc_request *request,
                              struct store_gc_reply *reply, struct err *e)
{
	struct gateway *g = call->service;
	struct gc_result result;
	struct store *store;
	int64_t grace;

	TRY(store_find(g, request->store, &store, e));
	grace = request->no_grace ? 0 : request->grace_ms ? request->grace_ms : store->grace_ms;
	TRY(gc_run(store, grace, request->limit ? request->limit : g->settings->gc_batch, &result, e));
	reply->removed = result.removed;
	reply->freed_bytes = result.freed_bytes;
	reply->more = result.more;
	return ERR_OK;
}

/* ---- reading back ---- */

static enum err_code affected_objects(struct rpc_call *call, struct store *s, const struct chunk *chunk,
                                      struct proto_texts *objects, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, rpc_time_left(call), &db, e));
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT DISTINCT o.account || '/' || o.bucket || '/' || o.key FROM objects.object_chunk oc"
	             " JOIN objects.object o ON o.id = oc.object WHERE oc.chunk = $1 ORDER BY 1 LIMIT $2",
	             DB_NUMBER(chunk->id), DB_NUMBER(OBJECTS_SHOWN)));
	objects->items = talloc_zero_array(call->ctx, const char *, db_count(rows) + 1);
	ASSERT(objects->items);
	for (size_t i = 0; i < db_count(rows); i++)
		objects->items[objects->count++] = db_text(rows, i, 0);
	return ERR_OK;
}

static enum err_code check_chunk(struct rpc_call *call, struct store *s, const struct chunk *chunk,
                                 struct store_verify_reply *reply, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct damaged_chunk *damaged = &reply->damaged[reply->damaged_count];
	struct err why;
	void *bytes;

	if (chunk_get(s, ctx, chunk, &bytes, &why) == ERR_OK)
		return ERR_OK;
	if (why.code != ERR_CORRUPT)
		return ERR(e, why.code, "%s", why.text);
	if (!chunk_is_live(s, chunk)) /* the sweep took it while we looked */
		return ERR_OK;
	chunk_note_damage(s, chunk, &why);
	damaged->sha256 = chunk->sha256;
	damaged->reason = talloc_strndup(call->ctx, why.text, 500);
	TRY(affected_objects(call, s, chunk, &damaged->objects, e));
	reply->damaged_count++;
	return ERR_OK;
}

enum err_code handle_store_verify(struct rpc_call *call, const struct store_verify_request *request,
                                  struct store_verify_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t limit = request->limit ? request->limit : 1000;
	struct store *store;
	struct db_rows *rows;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(db_acquire(store->db, rpc_time_left(call), &db, e));
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT " CHUNK_COLUMNS " FROM objects.chunk c WHERE store = $1 AND state = 'live' AND sha256 > $2"
	             " ORDER BY sha256 LIMIT $3",
	             DB_TEXT(store->name), DB_DIGEST(&request->after), DB_NUMBER(limit)));
	db_release(db);
	db = NULL;
	reply->damaged = talloc_zero_array(call->ctx, struct damaged_chunk, db_count(rows) + 1);
	ASSERT(reply->damaged);
	for (size_t i = 0; i < db_count(rows); i++) {
		struct chunk chunk = chunk_from_row(rows, i, 0);

		/* What fits into the deadline: the caller goes on after the last. */
		if (i > 0 && rpc_time_left(call) < 2000) {
			reply->more = true;
			return ERR_OK;
		}
		TRY(check_chunk(call, store, &chunk, reply, e));
		reply->checked++;
		reply->bytes += (int64_t)chunk.size;
		reply->last = chunk.sha256;
	}
	reply->more = db_count(rows) == (size_t)limit;
	return ERR_OK;
}
