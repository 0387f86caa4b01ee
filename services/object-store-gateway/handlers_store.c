/* Messages about whole stores. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/gc.h"

#include <string.h>

#define BACKENDS_SHOWN 64
#define USAGES_SHOWN 1000 /* accounts, and buckets */

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
		    .cipher_key = keyring_current(g->stores[i].keys),
		};
	return ERR_OK;
}

/* ---- statistics ---- */

/* Rows of an account and a bucket, and before them one of the account with no bucket: equal content of two buckets is
 * there once. */
#define USAGE_SQL                                                                                                      \
	"WITH held AS (SELECT DISTINCT o.account, o.bucket, c.id, c.size, c.stored_size FROM objects.object o"         \
	"   JOIN objects.object_chunk oc ON oc.object = o.id JOIN objects.chunk c ON c.id = oc.chunk"                  \
	"   WHERE o.store = $1),"                                                                                      \
	" kept AS (SELECT account, bucket, sum(size)::bigint AS bytes, sum(stored_size)::bigint AS stored FROM held"   \
	"   GROUP BY account, bucket UNION ALL"                                                                        \
	"   SELECT account, NULL, sum(size)::bigint, sum(stored_size)::bigint FROM"                                    \
	"   (SELECT DISTINCT account, id, size, stored_size FROM held) AS d GROUP BY account),"                        \
	" named AS (SELECT account, bucket, count(*) AS objects, sum(size)::bigint AS bytes FROM objects.object"       \
	"   WHERE store = $1 GROUP BY GROUPING SETS ((account, bucket), (account)))"                                   \
	" SELECT n.account, n.bucket, n.objects, n.bytes, coalesce(k.bytes, 0), coalesce(k.stored, 0)"                 \
	" FROM named n LEFT JOIN kept k ON k.account = n.account AND k.bucket IS NOT DISTINCT FROM n.bucket"           \
	" ORDER BY n.account, n.bucket NULLS FIRST"

static void note_account(struct store_stats_reply *reply, const struct account_usage *usage)
{
	reply->objects += usage->objects;
	reply->logical_bytes += usage->bytes;
	if (reply->accounts_count < USAGES_SHOWN)
		reply->accounts[reply->accounts_count++] = *usage;
	else
		reply->more_accounts++;
}

static void note_bucket(struct store_stats_reply *reply, const struct bucket_usage *usage)
{
	if (reply->buckets_count < USAGES_SHOWN)
		reply->buckets[reply->buckets_count++] = *usage;
	else
		reply->more_buckets++;
}

static enum err_code count_objects(struct db *db, struct rpc_call *call, const struct store *s,
                                   struct store_stats_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, call->ctx, &rows, e, USAGE_SQL, DB_TEXT(s->name)));
	reply->buckets = talloc_zero_array(call->ctx, struct bucket_usage, USAGES_SHOWN);
	reply->accounts = talloc_zero_array(call->ctx, struct account_usage, USAGES_SHOWN);
	ASSERT(reply->buckets && reply->accounts);
	for (size_t i = 0; i < db_count(rows); i++) {
		const char *account = db_text(rows, i, 0), *bucket = db_text(rows, i, 1);
		int64_t objects = db_number(rows, i, 2), bytes = db_number(rows, i, 3);
		int64_t once = db_number(rows, i, 4), stored = db_number(rows, i, 5);

		if (bucket)
			note_bucket(reply, &(struct bucket_usage){account, bucket, objects, bytes, once, stored});
		else
			note_account(reply, &(struct account_usage){account, objects, bytes, once, stored});
	}
	return ERR_OK;
}

static enum err_code count_chunks(struct db *db, struct rpc_call *call, const struct store *s,
                                  struct store_stats_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT b.name, b.driver, c.codec, count(*), sum(c.size)::bigint, sum(c.stored_size)::bigint,"
	             " c.cipher_key"
	             " FROM objects.chunk c JOIN objects.backend b ON b.id = c.backend"
	             " WHERE c.store = $1 AND c.state = 'live' GROUP BY b.name, b.driver, c.codec, c.cipher_key"
	             " ORDER BY 1, 3, c.cipher_key NULLS FIRST",
	             DB_TEXT(s->name)));
	reply->backends = talloc_zero_array(call->ctx, struct backend_usage, db_count(rows) + 1);
	ASSERT(reply->backends);
	for (size_t i = 0; i < db_count(rows); i++) {
		struct backend_usage usage = {
		    .backend = db_text(rows, i, 0),
		    .driver = db_text(rows, i, 1),
		    .codec = db_text(rows, i, 2),
		    .chunks = db_number(rows, i, 3),
		    .bytes = db_number(rows, i, 4),
		    .stored_bytes = db_number(rows, i, 5),
		    .cipher_key = db_text(rows, i, 6),
		};

		reply->chunks += usage.chunks;
		reply->chunk_bytes += usage.bytes;
		reply->stored_bytes += usage.stored_bytes;
		if (reply->backends_count < BACKENDS_SHOWN)
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
