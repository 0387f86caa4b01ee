/* Messages about the scrub and about audits. */
#include "common/clock.h"
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/audit.h"
#include "services/object-store-gateway/scrub.h"

#include <string.h>

#define PASSES_SHOWN 10
#define DAMAGED_SHOWN 100
#define OBJECTS_SHOWN 20     /* that a damaged chunk affects */
#define TOLD_MAX (512 * KIB) /* bytes of their names in one reply */
#define TIME_KEPT_MS 10000   /* of an audit's deadline, for the chunk under way; at most half of it */

/* ---- scrub ---- */

static enum err_code tell_passes(struct rpc_call *call, struct store *s, struct store_scrub_reply *reply, struct err *e)
{
	struct scrub_pass passes[PASSES_SHOWN];

	TRY(scrub_read(s, passes, PASSES_SHOWN, &reply->passes_count, e));
	reply->passes = talloc_zero_array(call->ctx, struct scrub_item, PASSES_SHOWN);
	ASSERT(reply->passes);
	for (size_t i = 0; i < reply->passes_count; i++)
		reply->passes[i] = (struct scrub_item){
		    .pass = passes[i].number,
		    .started_at = passes[i].started_at,
		    .finished_at = passes[i].finished_at,
		    .chunks = passes[i].chunks,
		    .bytes = passes[i].bytes,
		    .damaged = passes[i].damaged,
		    .healed = passes[i].healed,
		    .unreachable = passes[i].unreachable,
		};
	reply->position = reply->passes_count ? passes[0].position : 0;
	return ERR_OK;
}

static enum err_code tell_work(struct db *db, struct rpc_call *call, struct store *s, struct store_scrub_reply *reply,
                               struct err *e)
{
	const char *lease = talloc_asprintf(call->ctx, SCRUB_LEASE "%s", s->name);
	struct db_rows *rows;

	TRY(db_query(db, call->ctx, &rows, e, "SELECT owner FROM objects.lease WHERE name = $1 AND until > now()",
	             DB_TEXT(lease)));
	reply->worker = db_count(rows) ? db_text(rows, 0, 0) : NULL;
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT count(c.id), coalesce(sum(c.stored_size), 0)::bigint FROM objects.scrub p"
	             " JOIN objects.chunk c ON c.store = p.store AND c.id > p.position AND c.id <= p.until"
	             "   AND c.state IN ('live', 'spare')"
	             " WHERE p.store = $1 AND p.finished_at IS NULL",
	             DB_TEXT(s->name)));
	reply->left_chunks = db_number(rows, 0, 0);
	reply->left_bytes = db_number(rows, 0, 1);
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT count(*) FROM objects.chunk WHERE store = $1 AND damaged AND state IN ('live', 'spare')",
	             DB_TEXT(s->name)));
	reply->marked = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code tell_damaged(struct rpc_call *call, struct store *s, const struct db_rows *rows,
                                  struct store_scrub_reply *reply, struct err *e)
{
	size_t told = 0;

	reply->damaged = talloc_zero_array(call->ctx, struct marked_chunk, db_count(rows) + 1);
	ASSERT(reply->damaged);
	for (size_t i = 0; i < db_count(rows) && told < TOLD_MAX; i++) {
		struct marked_chunk *m = &reply->damaged[reply->damaged_count++];

		*m = (struct marked_chunk){
		    .sha256 = db_digest(rows, i, 0),
		    .number = db_number(rows, i, 1),
		    .spare = db_flag(rows, i, 2),
		    .backend = db_text(rows, i, 3),
		};
		if (!m->spare)
			TRY(chunk_objects(s, call->ctx, &m->sha256, OBJECTS_SHOWN, &m->objects, e));
		for (size_t o = 0; o < m->objects.count; o++)
			told += strlen(m->objects.items[o]);
	}
	return ERR_OK;
}

enum err_code handle_store_scrub(struct rpc_call *call, const struct store_scrub_request *request,
                                 struct store_scrub_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct gateway *g = call->service;
	struct db_rows *rows;
	struct store *store;

	TRY(store_find(g, request->store, &store, e));
	reply->rate = g->settings->scrub_rate;
	reply->interval_ms = g->settings->scrub_interval_ms;
	TRY(tell_passes(call, store, reply, e));
	TRY(db_acquire(store->db, rpc_time_left(call), &db, e));
	TRY(tell_work(db, call, store, reply, e));
	TRY(db_query(db, call->ctx, &rows, e,
	             "SELECT c.sha256, c.id, c.state = 'spare', b.name FROM objects.chunk c"
	             " JOIN objects.backend b ON b.id = c.backend"
	             " WHERE c.store = $1 AND c.damaged AND c.state IN ('live', 'spare') ORDER BY c.id LIMIT $2",
	             DB_TEXT(store->name), DB_NUMBER(request->limit ? request->limit : DAMAGED_SHOWN)));
	db_release(db);
	db = NULL;
	return tell_damaged(call, store, rows, reply, e);
}

/* ---- audit ---- */

enum err_code handle_store_audit(struct rpc_call *call, const struct store_audit_request *request,
                                 struct store_audit_reply *reply, struct err *e)
{
	int64_t left_ms = rpc_time_left(call);
	struct audit_order order = {
	    .after = request->after,
	    .window = request->limit ? (size_t)request->limit : AUDIT_WINDOW,
	    .remove_orphans = request->remove_orphans,
	    .mark_missing = request->mark_missing,
	    .deadline_ms = clock_monotonic_ms() + left_ms - MIN(left_ms / 2, (int64_t)TIME_KEPT_MS),
	};
	struct store *store;

	TRY(store_find(call->service, request->store, &store, e));
	TRY(backend_by_name(store, request->backend, &order.backend, e));
	return audit_page(store, call->ctx, &order, reply, e);
}
