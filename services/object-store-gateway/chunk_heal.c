#include "services/object-store-gateway/chunk_heal.h"

#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"

#include <string.h>

static struct metric healed_total =
    METRIC_COUNTER("stowage_chunk_healed_total", "Damaged chunks written anew from a copy elsewhere.");

struct chunk_kept chunk_kept_from_row(const struct db_rows *rows, size_t row)
{
	return (struct chunk_kept){
	    .spare = db_flag(rows, row, 0),
	    .damaged = db_flag(rows, row, 1),
	    .chunk = chunk_from_row(rows, row, 2),
	};
}

/* ---- a good copy ---- */

/* Those that are marked come last: what did not read well once may do so again. */
static enum err_code find_copies(struct store *in, TALLOC_CTX *ctx, const struct chunk *lost, struct db_rows **rows,
                                 struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(in->db, DB_WAIT_MS, &db, e));
	return db_query(db, ctx, rows, e,
	                "SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c"
	                " WHERE store = $1 AND sha256 = $2 AND state = 'live' AND id <> $3"
	                " UNION ALL SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c"
	                " WHERE store = $1 AND sha256 = $2 AND state = 'spare' AND id <> $3"
	                " ORDER BY damaged, spare, id LIMIT 16",
	                DB_TEXT(in->name), DB_DIGEST(&lost->sha256), DB_NUMBER(lost->id));
}

static enum err_code find_state(struct store *s, int64_t id, bool *kept, bool *spare, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT state = 'spare' FROM objects.chunk WHERE id = $1 AND state IN ('live', 'spare')",
	             DB_NUMBER(id)));
	*kept = db_count(rows) == 1;
	*spare = *kept && db_flag(rows, 0, 0);
	return ERR_OK;
}

static void note_bad_copy(struct store *in, const struct chunk_kept *copy, const struct err *why)
{
	struct err ignored;
	bool kept, spare;

	if (why->code == ERR_CORRUPT && find_state(in, copy->chunk.id, &kept, &spare, &ignored) == ERR_OK && kept)
		chunk_note_damage(in, &copy->chunk, why);
}

/* *bytes stays NULL when there is none. */
static enum err_code read_copy(struct store *in, TALLOC_CTX *ctx, const struct chunk *lost, void **bytes, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(find_copies(in, scratch, lost, &rows, e));
	for (size_t i = 0; i < db_count(rows) && !*bytes; i++) {
		struct chunk_kept copy = chunk_kept_from_row(rows, i);
		struct err why;

		if (copy.chunk.size != lost->size) /* one of the two rows is wrong */
			continue;
		if (chunk_get(in, ctx, &copy.chunk, bytes, &why) == ERR_OK)
			return ERR_OK;
		*bytes = NULL;
		note_bad_copy(in, &copy, &why);
	}
	return ERR_OK;
}

/* ---- in its place ---- */

static enum err_code put_in_place(struct store *s, const struct chunk_kept *kept, const void *bytes, struct backend *to,
                                  bool *done, struct err *e)
{
	if (kept->spare)
		return chunk_rewrite_spare(s, &kept->chunk, bytes, to, done, e);
	return chunk_rewrite(s, &kept->chunk, bytes, to, CHUNK_DELETING, done, e);
}

static enum err_code rewrite_somewhere(struct store *s, const struct chunk_kept *kept, const void *bytes, bool *done,
                                       struct err *e)
{
	struct backend *own;
	enum err_code code = backend_by_id(s, kept->chunk.backend, &own, e);

	if (code == ERR_OK)
		code = put_in_place(s, kept, bytes, own, done, e);
	if (code == ERR_OK || kept->chunk.backend == s->current->id)
		return code;
	return put_in_place(s, kept, bytes, s->current, done, e);
}

enum err_code chunk_heal(struct store *s, TALLOC_CTX *ctx, const struct chunk_kept *kept, void **bytes, bool *healed,
                         struct err *e)
{
	const struct chunk *lost = &kept->chunk;
	struct err why;
	bool done = false;

	*healed = false;
	*bytes = NULL;
	TRY(read_copy(s, ctx, lost, bytes, e));
	if (!*bytes && s->sibling)
		TRY(read_copy(s->sibling, ctx, lost, bytes, e));
	if (!*bytes)
		return ERR(e, ERR_NOT_FOUND, "%s: there is no good copy of chunk %s", s->name,
		           digest_text(&lost->sha256).text);
	FAULT_POINT("heal-after-copy");
	if (rewrite_somewhere(s, kept, *bytes, &done, &why) != ERR_OK) {
		LOG_WARN("damaged chunk cannot be healed", LOG_TEXT("store", s->name),
		         LOG_TEXT("chunk", digest_text(&lost->sha256).text), LOG_ERR(&why));
		return ERR_OK;
	}
	*healed = true; /* by somebody else, if not by this */
	if (done) {
		metric_add(&healed_total, 1);
		LOG_INFO("damaged chunk healed from a copy", LOG_TEXT("store", s->name),
		         LOG_TEXT("chunk", digest_text(&lost->sha256).text));
	}
	return ERR_OK;
}

/* ---- looking ---- */

static void take_mark_away(struct store *s, const struct chunk *chunk)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct err e;

	if (db_acquire(s->db, DB_WAIT_MS, &db, &e) != ERR_OK ||
	    db_query(db, NULL, NULL, &e, "UPDATE objects.chunk SET damaged = false WHERE id = $1 AND damaged",
	             DB_NUMBER(chunk->id)) != ERR_OK)
		LOG_WARN("a chunk that reads well again is still marked as damaged", LOG_ERR(&e));
	else
		LOG_INFO("chunk reads well again", LOG_TEXT("store", s->name),
		         LOG_TEXT("chunk", digest_text(&chunk->sha256).text));
}

enum chunk_health chunk_check(struct store *s, const struct chunk_kept *kept, bool heal, struct err *why)
{
	SCRATCH_CTX(ctx);
	struct chunk_kept now = *kept;
	bool there, healed = false;
	struct err ignored;
	void *bytes;
	enum err_code code = chunk_get(s, ctx, &kept->chunk, &bytes, why);

	if (code == ERR_OK && kept->damaged)
		take_mark_away(s, &kept->chunk);
	if (code == ERR_OK)
		return CHUNK_SOUND;
	if (code != ERR_CORRUPT)
		return CHUNK_UNREACHABLE;
	if (find_state(s, kept->chunk.id, &there, &now.spare, &ignored) != ERR_OK) {
		*why = ignored;
		return CHUNK_UNREACHABLE;
	}
	if (!there)
		return CHUNK_GONE;
	chunk_note_damage(s, &kept->chunk, why);
	if (heal && chunk_heal(s, ctx, &now, &bytes, &healed, &ignored) != ERR_OK && ignored.code != ERR_NOT_FOUND)
		LOG_WARN("cannot look for a copy of a damaged chunk", LOG_ERR(&ignored));
	return healed ? CHUNK_HEALED : CHUNK_DAMAGED;
}

enum err_code chunk_objects(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, size_t max,
                            struct proto_texts *objects, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT DISTINCT o.account || '/' || o.bucket || '/' || o.key FROM objects.chunk c"
	             " JOIN objects.object_chunk oc ON oc.chunk = c.id JOIN objects.object o ON o.id = oc.object"
	             " WHERE c.store = $1 AND c.sha256 = $2 AND c.state = 'live' ORDER BY 1 LIMIT $3",
	             DB_TEXT(s->name), DB_DIGEST(sha256), DB_NUMBER(max)));
	objects->items = talloc_zero_array(ctx, const char *, db_count(rows) + 1);
	ASSERT(objects->items);
	objects->count = 0;
	for (size_t i = 0; i < db_count(rows); i++)
		objects->items[objects->count++] = db_text(rows, i, 0);
	return ERR_OK;
}
