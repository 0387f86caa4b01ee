/*
 * The message store_verify: chunks read back, all of them or a sample, page by page in the order of their digests. The
 * spare copies of a chunk are checked with it.
 */
#include "common/clock.h"
#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/chunk_heal.h"

#include <string.h>

#define OBJECTS_SHOWN 100    /* that a damaged chunk affects */
#define ROWS 1000            /* asked for at once */
#define TIME_KEPT_MS 4000    /* of the deadline, for the chunk under way */
#define TOLD_MAX (512 * KIB) /* bytes of names in one reply, before it ends */
#define CERTAIN 1000000      /* of `sample` */

struct verify {
	struct rpc_call *call;
	struct store *store;
	const struct store_verify_request *request;
	struct store_verify_reply *reply;
	int64_t limit;
	int64_t behind, wanted; /* of a sample by count: chunks behind the last one looked at, and how many of them */
	bool chosen;            /* the chunk that we are at */
	bool began;             /* one at least was looked at */
	size_t told;
};

/* ---- which ---- */

static enum err_code count_behind(struct verify *v, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	v->wanted = v->request->count;
	if (!v->wanted)
		return ERR_OK;
	TRY(db_acquire(v->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT count(*) FROM objects.chunk WHERE store = $1 AND state = 'live' AND sha256 > $2",
	             DB_TEXT(v->store->name), DB_DIGEST(&v->request->after)));
	v->behind = db_number(rows, 0, 0);
	return ERR_OK;
}

/* Of the chunks behind, so many are wanted: this one with the same chance as each other. What comes and goes meanwhile
 * may make it a few less. */
static bool choose(struct verify *v)
{
	bool yes = true;

	if (v->request->count) {
		yes =
		    v->wanted > 0 && (v->behind <= v->wanted || (int64_t)random_below((uint64_t)v->behind) < v->wanted);
		v->behind--;
		v->wanted -= yes;
	}
	if (v->request->sample)
		yes = yes && (int64_t)random_below(CERTAIN) < v->request->sample;
	return yes;
}

static bool is_enough(const struct verify *v)
{
	return v->reply->checked + v->reply->unreachable >= v->limit || v->told > TOLD_MAX ||
	       (v->request->count && !v->wanted);
}

/* ---- one ---- */

static enum err_code note_damage(struct verify *v, const struct chunk_kept *kept, bool healed, const struct err *why,
                                 struct err *e)
{
	struct store_verify_reply *reply = v->reply;
	struct damaged_chunk *damaged;

	reply->damaged = talloc_realloc(v->call->ctx, reply->damaged, struct damaged_chunk, reply->damaged_count + 1);
	ASSERT(reply->damaged);
	damaged = &reply->damaged[reply->damaged_count];
	*damaged = (struct damaged_chunk){
	    .sha256 = kept->chunk.sha256,
	    .reason = talloc_strndup(v->call->ctx, why->text, 500),
	    .healed = healed,
	    .spare = kept->spare,
	};
	if (!kept->spare)
		TRY(chunk_objects(v->store, v->call->ctx, &kept->chunk.sha256, OBJECTS_SHOWN, &damaged->objects, e));
	for (size_t i = 0; i < damaged->objects.count; i++)
		v->told += strlen(damaged->objects.items[i]);
	v->told += sizeof(*damaged) + strlen(damaged->reason);
	reply->healed += healed;
	reply->damaged_count++;
	return ERR_OK;
}

static enum err_code check(struct verify *v, const struct chunk_kept *kept, struct err *e)
{
	struct store_verify_reply *reply = v->reply;
	struct err why;
	enum chunk_health health = chunk_check(v->store, kept, v->request->heal, &why);

	if (health == CHUNK_UNREACHABLE) {
		if (!reply->unreachable++)
			reply->unreachable_reason = talloc_strndup(v->call->ctx, why.text, 500);
		return ERR_OK;
	}
	reply->checked++;
	reply->bytes += (int64_t)kept->chunk.size;
	if (health != CHUNK_HEALED && health != CHUNK_DAMAGED)
		return ERR_OK;
	return note_damage(v, kept, health == CHUNK_HEALED, &why, e);
}

/* ---- a page ---- */

static enum err_code read_rows(struct verify *v, TALLOC_CTX *ctx, const struct digest *after, int64_t count,
                               struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(v->store->db, rpc_time_left(v->call), &db, e));
	return db_query(
	    db, ctx, rows, e,
	    "WITH page AS (SELECT * FROM objects.chunk WHERE store = $1 AND state = 'live' AND sha256 > $2"
	    "   ORDER BY sha256 LIMIT $3)"
	    " SELECT " CHUNK_KEPT_COLUMNS " FROM page c"
	    " UNION ALL SELECT " CHUNK_KEPT_COLUMNS " FROM page p JOIN LATERAL (SELECT * FROM objects.chunk"
	    "   WHERE store = $1 AND sha256 = p.sha256 AND state = 'spare' ORDER BY id LIMIT 16) AS c ON true"
	    " ORDER BY sha256, spare, id",
	    DB_TEXT(v->store->name), DB_DIGEST(after), DB_NUMBER(count));
}

/* A page ends between two contents, never between a chunk and its spare copies. */
static enum err_code check_rows(struct verify *v, const struct db_rows *rows, struct err *e)
{
	for (size_t i = 0; i < db_count(rows); i++) {
		struct chunk_kept kept = chunk_kept_from_row(rows, i);

		if (!kept.spare) {
			v->reply->more = is_enough(v) || (v->began && rpc_time_left(v->call) < TIME_KEPT_MS);
			if (v->reply->more)
				return ERR_OK;
			v->began = true;
			v->chosen = choose(v);
			v->reply->last = kept.chunk.sha256;
		}
		if (v->chosen)
			TRY(check(v, &kept, e));
	}
	return ERR_OK;
}

enum err_code handle_store_verify(struct rpc_call *call, const struct store_verify_request *request,
                                  struct store_verify_reply *reply, struct err *e)
{
	struct verify v = {.call = call, .request = request, .reply = reply};
	size_t count = ROWS;

	v.limit = request->limit ? request->limit : 1000;
	TRY(store_find(call->service, request->store, &v.store, e));
	TRY(count_behind(&v, e));
	reply->last = request->after;
	while (count == ROWS && !reply->more) {
		SCRATCH_CTX(ctx);
		const struct digest after = reply->last;
		struct db_rows *rows;

		TRY(read_rows(&v, ctx, &after, ROWS, &rows, e));
		count = MIN(db_count(rows), (size_t)ROWS); /* spare copies may make it more */
		TRY(check_rows(&v, rows, e));
	}
	reply->count_left = v.wanted;
	if (request->count && !v.wanted)
		reply->more = false;
	return ERR_OK;
}
