/* Messages about back ends, and about moving from one to another. */
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/transfer.h"

#define TRANSFERS_SHOWN 10

static bool is_current(struct gateway *g, int64_t id)
{
	for (size_t i = 0; i < g->store_count; i++)
		if (g->stores[i].current->id == id)
			return true;
	return false;
}

enum err_code handle_store_backends(struct rpc_call *call, const struct store_backends_request *request,
                                    struct store_backends_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct gateway *g = call->service;
	struct store *store;
	struct db_rows *rows;

	if (request->store)
		TRY(store_find(g, request->store, &store, e));
	TRY(db_acquire(g->db, rpc_time_left(call), &db, e));
	TRY(db_query(
	    db, call->ctx, &rows, e,
	    "SELECT b.id, b.store, b.name, b.driver, b.identity,"
	    " (extract(epoch FROM b.opened_at) * 1000)::bigint,"
	    " count(c.id) FILTER (WHERE c.state = 'live'),"
	    " coalesce(sum(c.stored_size) FILTER (WHERE c.state = 'live'), 0)::bigint,"
	    " count(c.id) FILTER (WHERE c.state = 'spare'),"
	    " count(c.id) FILTER (WHERE c.state IN ('writing', 'deleting'))"
	    " FROM objects.backend b LEFT JOIN objects.chunk c ON c.backend = b.id"
	    " WHERE $1::text IS NULL OR b.store = $1 GROUP BY b.id ORDER BY b.store = 'object_store' DESC, b.id"
	    " LIMIT 2000",
	    DB_TEXT(request->store)));
	reply->items = talloc_zero_array(call->ctx, struct backend_item, db_count(rows) + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < db_count(rows); i++)
		reply->items[reply->items_count++] = (struct backend_item){
		    .store = db_text(rows, i, 1),
		    .name = db_text(rows, i, 2),
		    .driver = db_text(rows, i, 3),
		    .identity = db_text(rows, i, 4),
		    .current = is_current(g, db_number(rows, i, 0)),
		    .opened_at = db_number(rows, i, 5),
		    .chunks = db_number(rows, i, 6),
		    .stored_bytes = db_number(rows, i, 7),
		    .spare_chunks = db_number(rows, i, 8),
		    .unfinished_chunks = db_number(rows, i, 9),
		};
	return ERR_OK;
}

enum err_code handle_store_migrate_start(struct rpc_call *call, const struct store_migrate_start_request *request,
                                         struct store_migrate_start_reply *reply, struct err *e)
{
	const struct transfer_order order = {
	    .from = request->from,
	    .to = request->to,
	    .rate = request->rate,
	    .keep_source = request->keep_source,
	};
	struct gateway *g = call->service;
	struct store *store;

	TRY(store_find(g, request->store, &store, e));
	TRY(transfer_start(store, &order, &reply->id, e));
	process_wake(g->process, talloc_asprintf(call->ctx, TRANSFER_TASK "%s", store->name));
	return ERR_OK;
}

enum err_code handle_store_migrate_status(struct rpc_call *call, const struct store_migrate_status_request *request,
                                          struct store_migrate_status_reply *reply, struct err *e)
{
	size_t max = request->limit ? (size_t)request->limit : TRANSFERS_SHOWN;
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return transfer_read(store, call->ctx, max, reply, e);
}

enum err_code handle_store_migrate_stop(struct rpc_call *call, const struct store_migrate_stop_request *request,
                                        struct store_migrate_stop_reply *reply, struct err *e)
{
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	return transfer_stop(store, &reply->stopped, e);
}
