#include "common/fault.h"
#include "services/object-store-gateway/object_at_once.h"
#include "services/object-store-gateway/prefix.h"
#include "services/object-store-gateway/quota.h"
#include "services/object-store-gateway/sql_array.h"

#include <inttypes.h>
#include <string.h>

#define TRIES 5
#define LOOKS 3 /* at rows that somebody else may just be replacing */

/* One commit, with what its transaction finds out on the way. */
struct commit {
	struct store *store;
	const struct object_path *path;
	const struct object_content *content;
	struct chunk_write *write; /* of the only chunk, when it comes along; else NULL */
	int64_t landed;            /* its number, when its bytes are in the back end and only its row is not live yet */
	int64_t *chunks;           /* numbers of the content's chunks, in order */
	bool replaced;
	int64_t size_before; /* of what is replaced */
};

static const char *metadata_of(const struct commit *c)
{
	return c->content->metadata ? c->content->metadata : "{}";
}

/* ---- its chunks ---- */

static enum err_code check_sizes(const struct commit *c, const int64_t *sizes, struct err *e)
{
	const struct object_content *content = c->content;
	int64_t total = 0;

	for (size_t i = 0; i < content->chunk_count; i++) {
		if (!sizes[i])
			return ERR(e, ERR_PRECONDITION, "%s has no chunk %s, which %s/%s names", c->store->name,
			           digest_text(&content->chunks[i]).text, c->path->bucket, c->path->key);
		if (i + 1 < content->chunk_count && sizes[i] != (int64_t)CHUNK_MAX)
			return ERR(e, ERR_INVALID,
			           "chunk %zu of %s/%s has %" PRId64 " bytes; all but the last have %zu", i,
			           c->path->bucket, c->path->key, sizes[i], CHUNK_MAX);
		total += sizes[i];
	}
	if (total != content->size)
		return ERR(e, ERR_INVALID,
		           "the chunks of %s/%s have %" PRId64 " bytes together, the size says %" PRId64,
		           c->path->bucket, c->path->key, total, content->size);
	return ERR_OK;
}

/* Chunks of the content that are there, and stay live until the transaction ends. LIMIT keeps the planner from joining
 * with all chunks of the store when it has no statistics yet. */
static enum err_code hold_those_there(struct db *db, TALLOC_CTX *ctx, struct commit *c, int64_t *sizes, bool *all,
                                      struct err *e)
{
	size_t count = c->content->chunk_count;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT w.n, c.id, c.size FROM unnest($2::bytea[]) WITH ORDINALITY AS w (sha256, n),"
	             " LATERAL (SELECT id, size FROM objects.chunk"
	             "   WHERE store = $1 AND sha256 = w.sha256 AND state = 'live' AND NOT damaged"
	             "   LIMIT 1 FOR KEY SHARE) AS c",
	             DB_TEXT(c->store->name), DB_TEXT(sql_digests(ctx, c->content->chunks, count))));
	for (size_t i = 0; i < db_count(rows); i++) {
		size_t at = (size_t)db_number(rows, i, 0) - 1;

		ASSERT(at < count);
		c->chunks[at] = db_number(rows, i, 1);
		sizes[at] = db_number(rows, i, 2);
	}
	*all = db_count(rows) == count;
	return ERR_OK;
}

/* A row that was waited for may have been replaced by another with its content (chunk_rewrite), which the statement
 * that waited does not see, and the next one does. */
static enum err_code hold_chunks(struct db *db, TALLOC_CTX *ctx, struct commit *c, struct err *e)
{
	size_t count = c->content->chunk_count;
	int64_t *sizes = talloc_zero_array(ctx, int64_t, count + 1);
	bool all = count == 0;

	ASSERT(sizes);
	for (int i = 0; i < LOOKS && !all; i++)
		TRY(hold_those_there(db, ctx, c, sizes, &all, e));
	return count ? check_sizes(c, sizes, e) : ERR_OK;
}

static enum err_code find_chunks(struct db *db, TALLOC_CTX *ctx, struct commit *c, struct err *e)
{
	c->chunks = talloc_zero_array(ctx, int64_t, c->content->chunk_count + 1);
	ASSERT(c->chunks);
	if (c->landed) {
		c->chunks[0] = c->landed;
		return chunk_write_live(db, c->write, c->landed, e);
	}
	if (c->write) {
		TRY(chunk_write_within(db, c->write, &c->chunks[0], e));
		if (c->chunks[0])
			return ERR_OK; /* of this very transaction: nobody can take it */
	}
	return hold_chunks(db, ctx, c, e);
}

/* ---- the object's row ---- */

/* Row and chunk list; *made is false when the key is in use. */
static enum err_code insert_object(struct db *db, TALLOC_CTX *ctx, const struct commit *c, const char *chunks,
                                   bool *made, struct err *e)
{
	const struct object_path *p = c->path;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "WITH o AS (INSERT INTO objects.object (store, account, bucket, key, size, sha256, metadata)"
	             "   VALUES ($1, $2, $3, $4, $5, $6, $7)"
	             "   ON CONFLICT (store, account, bucket, key) DO NOTHING RETURNING id),"
	             " list AS (INSERT INTO objects.object_chunk (object, seq, chunk)"
	             "   SELECT o.id, w.n - 1, w.chunk FROM o, unnest($8::bigint[]) WITH ORDINALITY AS w (chunk, n)),"
	             " " QUOTA_CHARGE("$5", "1", "EXISTS (SELECT 1 FROM o)") " SELECT o.id, " QUOTA_COLUMNS
	                                                                     " FROM o LEFT JOIN quota ON true",
	             DB_TEXT(c->store->name), DB_TEXT(p->account), DB_TEXT(p->bucket), DB_TEXT(p->key),
	             DB_NUMBER(c->content->size), DB_DIGEST(&c->content->sha256), DB_TEXT(metadata_of(c)),
	             DB_TEXT(chunks)));
	*made = db_count(rows) == 1;
	return *made ? quota_check(c->store, p->account, rows, 1, e) : ERR_OK;
}

/* *id is 0 when the key is not in use. Held until the transaction ends. */
static enum err_code lock_object(struct db *db, TALLOC_CTX *ctx, struct commit *c, int64_t *id, struct err *e)
{
	const struct object_path *p = c->path;
	struct db_rows *rows;
	struct digest before;

	*id = 0;
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, sha256, size FROM objects.object"
	             " WHERE store = $1 AND account = $2 AND bucket = $3 AND key = $4 FOR UPDATE",
	             DB_TEXT(c->store->name), DB_TEXT(p->account), DB_TEXT(p->bucket), DB_TEXT(p->key)));
	if (!db_count(rows))
		return ERR_OK;
	*id = db_number(rows, 0, 0);
	before = db_digest(rows, 0, 1);
	c->replaced = !digest_equal(&before, &c->content->sha256);
	c->size_before = db_number(rows, 0, 2);
	return ERR_OK;
}

/* In order of numbers, as everywhere. *all: each chunk that the objects name was live, and is locked now. */
static enum err_code suspect_those_named(struct db *db, const char *objects, bool *all, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(
	    db, ctx, &rows, e,
	    "WITH named AS (SELECT DISTINCT chunk FROM objects.object_chunk WHERE object = ANY ($1::bigint[])),"
	    " held AS (SELECT id FROM objects.chunk WHERE id IN (SELECT chunk FROM named)"
	    "   ORDER BY id FOR NO KEY UPDATE),"
	    " marked AS (UPDATE objects.chunk SET suspect = true, touched_at = now()"
	    "   WHERE id IN (SELECT id FROM held) AND state = 'live' RETURNING id)"
	    " SELECT (SELECT count(*) FROM named) = (SELECT count(*) FROM marked)",
	    DB_TEXT(objects)));
	*all = db_flag(rows, 0, 0);
	return ERR_OK;
}

/* What these objects no longer name may be named by nobody. Suspecting too much does no harm; what is missed stays for
 * ever. So it looks again when a row that it waited for was replaced meanwhile by another one (chunk_rewrite): the
 * objects name that one now. */
static enum err_code suspect_chunks_of(struct db *db, const char *objects, struct err *e)
{
	bool all = false;

	for (int i = 0; i < LOOKS && !all; i++)
		TRY(suspect_those_named(db, objects, &all, e));
	return ERR_OK;
}

static enum err_code has_chunks(struct db *db, TALLOC_CTX *ctx, int64_t id, const char *chunks, bool *has,
                                struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT coalesce(array_agg(chunk ORDER BY seq), '{}') = $2::bigint[] FROM objects.object_chunk"
	             " WHERE object = $1",
	             DB_NUMBER(id), DB_TEXT(chunks)));
	*has = db_flag(rows, 0, 0);
	return ERR_OK;
}

/* When the same content is committed again, as a message that came twice does, its time stays. */
static enum err_code replace_object(struct db *db, TALLOC_CTX *ctx, const struct commit *c, int64_t id,
                                    const char *chunks, struct err *e)
{
	bool has;

	TRY(db_query(db, NULL, NULL, e,
	             "UPDATE objects.object SET size = $2, sha256 = $3, metadata = $4,"
	             " created_at = CASE WHEN sha256 = $3 THEN created_at ELSE now() END WHERE id = $1",
	             DB_NUMBER(id), DB_NUMBER(c->content->size), DB_DIGEST(&c->content->sha256),
	             DB_TEXT(metadata_of(c))));
	TRY(has_chunks(db, ctx, id, chunks, &has, e));
	if (has)
		return ERR_OK;
	TRY(suspect_chunks_of(db, sql_numbers(ctx, &id, 1), e));
	TRY(db_query(db, NULL, NULL, e, "DELETE FROM objects.object_chunk WHERE object = $1", DB_NUMBER(id)));
	TRY(db_query(db, NULL, NULL, e,
	             "INSERT INTO objects.object_chunk (object, seq, chunk)"
	             " SELECT $1::bigint, w.n - 1, w.chunk FROM unnest($2::bigint[]) WITH ORDINALITY AS w (chunk, n)",
	             DB_NUMBER(id), DB_TEXT(chunks)));
	return quota_charge(db, c->store, c->path->account, c->content->size - c->size_before, 0, e);
}

/* ---- commit ---- */

static enum err_code commit_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct commit *c = arg;
	const char *chunks;

	c->replaced = false;
	TRY(find_chunks(db, ctx, c, e));
	chunks = sql_numbers(ctx, c->chunks, c->content->chunk_count);
	for (int i = 0; i < TRIES; i++) {
		bool made;
		int64_t id;

		TRY(insert_object(db, ctx, c, chunks, &made, e));
		if (made)
			return ERR_OK;
		TRY(lock_object(db, ctx, c, &id, e));
		if (id)
			return replace_object(db, ctx, c, id, chunks, e);
	}
	return ERR(e, ERR_UNAVAILABLE, "%s/%s comes and goes", c->path->bucket, c->path->key);
}

/* What can be said without looking at any row. */
static enum err_code check_content(const struct object_path *path, const struct object_content *content, struct err *e)
{
	struct digest empty = digest_of("", 0);

	if (content->metadata && strlen(content->metadata) > OBJECT_METADATA_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s/%s has %zu bytes of metadata, at most %zu are allowed", path->bucket,
		           path->key, strlen(content->metadata), (size_t)OBJECT_METADATA_MAX);
	if (content->chunk_count == 0 && (content->size != 0 || !digest_equal(&content->sha256, &empty)))
		return ERR(e, ERR_INVALID, "%s/%s has no chunks, so its size is 0 and its digest %s", path->bucket,
		           path->key, digest_text(&empty).text);
	if (content->chunk_count == 1 && !digest_equal(&content->sha256, &content->chunks[0]))
		return ERR(e, ERR_INVALID, "%s/%s has one chunk, %s, and says its digest is %s", path->bucket,
		           path->key, digest_text(&content->chunks[0]).text, digest_text(&content->sha256).text);
	return ERR_OK;
}

static enum err_code run_commit(struct commit *c, struct err *e)
{
	FAULT_POINT("commit-before");
	TRY(db_transaction(c->store->db, commit_body, c, e));
	FAULT_POINT("commit-after");
	return ERR_OK;
}

enum err_code object_commit(struct store *s, const struct object_path *path, const struct object_content *content,
                            bool *replaced, struct err *e)
{
	struct commit c = {.store = s, .path = path, .content = content};

	TRY(object_path_check(path, e));
	TRY(check_content(path, content, e));
	TRY(run_commit(&c, e));
	*replaced = c.replaced;
	return ERR_OK;
}

/* By one statement, or else by a transaction; what the one wrote, the other finds there. */
static enum err_code run_put(struct commit *c, struct err *e)
{
	bool put, known;

	c->replaced = false;
	FAULT_POINT("commit-before");
	TRY(object_put_at_once(c->store, c->path, c->content, c->write, &put, e));
	known = c->write->known;
	if (!put) {
		TRY(db_transaction(c->store->db, commit_body, c, e));
		c->write->known &= known;
	}
	FAULT_POINT("commit-after");
	return ERR_OK;
}

static enum err_code put_together(struct commit *c, const void *bytes, size_t *stored_bytes, struct err *e)
{
	SCRATCH_CTX(ctx);
	enum err_code code;

	TRY(chunk_write_new(c->store, ctx, &c->content->sha256, bytes, (size_t)c->content->size, &c->write, e));
	code = run_put(c, e);
	if (code == ERR_CORRUPT) { /* the content is there, and damaged */
		TRY(chunk_put(c->store, &c->content->sha256, bytes, (size_t)c->content->size, stored_bytes, e));
		code = run_commit(c, e);
	}
	TRY(code);
	*stored_bytes += chunk_write_stored(c->write);
	return ERR_OK;
}

/* The chunk is made live by the transaction that names it: a flush less. */
static enum err_code commit_landed(struct commit *c, size_t *stored_bytes, struct err *e)
{
	enum err_code code = run_commit(c, e);
	struct err ignored;

	if (code == ERR_OK) {
		*stored_bytes += chunk_write_stored(c->write);
		return ERR_OK;
	}
	/* Whether it was committed may be unknown. If nobody names it, the sweep judges it like any chunk that is
	 * there. */
	if (chunk_write_end(c->write, c->landed, &ignored) == ERR_OK)
		*stored_bytes += chunk_write_stored(c->write);
	return code == ERR_CONFLICT ? ERR_PRECONDITION : code;
}

static enum err_code put_apart(struct commit *c, const void *bytes, size_t *stored_bytes, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct object_content *content = c->content;
	enum err_code code;

	c->landed = 0;
	TRY(chunk_write_new(c->store, ctx, &content->sha256, bytes, (size_t)content->size, &c->write, e));
	code = chunk_write_bytes(c->write, &c->landed, e);
	if (code == ERR_OK && c->landed) {
		code = commit_landed(c, stored_bytes, e);
	} else {
		if (code == ERR_OK)
			(void)chunk_write_stored(c->write); /* nothing, which counts, too */
		c->write = NULL;
		if (code == ERR_CORRUPT) /* the content is there, and damaged */
			code = chunk_put(c->store, &content->sha256, bytes, (size_t)content->size, stored_bytes, e);
		if (code == ERR_OK)
			code = run_commit(c, e);
	}
	c->write = NULL;
	c->landed = 0;
	return code;
}

enum err_code object_put(struct store *s, const struct object_path *path, const struct object_content *content,
                         const void *bytes, bool *replaced, size_t *stored_bytes, struct err *e)
{
	struct object_content whole = *content;
	struct commit c = {.store = s, .path = path, .content = &whole};
	enum err_code code = ERR_PRECONDITION;

	whole.chunks = &content->sha256;
	whole.chunk_count = content->size > 0;
	*stored_bytes = 0;
	if (!whole.chunk_count)
		return object_commit(s, path, &whole, replaced, e);
	TRY(object_path_check(path, e));
	TRY(check_content(path, &whole, e));
	/* Again when the sweep took the chunk between finding it there and naming it. */
	for (int i = 0; i < TRIES && code == ERR_PRECONDITION; i++)
		code = (s->current->driver->put_within ? put_together : put_apart)(&c, bytes, stored_bytes, e);
	*replaced = c.replaced;
	if (code == ERR_PRECONDITION)
		return ERR(e, ERR_UNAVAILABLE, "the sweep took the chunk of %s/%s %d times", path->bucket, path->key,
		           TRIES);
	return code;
}

/* ---- deleting ---- */

struct removal {
	struct store *store;
	const struct object_path *path;
	bool prefix;
	int64_t deleted;
};

static enum err_code find_doomed(struct db *db, TALLOC_CTX *ctx, const struct removal *r, struct db_rows **rows,
                                 struct err *e)
{
	const struct object_path *p = r->path;
	const char *end = r->prefix ? prefix_end(ctx, p->key) : NULL;

	if (!r->prefix)
		return db_query(db, ctx, rows, e,
		                "SELECT id, size FROM objects.object"
		                " WHERE store = $1 AND account = $2 AND bucket = $3 AND key = $4 FOR UPDATE",
		                DB_TEXT(r->store->name), DB_TEXT(p->account), DB_TEXT(p->bucket), DB_TEXT(p->key));
	if (!end)
		return db_query(db, ctx, rows, e,
		                "SELECT id, size FROM objects.object WHERE store = $1 AND account = $2 AND bucket = $3"
		                " AND key >= $4 ORDER BY key LIMIT $5 FOR UPDATE",
		                DB_TEXT(r->store->name), DB_TEXT(p->account), DB_TEXT(p->bucket), DB_TEXT(p->key),
		                DB_NUMBER(OBJECT_DELETE_BATCH));
	return db_query(db, ctx, rows, e,
	                "SELECT id, size FROM objects.object WHERE store = $1 AND account = $2 AND bucket = $3"
	                " AND key >= $4 AND key < $5 ORDER BY key LIMIT $6 FOR UPDATE",
	                DB_TEXT(r->store->name), DB_TEXT(p->account), DB_TEXT(p->bucket), DB_TEXT(p->key), DB_TEXT(end),
	                DB_NUMBER(OBJECT_DELETE_BATCH));
}

static enum err_code delete_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct removal *r = arg;
	struct db_rows *rows;
	int64_t *numbers, bytes = 0;
	const char *ids;

	TRY(find_doomed(db, ctx, r, &rows, e));
	r->deleted = (int64_t)db_count(rows);
	if (!r->deleted)
		return ERR_OK;
	numbers = talloc_zero_array(ctx, int64_t, db_count(rows));
	ASSERT(numbers);
	for (size_t i = 0; i < db_count(rows); i++) {
		numbers[i] = db_number(rows, i, 0);
		bytes += db_number(rows, i, 1);
	}
	ids = sql_numbers(ctx, numbers, db_count(rows));
	TRY(suspect_chunks_of(db, ids, e));
	TRY(db_query(db, NULL, NULL, e, "DELETE FROM objects.object WHERE id = ANY ($1::bigint[])", DB_TEXT(ids)));
	return quota_charge(db, r->store, r->path->account, -bytes, -r->deleted, e);
}

enum err_code object_delete(struct store *s, const struct object_path *path, bool *existed, struct err *e)
{
	struct removal r = {.store = s, .path = path};

	TRY(object_path_check(path, e));
	TRY(db_transaction(s->db, delete_body, &r, e));
	*existed = r.deleted > 0;
	return ERR_OK;
}

enum err_code object_delete_prefix(struct store *s, const struct object_path *path, int64_t *deleted, bool *more,
                                   struct err *e)
{
	struct removal r = {.store = s, .path = path, .prefix = true};

	TRY(object_path_check(path, e));
	TRY(db_transaction(s->db, delete_body, &r, e));
	*deleted = r.deleted;
	*more = r.deleted == OBJECT_DELETE_BATCH;
	return ERR_OK;
}
