#include "common/codec.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk_cipher.h"
#include "services/object-store-gateway/chunk_write.h"

#include <string.h>

#define TRIES 5
#define LOOKS 3 /* at a row that somebody else may just be replacing */

static struct metric puts_total = METRIC_COUNTER("stowage_chunk_puts_total", "Chunks written to a back end.");
static struct metric mended_total =
    METRIC_COUNTER("stowage_chunk_mended_total", "Damaged chunks that a good copy took the place of.");
static struct metric known_total = METRIC_COUNTER("stowage_chunk_known_total", "Puts of chunks that were there.");

static enum err_code compress(struct chunk_write *w, const void *bytes, struct err *e)
{
	const struct store *s = w->store;
	void *smaller;
	size_t len;

	w->stored = bytes;
	w->stored_len = w->len;
	if (!s->compress || w->len < s->compress_min)
		return ERR_OK;
	TRY(zstd_compress_block(w, bytes, w->len, s->level, &smaller, &len, e));
	if (!smaller)
		return ERR_OK;
	w->zstd = true;
	w->stored = smaller;
	w->stored_len = len;
	return ERR_OK;
}

static enum err_code encrypt(struct chunk_write *w, struct err *e)
{
	const struct store *s = w->store;
	const struct chunk_binding binding = {s->name, keyring_current(s->keys), &w->sha256, w->zstd};
	uint8_t *sealed;

	if (!binding.key_id)
		return ERR_OK;
	sealed = talloc_size(w, w->stored_len + AEAD_OVERHEAD);
	ASSERT(sealed);
	TRY(chunk_seal(s->keys, &binding, w->stored, w->stored_len, sealed, e));
	if (w->zstd)
		talloc_free((void *)(uintptr_t)w->stored);
	w->cipher_key = binding.key_id;
	w->stored = sealed;
	w->stored_len += AEAD_OVERHEAD;
	return ERR_OK;
}

static enum err_code write_new(struct store *s, TALLOC_CTX *ctx, struct backend *to, const struct digest *sha256,
                               const void *bytes, size_t len, struct chunk_write **out, struct err *e)
{
	struct chunk_write *w = talloc_zero(ctx, struct chunk_write);
	struct digest found;

	ASSERT(w);
	if (len == 0 || len > CHUNK_MAX)
		return ERR(e, ERR_INVALID, "a chunk of %zu bytes, allowed are 1 to %zu", len, CHUNK_MAX);
	found = digest_of(bytes, len);
	if (!digest_equal(&found, sha256))
		return ERR(e, ERR_INVALID, "the bytes of chunk %s have digest %s", digest_text(sha256).text,
		           digest_text(&found).text);
	w->store = s;
	w->to = to;
	w->sha256 = *sha256;
	w->len = len;
	TRY(compress(w, bytes, e));
	TRY(encrypt(w, e));
	*out = w;
	return ERR_OK;
}

enum err_code chunk_write_new(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, const void *bytes,
                              size_t len, struct chunk_write **out, struct err *e)
{
	return write_new(s, ctx, s->current, sha256, bytes, len, out, e);
}

size_t chunk_write_stored(const struct chunk_write *w)
{
	metric_add(w->known ? &known_total : &puts_total, 1);
	return w->known ? 0 : w->stored_len;
}

/* Is it live, and sound? Then it stays for another grace period. */
static enum err_code touch(struct db *db, struct chunk_write *w, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT touched_at > now() - $3::bigint * interval '1 millisecond',"
	             " damaged OR (cipher_key IS NOT NULL AND cipher_key <> ALL ($4::text[])), id FROM objects.chunk"
	             " WHERE store = $1 AND sha256 = $2 AND state = 'live'",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->store->grace_ms / TOUCH_PART),
	             DB_TEXT(keyring_sql(w->store->keys))));
	w->known = db_count(rows) == 1;
	w->damaged = w->known && db_flag(rows, 0, 1) ? db_number(rows, 0, 2) : 0;
	if (w->damaged)
		return ERR(e, ERR_CORRUPT, "%s: chunk %s is damaged, or its key is not configured", w->store->name,
		           digest_text(&w->sha256).text);
	if (!w->known || db_flag(rows, 0, 0))
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.chunk SET touched_at = now() WHERE store = $1 AND sha256 = $2 AND state = 'live'",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256)));
	w->known = db_affected(rows) == 1;
	return ERR_OK;
}

/* ---- row and bytes in one transaction ---- */

/* No row comes back when somebody has it live. */
static enum err_code insert_live(struct db *db, struct chunk_write *w, int64_t *number, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct store *s = w->store;
	struct location at = {.sha256 = w->sha256};
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, cipher_key, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, $7, 'live')"
	             " ON CONFLICT (store, sha256) WHERE state = 'live' DO NOTHING RETURNING id",
	             DB_TEXT(s->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_NUMBER(w->to->id), DB_TEXT(w->cipher_key)));
	w->known = db_count(rows) == 0;
	if (w->known)
		return ERR_OK;
	*number = at.number = db_number(rows, 0, 0);
	return w->to->driver->put_within(w->to->conn, db, &at, w->stored, w->stored_len, e);
}

enum err_code chunk_write_within(struct db *db, struct chunk_write *w, int64_t *number, struct err *e)
{
	*number = 0;
	for (int i = 0; i < TRIES; i++) {
		if (i > 0 || w->len >= CHUNK_LOOK_FIRST) {
			TRY(touch(db, w, e));
			if (w->known)
				return ERR_OK;
		}
		TRY(insert_live(db, w, number, e));
		if (!w->known)
			return ERR_OK;
	}
	return ERR(e, ERR_CONFLICT, "chunk %s comes and goes", digest_text(&w->sha256).text);
}

static enum err_code put_within_body(struct db *db, void *arg, struct err *e)
{
	int64_t number;

	return chunk_write_within(db, arg, &number, e);
}

/* ---- intent, bytes, live ---- */

/* Row and location of a write that is about to begin. */
static enum err_code insert_writing(struct db *db, const struct chunk_write *w, struct location *at, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, cipher_key, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, $7, 'writing') RETURNING id",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_NUMBER(w->to->id), DB_TEXT(w->cipher_key)));
	*at = (struct location){w->sha256, db_number(rows, 0, 0)};
	return ERR_OK;
}

/* The usual case in one statement: *made is false when the content may be there. */
static enum err_code insert_if_new(struct db *db, const struct chunk_write *w, struct location *at, bool *made,
                                   struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, cipher_key, state)"
	             " SELECT $1::text, $2::bytea, $3::bigint, $4::bigint, $5::text, $6::bigint, $7::text, 'writing'"
	             " WHERE NOT EXISTS (SELECT 1 FROM objects.chunk"
	             "   WHERE store = $1 AND sha256 = $2 AND state = 'live') RETURNING id",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_NUMBER(w->to->id), DB_TEXT(w->cipher_key)));
	*made = db_count(rows) == 1;
	if (*made)
		*at = (struct location){w->sha256, db_number(rows, 0, 0)};
	return ERR_OK;
}

static enum err_code record_intent(struct chunk_write *w, struct location *at, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	bool made;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(insert_if_new(db, w, at, &made, e));
	w->known = false;
	if (made)
		return ERR_OK;
	TRY(touch(db, w, e));
	return w->known ? ERR_OK : insert_writing(db, w, at, e);
}

static enum err_code put_bytes(const struct chunk_write *w, const struct location *at, struct err *e)
{
	if (w->to->driver->put(w->to->conn, at, w->stored, w->stored_len, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s", w->store->name, w->to->name);
	return ERR_OK;
}

/* The sweep took this put for dead. It may have looked at the back end before the bytes came. */
static enum err_code took_too_long(const struct chunk_write *w, const struct location *at, struct err *e)
{
	TRY(w->to->driver->remove(w->to->conn, at, 1, e));
	return ERR(e, ERR_UNAVAILABLE, "writing chunk %s took longer than gc_write_grace",
	           digest_text(&w->sha256).text);
}

/* Numbers are never used again: a row that is not being written any more was made live, or swept. */
static enum err_code is_swept(struct db *db, int64_t id, bool *swept, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM objects.chunk WHERE id = $1 AND state IN ('live', 'spare')",
	             DB_NUMBER(id)));
	*swept = db_count(rows) == 0;
	return ERR_OK;
}

static enum err_code make_live(struct chunk_write *w, int64_t id, bool *lost, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct chunk_moved moved;
	enum err_code code;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	code = chunk_set_state(db, &id, 1, CHUNK_WRITING, CHUNK_LIVE, &moved, e);
	w->known = code == ERR_CONFLICT;
	if (w->known) /* another put was faster: these bytes are not needed */
		return chunk_set_state(db, &id, 1, CHUNK_WRITING, CHUNK_DELETING, &moved, e);
	return code == ERR_OK && moved.rows == 0 ? is_swept(db, id, lost, e) : code;
}

enum err_code chunk_write_bytes(struct chunk_write *w, int64_t *number, struct err *e)
{
	struct location at;

	*number = 0;
	TRY(record_intent(w, &at, e));
	if (w->known)
		return ERR_OK;
	FAULT_POINT("put-after-intent");
	TRY(put_bytes(w, &at, e));
	FAULT_POINT("put-after-backend");
	*number = at.number;
	return ERR_OK;
}

enum err_code chunk_write_live(struct db *db, struct chunk_write *w, int64_t number, struct err *e)
{
	struct chunk_moved moved;

	TRY(chunk_set_state(db, &number, 1, CHUNK_WRITING, CHUNK_LIVE, &moved, e));
	FAULT_POINT("put-after-live");
	if (!moved.rows)
		return ERR(e, ERR_CONFLICT, "the sweep took chunk %s for abandoned", digest_text(&w->sha256).text);
	return ERR_OK;
}

enum err_code chunk_write_end(struct chunk_write *w, int64_t number, struct err *e)
{
	const struct location at = {w->sha256, number};
	bool lost = false;

	TRY(make_live(w, number, &lost, e));
	FAULT_POINT("put-after-live");
	return lost ? took_too_long(w, &at, e) : ERR_OK;
}

static enum err_code put_in_steps(struct chunk_write *w, struct err *e)
{
	int64_t number;

	TRY(chunk_write_bytes(w, &number, e));
	return number ? chunk_write_end(w, number, e) : ERR_OK;
}

/* ---- in the place of another ---- */

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
	TRY(write_new(s, ctx, to, &old->sha256, bytes, old->size, &w, e));
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	code = insert_writing(db, w, &at, e);
	db_release(db);
	TRY(code);
	FAULT_POINT("rewrite-after-intent");
	TRY(put_bytes(w, &at, e));
	FAULT_POINT("rewrite-after-backend");
	TRY(read_back(w, ctx, &at, e));
	FAULT_POINT("rewrite-after-check");
	r->fresh = at.number;
	code = db_transaction(s->db, replace, r, e);
	FAULT_POINT("rewrite-after-replace");
	r->done = code == ERR_OK && r->done;
	return r->lost ? took_too_long(w, &at, e) : code;
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

/* ---- put ---- */

/* The back end has lost the content, and here it is again. */
static enum err_code mend(const struct chunk_write *w, const void *bytes, struct err *e)
{
	struct chunk old = {.id = w->damaged, .sha256 = w->sha256, .size = w->len};
	bool done;

	TRY(chunk_rewrite(w->store, &old, bytes, w->store->current, CHUNK_DELETING, &done, e));
	if (done) {
		metric_add(&mended_total, 1);
		LOG_INFO("chunk that was damaged or without its key replaced by a put",
		         LOG_TEXT("store", w->store->name), LOG_TEXT("chunk", digest_text(&w->sha256).text));
	}
	return ERR_OK;
}

enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct chunk_write *w;
	enum err_code code = ERR_CORRUPT;

	TRY(chunk_write_new(s, ctx, sha256, bytes, len, &w, e));
	for (int i = 0; i < TRIES && code == ERR_CORRUPT; i++) {
		w->damaged = 0;
		code = w->to->driver->put_within ? db_transaction(s->db, put_within_body, w, e) : put_in_steps(w, e);
		if (code == ERR_CORRUPT && w->damaged)
			TRY(mend(w, bytes, e));
	}
	*stored_bytes = code == ERR_OK ? chunk_write_stored(w) : 0;
	return code;
}
