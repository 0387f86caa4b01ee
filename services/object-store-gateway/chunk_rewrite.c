#include "common/fault.h"
#include "services/object-store-gateway/chunk_write.h"

#include <string.h>

#define LOOKS 3 /* at a row that somebody else may just be replacing */

static enum err_code read_back(const struct chunk_write *w, TALLOC_CTX *ctx, const struct location *at, struct err *e)
{
	void *room = talloc_size(ctx, w->stored_len);
	size_t got = 0;

	ASSERT(room);
	if (w->to->driver->get(w->to->conn, at, room, w->stored_len, &got, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s: reading back what was written", w->store->name, w->to->name);
	if (got != w->stored_len || memcmp(room, w->stored, got) != 0)
		return ERR(e, ERR_CORRUPT, "%s: back end %s gave chunk %s back with other bytes than were written",
		           w->store->name, w->to->name, digest_text(&w->sha256).text);
	return ERR_OK;
}

struct replacement {
	const struct store *store;
	const struct digest *sha256;
	int64_t old, fresh;
	int64_t came_to; /* the back end of the fresh one, if the old one is in another; else 0 */
	enum chunk_state end;
	bool done, lost;
};

/* Content that comes back to a back end meets the spare copies that a migration kept there: they are of no use beside
 * it. The old row, which is locked, keeps others from them. */
static enum err_code condemn_spares_beside(struct db *db, const struct replacement *r, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct chunk_moved moved;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.chunk WHERE store = $1 AND sha256 = $2 AND state = 'spare'"
	             " AND backend = $3 AND id <> $4 ORDER BY id",
	             DB_TEXT(r->store->name), DB_DIGEST(r->sha256), DB_NUMBER(r->came_to), DB_NUMBER(r->old)));
	for (size_t i = 0; i < db_count(rows); i++) {
		int64_t id = db_number(rows, i, 0);

		TRY(chunk_set_state(db, &id, 1, CHUNK_SPARE, CHUNK_DELETING, &moved, e));
	}
	return ERR_OK;
}

/* Commits that name the old row hold it until they are over; the first statement waits for them, and later ones find
 * it gone. */
static enum err_code replace_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct replacement *r = arg;
	struct chunk_moved moved;
	struct db_rows *rows;

	r->done = r->lost = false;
	TRY(db_query(db, ctx, &rows, e, "SELECT suspect FROM objects.chunk WHERE id = $1 AND state = 'live' FOR UPDATE",
	             DB_NUMBER(r->old)));
	if (!db_count(rows))
		return chunk_set_state(db, &r->fresh, 1, CHUNK_WRITING, CHUNK_DELETING, &moved, e);
	TRY(chunk_set_state(db, &r->old, 1, CHUNK_LIVE, r->end, &moved, e));
	TRY(chunk_set_state(db, &r->fresh, 1, CHUNK_WRITING, CHUNK_LIVE, &moved, e));
	r->lost = moved.rows == 0;
	if (r->lost)
		return ERR(e, ERR_UNAVAILABLE, "the sweep took the new copy for abandoned");
	TRY(db_query(db, NULL, NULL, e, "UPDATE objects.object_chunk SET chunk = $2 WHERE chunk = $1",
	             DB_NUMBER(r->old), DB_NUMBER(r->fresh)));
	if (r->came_to)
		TRY(condemn_spares_beside(db, r, e));
	r->done = true;
	return db_query(db, NULL, NULL, e, "UPDATE objects.chunk SET suspect = $2 WHERE id = $1", DB_NUMBER(r->fresh),
	                DB_FLAG(db_flag(rows, 0, 0)));
}

/* A row that was waited for may have been replaced by another with its content, which only the next statement sees. */
static enum err_code hold_live(struct db *db, const struct replacement *r, bool *there, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	*there = false;
	for (int i = 0; i < LOOKS && !*there; i++) {
		TRY(db_query(db, ctx, &rows, e,
		             "SELECT id FROM objects.chunk WHERE store = $1 AND sha256 = $2 AND state = 'live'"
		             " FOR NO KEY UPDATE",
		             DB_TEXT(r->store->name), DB_DIGEST(r->sha256)));
		*there = db_count(rows) > 0;
	}
	return ERR_OK;
}

/* The live row is held, too: a sweep that takes the content takes the spare copies that it finds then, and must not
 * miss the one that is made here. */
static enum err_code replace_spare_body(struct db *db, void *arg, struct err *e)
{
	struct replacement *r = arg;
	struct chunk_moved moved = {0};
	bool there;

	r->done = r->lost = false;
	TRY(hold_live(db, r, &there, e));
	if (there)
		TRY(chunk_set_state(db, &r->old, 1, CHUNK_SPARE, CHUNK_DELETING, &moved, e));
	if (!moved.rows)
		return chunk_set_state(db, &r->fresh, 1, CHUNK_WRITING, CHUNK_DELETING, &moved, e);
	TRY(chunk_set_state(db, &r->fresh, 1, CHUNK_WRITING, CHUNK_SPARE, &moved, e));
	r->done = moved.rows == 1;
	r->lost = !r->done;
	return r->lost ? ERR(e, ERR_UNAVAILABLE, "the sweep took the new copy for abandoned") : ERR_OK;
}

static enum err_code rewrite(struct store *s, const struct chunk *old, const void *bytes, struct backend *to,
                             db_body replace, struct replacement *r, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct chunk_write *w;
	struct location at;
	enum err_code code;
	struct db *db;

	r->store = s;
	r->sha256 = &old->sha256;
	r->old = old->id;
	r->came_to = old->backend && old->backend != to->id ? to->id : 0;
	TRY(chunk_write_to(s, ctx, to, &old->sha256, bytes, old->size, &w, e));
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	code = chunk_write_intent(db, w, &at, e);
	db_release(db);
	TRY(code);
	FAULT_POINT("rewrite-after-intent");
	TRY(chunk_write_put(w, &at, e));
	FAULT_POINT("rewrite-after-backend");
	TRY(read_back(w, ctx, &at, e));
	FAULT_POINT("rewrite-after-check");
	r->fresh = at.number;
	code = db_transaction(s->db, replace, r, e);
	FAULT_POINT("rewrite-after-replace");
	r->done = code == ERR_OK && r->done;
	return r->lost ? chunk_write_too_long(w, &at, e) : code;
}

enum err_code chunk_rewrite(struct store *s, const struct chunk *old, const void *bytes, struct backend *to,
                            enum chunk_state end, bool *done, struct err *e)
{
	struct replacement r = {.end = end};
	enum err_code code = rewrite(s, old, bytes, to, replace_body, &r, e);

	*done = r.done;
	return code;
}

enum err_code chunk_rewrite_spare(struct store *s, const struct chunk *old, const void *bytes, struct backend *to,
                                  bool *done, struct err *e)
{
	struct replacement r = {0};
	enum err_code code = rewrite(s, old, bytes, to, replace_spare_body, &r, e);

	*done = r.done;
	return code;
}
