#include "common/codec.h"
#include "common/fault.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk.h"

#define LOOK_FIRST (64 * KIB) /* from this on, bytes are not sent to the database before it was asked */
#define TRIES 5

static struct metric puts_total = METRIC_COUNTER("stowage_chunk_puts_total", "Chunks written to a back end.");
static struct metric known_total = METRIC_COUNTER("stowage_chunk_known_total", "Puts of chunks that were there.");

struct chunk_write {
	struct store *store;
	struct digest sha256;
	size_t len;         /* of the content */
	const void *stored; /* what goes to the back end */
	size_t stored_len;
	bool zstd;
	bool known; /* result: it was there */
};

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

enum err_code chunk_write_new(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, const void *bytes,
                              size_t len, struct chunk_write **out, struct err *e)
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
	w->sha256 = *sha256;
	w->len = len;
	TRY(compress(w, bytes, e));
	*out = w;
	return ERR_OK;
}

size_t chunk_write_stored(const struct chunk_write *w)
{
	metric_add(w->known ? &known_total : &puts_total, 1);
	return w->known ? 0 : w->stored_len;
}

/* Is it live? Then it stays for another grace period. */
static enum err_code touch(struct db *db, struct chunk_write *w, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT touched_at > now() - $3::bigint * interval '1 millisecond' FROM objects.chunk"
	             " WHERE store = $1 AND sha256 = $2 AND state = 'live'",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->store->grace_ms / TOUCH_PART)));
	w->known = db_count(rows) == 1;
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
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, driver, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, 'live')"
	             " ON CONFLICT (store, sha256) WHERE state = 'live' DO NOTHING RETURNING id",
	             DB_TEXT(s->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_TEXT(s->driver->name)));
	w->known = db_count(rows) == 0;
	if (w->known)
		return ERR_OK;
	*number = at.number = db_number(rows, 0, 0);
	return s->driver->put_within(s->conn, db, &at, w->stored, w->stored_len, e);
}

enum err_code chunk_write_within(struct db *db, struct chunk_write *w, int64_t *number, struct err *e)
{
	*number = 0;
	for (int i = 0; i < TRIES; i++) {
		if (i > 0 || w->len >= LOOK_FIRST) {
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

static enum err_code record_intent(struct chunk_write *w, int64_t *id, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(w->store->db, DB_WAIT_MS, &db, e));
	TRY(touch(db, w, e));
	if (w->known)
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, driver, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, 'writing') RETURNING id",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_TEXT(w->store->driver->name)));
	*id = db_number(rows, 0, 0);
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
	*lost = code == ERR_OK && moved.rows == 0;
	return code;
}

static enum err_code put_in_steps(struct chunk_write *w, struct err *e)
{
	const struct store *s = w->store;
	struct location at = {.sha256 = w->sha256};
	bool lost = false;

	TRY(record_intent(w, &at.number, e));
	if (w->known)
		return ERR_OK;
	FAULT_POINT("put-after-intent");
	if (s->driver->put(s->conn, &at, w->stored, w->stored_len, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s", s->name, s->driver->name);
	FAULT_POINT("put-after-backend");
	TRY(make_live(w, at.number, &lost, e));
	FAULT_POINT("put-after-live");
	if (!lost)
		return ERR_OK;
	/* The sweep took this put for dead. It may have looked at the back end before the bytes came. */
	TRY(s->driver->remove(s->conn, &at, 1, e));
	return ERR(e, ERR_UNAVAILABLE, "writing chunk %s took longer than gc_write_grace",
	           digest_text(&w->sha256).text);
}

enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct chunk_write *w;

	TRY(chunk_write_new(s, ctx, sha256, bytes, len, &w, e));
	TRY(s->driver->put_within ? db_transaction(s->db, put_within_body, w, e) : put_in_steps(w, e));
	*stored_bytes = chunk_write_stored(w);
	return ERR_OK;
}
