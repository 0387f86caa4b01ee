#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk_write.h"

#define TRIES 5

static struct metric mended_total =
    METRIC_COUNTER("stowage_chunk_mended_total", "Damaged chunks that a good copy took the place of.");

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
	return w->known ? ERR_OK : chunk_write_intent(db, w, at, e);
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
	TRY(chunk_write_put(w, &at, e));
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
	return lost ? chunk_write_too_long(w, &at, e) : ERR_OK;
}

static enum err_code put_in_steps(struct chunk_write *w, struct err *e)
{
	int64_t number;

	TRY(chunk_write_bytes(w, &number, e));
	return number ? chunk_write_end(w, number, e) : ERR_OK;
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
