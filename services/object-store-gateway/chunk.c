#include "services/object-store-gateway/chunk.h"

#include "common/codec.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/sql_array.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_MS 10000         /* for a connection */
#define TOUCH_PART 4          /* a chunk is touched anew when a quarter of the grace period has passed */
#define LOOK_FIRST (64 * KIB) /* above this, bytes are not sent to the database before it was asked */
#define TRIES 5

static struct metric puts_total = METRIC_COUNTER("stowage_chunk_puts_total", "Chunks written to a back end.");
static struct metric known_total = METRIC_COUNTER("stowage_chunk_known_total", "Puts of chunks that were there.");
static struct metric gets_total = METRIC_COUNTER("stowage_chunk_gets_total", "Chunks read from a back end.");
static struct metric corrupt_total =
    METRIC_COUNTER("stowage_chunk_corrupt_total", "Chunks that came back with another digest, or not at all.");

/* ---- state ---- */

static const struct {
	enum chunk_state from, to;
} moves[] = {
    {CHUNK_WRITING, CHUNK_LIVE},
    {CHUNK_WRITING, CHUNK_DELETING},
    {CHUNK_LIVE, CHUNK_DELETING},
    {CHUNK_DELETING, CHUNK_NONE},
};

const char *chunk_state_text(enum chunk_state state)
{
	static const char *const texts[] = {"none", "writing", "live", "deleting"};

	return texts[state];
}

enum err_code chunk_set_state(struct db *db, const int64_t *ids, size_t count, enum chunk_state from,
                              enum chunk_state to, size_t *changed, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	bool allowed = false;

	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		allowed |= moves[i].from == from && moves[i].to == to;
	ASSERT(allowed);
	if (to == CHUNK_NONE)
		TRY(db_query(db, ctx, &rows, e,
		             "DELETE FROM objects.chunk WHERE id = ANY ($1::bigint[]) AND state = $2",
		             DB_TEXT(sql_numbers(ctx, ids, count)), DB_TEXT(chunk_state_text(from))));
	else
		TRY(db_query(db, ctx, &rows, e,
		             "UPDATE objects.chunk SET state = $3, touched_at = now()"
		             " WHERE id = ANY ($1::bigint[]) AND state = $2",
		             DB_TEXT(sql_numbers(ctx, ids, count)), DB_TEXT(chunk_state_text(from)),
		             DB_TEXT(chunk_state_text(to))));
	*changed = db_affected(rows);
	return ERR_OK;
}

struct chunk chunk_from_row(const struct db_rows *rows, size_t row, size_t column)
{
	return (struct chunk){
	    .id = db_number(rows, row, column),
	    .sha256 = db_digest(rows, row, column + 1),
	    .size = (size_t)db_number(rows, row, column + 2),
	    .stored_size = (size_t)db_number(rows, row, column + 3),
	    .zstd = !db_is_null(rows, row, column + 4) && strcmp(db_text(rows, row, column + 4), "zstd") == 0,
	    .driver = db_text(rows, row, column + 5),
	};
}

/* ---- putting ---- */

struct put {
	struct store *store;
	const struct digest *sha256;
	size_t len;         /* of the content */
	const void *stored; /* what goes to the back end */
	size_t stored_len;
	bool zstd;
	bool known; /* result: it was there */
};

/* Is it live? Then it stays for another grace period. */
static enum err_code touch(struct db *db, const struct put *p, bool *live, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT touched_at > now() - $3::bigint * interval '1 millisecond' FROM objects.chunk"
	             " WHERE store = $1 AND sha256 = $2 AND state = 'live'",
	             DB_TEXT(p->store->name), DB_DIGEST(p->sha256), DB_NUMBER(p->store->grace_ms / TOUCH_PART)));
	*live = db_count(rows) == 1;
	if (!*live || db_flag(rows, 0, 0))
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.chunk SET touched_at = now() WHERE store = $1 AND sha256 = $2 AND state = 'live'",
	             DB_TEXT(p->store->name), DB_DIGEST(p->sha256)));
	*live = db_affected(rows) == 1;
	return ERR_OK;
}

/* Row and bytes in one transaction. 0 rows: somebody has it live. */
static enum err_code insert_live(struct db *db, struct put *p, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct location at = {.sha256 = *p->sha256};

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, driver, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, 'live')"
	             " ON CONFLICT (store, sha256) WHERE state = 'live' DO NOTHING RETURNING id",
	             DB_TEXT(p->store->name), DB_DIGEST(p->sha256), DB_NUMBER(p->len), DB_NUMBER(p->stored_len),
	             DB_TEXT(p->zstd ? "zstd" : "none"), DB_TEXT(p->store->driver->name)));
	p->known = db_count(rows) == 0;
	if (p->known)
		return ERR_OK;
	at.number = db_number(rows, 0, 0);
	return p->store->driver->put_within(p->store->conn, db, &at, p->stored, p->stored_len, e);
}

static enum err_code put_together_body(struct db *db, void *arg, struct err *e)
{
	struct put *p = arg;

	for (int i = 0; i < TRIES; i++) {
		if (p->len > LOOK_FIRST || i > 0) {
			TRY(touch(db, p, &p->known, e));
			if (p->known)
				return ERR_OK;
		}
		TRY(insert_live(db, p, e));
		if (!p->known)
			return ERR_OK;
	}
	return ERR(e, ERR_CONFLICT, "chunk %s comes and goes", digest_text(p->sha256).text);
}

static enum err_code record_intent(struct put *p, int64_t *id, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(p->store->db, WAIT_MS, &db, e));
	TRY(touch(db, p, &p->known, e));
	if (p->known)
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, driver, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, 'writing') RETURNING id",
	             DB_TEXT(p->store->name), DB_DIGEST(p->sha256), DB_NUMBER(p->len), DB_NUMBER(p->stored_len),
	             DB_TEXT(p->zstd ? "zstd" : "none"), DB_TEXT(p->store->driver->name)));
	*id = db_number(rows, 0, 0);
	return ERR_OK;
}

/* The bytes are there. If another put was faster, ours are not needed; if the sweep took us for dead, they are removed
 * here, because it may have looked before they came. */
static enum err_code become_live(struct put *p, const struct location *at, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	size_t changed;
	enum err_code code;

	TRY(db_acquire(p->store->db, WAIT_MS, &db, e));
	code = chunk_set_state(db, &at->number, 1, CHUNK_WRITING, CHUNK_LIVE, &changed, e);
	if (code == ERR_CONFLICT) {
		p->known = true;
		return chunk_set_state(db, &at->number, 1, CHUNK_WRITING, CHUNK_DELETING, &changed, e);
	}
	TRY(code);
	if (changed == 1)
		return ERR_OK;
	TRY(p->store->driver->remove(p->store->conn, at, 1, e));
	return ERR(e, ERR_CONFLICT, "writing chunk %s took longer than gc_write_grace", digest_text(p->sha256).text);
}

static enum err_code put_in_steps(struct put *p, struct err *e)
{
	struct location at = {.sha256 = *p->sha256};

	TRY(record_intent(p, &at.number, e));
	if (p->known)
		return ERR_OK;
	FAULT_POINT("put-after-intent");
	if (p->store->driver->put(p->store->conn, &at, p->stored, p->stored_len, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s", p->store->name, p->store->driver->name);
	FAULT_POINT("put-after-backend");
	TRY(become_live(p, &at, e));
	FAULT_POINT("put-after-live");
	return ERR_OK;
}

static enum err_code compress(const struct store *s, TALLOC_CTX *ctx, const void *bytes, struct put *p, struct err *e)
{
	void *smaller;
	size_t len;

	p->stored = bytes;
	p->stored_len = p->len;
	if (!s->compress || p->len < s->compress_min)
		return ERR_OK;
	TRY(zstd_compress_block(ctx, bytes, p->len, s->level, &smaller, &len, e));
	if (!smaller)
		return ERR_OK;
	p->zstd = true;
	p->stored = smaller;
	p->stored_len = len;
	return ERR_OK;
}

enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct put p = {.store = s, .sha256 = sha256, .len = len};
	struct digest found;

	*stored_bytes = 0;
	if (len == 0 || len > CHUNK_MAX)
		return ERR(e, ERR_INVALID, "a chunk of %zu bytes, allowed are 1 to %zu", len, CHUNK_MAX);
	found = digest_of(bytes, len);
	if (!digest_equal(&found, sha256))
		return ERR(e, ERR_INVALID, "chunk %s has digest %s", digest_text(sha256).text,
		           digest_text(&found).text);
	TRY(compress(s, ctx, bytes, &p, e));
	TRY(s->driver->put_within ? db_transaction(s->db, put_together_body, &p, e) : put_in_steps(&p, e));
	metric_add(p.known ? &known_total : &puts_total, 1);
	*stored_bytes = p.known ? 0 : p.stored_len;
	return ERR_OK;
}

/* ---- getting ---- */

static enum err_code damaged(const struct store *s, const struct chunk *c, const char *how, struct err *e)
{
	metric_add(&corrupt_total, 1);
	ERR(e, ERR_CORRUPT, "%s: chunk %s (number %" PRId64 ", back end %s) %s", s->name, digest_text(&c->sha256).text,
	    c->id, c->driver, how);
	LOG_ERROR("chunk damaged", LOG_TEXT("store", s->name), LOG_TEXT("sha256", digest_text(&c->sha256).text),
	          LOG_NUMBER("number", c->id), LOG_TEXT("how", how));
	return ERR_CORRUPT;
}

static enum err_code fetch(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, void **stored, struct err *e)
{
	struct location at = {c->sha256, c->id};
	size_t got = 0;
	enum err_code code;

	if (strcmp(c->driver, s->driver->name) != 0)
		return ERR(e, ERR_UNAVAILABLE, "%s: chunk %s is in back end %s, which is not configured", s->name,
		           digest_text(&c->sha256).text, c->driver);
	*stored = talloc_size(ctx, MAX(c->stored_size, (size_t)1));
	ASSERT(*stored);
	metric_add(&gets_total, 1);
	code = s->driver->get(s->conn, &at, *stored, c->stored_size, &got, e);
	if (code == ERR_NOT_FOUND)
		return damaged(s, c, "is not there", e);
	if (code == ERR_CORRUPT || (code == ERR_OK && got != c->stored_size))
		return damaged(s, c, "has another length", e);
	return code;
}

enum err_code chunk_get(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, void **bytes, struct err *e)
{
	void *stored, *content;
	struct digest found;

	if (c->size > CHUNK_MAX || c->stored_size > CHUNK_MAX)
		return damaged(s, c, "has a row with an impossible size", e);
	TRY(fetch(s, ctx, c, &stored, e));
	content = stored;
	if (c->zstd) {
		if (zstd_decompress_block(ctx, stored, c->stored_size, c->size, &content, e) != ERR_OK)
			return damaged(s, c, "does not decompress", e);
		talloc_free(stored);
	} else if (c->stored_size != c->size) {
		return damaged(s, c, "has a row that contradicts itself", e);
	}
	found = digest_of(content, c->size);
	if (!digest_equal(&found, &c->sha256))
		return damaged(s, c, "has another digest", e);
	*bytes = content;
	return ERR_OK;
}

/* ---- asking ---- */

enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	const char *wanted = sql_digests(ctx, sha256, count);
	struct db_rows *rows;

	TRY(db_acquire(s->db, WAIT_MS, &db, e));
	TRY(db_query(
	    db, NULL, NULL, e,
	    "UPDATE objects.chunk SET touched_at = now() WHERE id IN ("
	    "  SELECT id FROM objects.chunk WHERE store = $1 AND sha256 = ANY ($2::bytea[]) AND state = 'live'"
	    "  AND suspect AND touched_at <= now() - $3::bigint * interval '1 millisecond' ORDER BY id FOR UPDATE)",
	    DB_TEXT(s->name), DB_TEXT(wanted), DB_NUMBER(s->grace_ms / TOUCH_PART)));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT w.sha256 FROM unnest($2::bytea[]) AS w (sha256) WHERE NOT EXISTS ("
	             "  SELECT 1 FROM objects.chunk c WHERE c.store = $1 AND c.sha256 = w.sha256 AND c.state = 'live')",
	             DB_TEXT(s->name), DB_TEXT(wanted)));
	*missing_count = MIN(db_count(rows), count);
	for (size_t i = 0; i < *missing_count; i++)
		missing[i] = db_digest(rows, i, 0);
	return ERR_OK;
}
