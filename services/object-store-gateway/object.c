#include "services/object-store-gateway/object.h"

#include "common/fault.h"
#include "services/object-store-gateway/sql_array.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_MS 10000
#define PREFIX_BATCH 1000
#define BUCKET_MAX 64
#define KEY_MAX 1024

enum err_code object_path_check(const struct object_path *name, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t len = name->bucket ? strlen(name->bucket) : 0;

	if (!name->account || !*name->account)
		return ERR(e, ERR_INVALID, "the request names no account");
	if (len == 0 || len > BUCKET_MAX || strspn(name->bucket, letters) != len)
		return ERR(e, ERR_INVALID, "\"%s\" is not a bucket: 1 to %d of a-z 0-9 - _ .",
		           name->bucket ? name->bucket : "", BUCKET_MAX);
	if (!name->key || !*name->key || strlen(name->key) > KEY_MAX)
		return ERR(e, ERR_INVALID, "a key in bucket %s has 1 to %d bytes", name->bucket, KEY_MAX);
	return ERR_OK;
}

static enum err_code missing(const struct store *s, const struct object_path *name, struct err *e)
{
	return ERR(e, ERR_NOT_FOUND, "%s has no object %s/%s of account %s", s->name, name->bucket, name->key,
	           name->account);
}

/* ---- writing ---- */

struct commit {
	struct store *store;
	const struct object_path *name;
	const struct object_content *content;
	int64_t *chunk_ids; /* of content->chunks */
	bool replaced;
};

/* Chunks stay where they are until this transaction ends: the sweep skips locked rows. */
static enum err_code lock_chunks(struct db *db, TALLOC_CTX *ctx, const struct commit *c, struct db_rows **rows,
                                 struct err *e)
{
	return db_query(db, ctx, rows, e,
	                "SELECT w.n, c.id, c.size FROM objects.chunk c"
	                " JOIN unnest($2::bytea[]) WITH ORDINALITY AS w (sha256, n) ON w.sha256 = c.sha256"
	                " WHERE c.store = $1 AND c.state = 'live' ORDER BY c.id FOR SHARE OF c",
	                DB_TEXT(c->store->name),
	                DB_TEXT(sql_digests(ctx, c->content->chunks, c->content->chunk_count)));
}

static enum err_code check_sizes(const struct commit *c, const int64_t *sizes, struct err *e)
{
	const struct object_content *content = c->content;
	int64_t total = 0;

	for (size_t i = 0; i < content->chunk_count; i++) {
		if (!sizes[i])
			return ERR(e, ERR_PRECONDITION, "%s has no chunk %s, which %s/%s names", c->store->name,
			           digest_text(&content->chunks[i]).text, c->name->bucket, c->name->key);
		if (i + 1 < content->chunk_count && sizes[i] != (int64_t)CHUNK_MAX)
			return ERR(e, ERR_INVALID,
			           "chunk %zu of %s/%s has %" PRId64 " bytes; all but the last have %zu", i,
			           c->name->bucket, c->name->key, sizes[i], CHUNK_MAX);
		total += sizes[i];
	}
	if (total != content->size)
		return ERR(e, ERR_INVALID,
		           "the chunks of %s/%s have %" PRId64 " bytes together, the size says %" PRId64,
		           c->name->bucket, c->name->key, total, content->size);
	return ERR_OK;
}

static enum err_code find_chunks(struct db *db, TALLOC_CTX *ctx, struct commit *c, struct err *e)
{
	int64_t *sizes = talloc_zero_array(ctx, int64_t, c->content->chunk_count + 1);
	struct db_rows *rows;

	c->chunk_ids = talloc_zero_array(ctx, int64_t, c->content->chunk_count + 1);
	ASSERT(sizes && c->chunk_ids);
	TRY(lock_chunks(db, ctx, c, &rows, e));
	for (size_t i = 0; i < db_count(rows); i++) {
		size_t at = (size_t)db_number(rows, i, 0) - 1;

		ASSERT(at < c->content->chunk_count);
		c->chunk_ids[at] = db_number(rows, i, 1);
		sizes[at] = db_number(rows, i, 2);
	}
	return check_sizes(c, sizes, e);
}

/* What no longer is named by this object may be named by nobody. In order of ids, so that two of these never deadlock.
 */
static enum err_code suspect_chunks_of(struct db *db, const char *objects, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "UPDATE objects.chunk SET suspect = true, touched_at = now() WHERE id IN ("
	                "  SELECT id FROM objects.chunk WHERE id IN ("
	                "    SELECT chunk FROM objects.object_chunk WHERE object = ANY ($1::bigint[]))"
	                "  ORDER BY id FOR UPDATE)",
	                DB_TEXT(objects));
}

static enum err_code write_object(struct db *db, TALLOC_CTX *ctx, struct commit *c, int64_t *id, struct err *e)
{
	const struct object_path *n = c->name;
	struct db_rows *rows;

	TRY(db_query(
	    db, ctx, &rows, e,
	    "SELECT id, sha256 FROM objects.object WHERE store = $1 AND account = $2 AND bucket = $3 AND key = $4"
	    " FOR UPDATE",
	    DB_TEXT(c->store->name), DB_TEXT(n->account), DB_TEXT(n->bucket), DB_TEXT(n->key)));
	if (db_count(rows)) {
		struct digest before = db_digest(rows, 0, 1);

		c->replaced = !digest_equal(&before, &c->content->sha256);
		TRY(suspect_chunks_of(db, sql_numbers(ctx, &(int64_t){db_number(rows, 0, 0)}, 1), e));
	}
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.object (store, account, bucket, key, size, sha256, metadata)"
	             " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (store, account, bucket, key) DO UPDATE"
	             " SET size = EXCLUDED.size, sha256 = EXCLUDED.sha256, metadata = EXCLUDED.metadata,"
	             " created_at = now() RETURNING id",
	             DB_TEXT(c->store->name), DB_TEXT(n->account), DB_TEXT(n->bucket), DB_TEXT(n->key),
	             DB_NUMBER(c->content->size), DB_DIGEST(&c->content->sha256),
	             DB_TEXT(c->content->metadata ? c->content->metadata : "{}")));
	*id = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code commit_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct commit *c = arg;
	int64_t id;

	c->replaced = false;
	if (c->content->chunk_count)
		TRY(find_chunks(db, ctx, c, e));
	TRY(write_object(db, ctx, c, &id, e));
	/* A first commit of the same key at the same time may have left chunks that were not seen above. */
	TRY(suspect_chunks_of(db, sql_numbers(ctx, &id, 1), e));
	TRY(db_query(db, NULL, NULL, e, "DELETE FROM objects.object_chunk WHERE object = $1", DB_NUMBER(id)));
	if (!c->content->chunk_count)
		return ERR_OK;
	return db_query(db, NULL, NULL, e,
	                "INSERT INTO objects.object_chunk (object, seq, chunk)"
	                " SELECT $1::bigint, w.n - 1, w.id FROM unnest($2::bigint[]) WITH ORDINALITY AS w (id, n)",
	                DB_NUMBER(id), DB_TEXT(sql_numbers(ctx, c->chunk_ids, c->content->chunk_count)));
}

/* What can be said without looking at any row. */
static enum err_code check_content(const struct object_path *name, const struct object_content *content, struct err *e)
{
	struct digest empty = digest_of("", 0);

	if (content->chunk_count == 0 && (content->size != 0 || !digest_equal(&content->sha256, &empty)))
		return ERR(e, ERR_INVALID, "%s/%s has no chunks, so its size is 0 and its digest %s", name->bucket,
		           name->key, digest_text(&empty).text);
	if (content->chunk_count == 1 && !digest_equal(&content->sha256, &content->chunks[0]))
		return ERR(e, ERR_INVALID, "%s/%s has one chunk, %s, and says its digest is %s", name->bucket,
		           name->key, digest_text(&content->chunks[0]).text, digest_text(&content->sha256).text);
	return ERR_OK;
}

enum err_code object_commit(struct store *s, const struct object_path *name, const struct object_content *content,
                            bool *replaced, struct err *e)
{
	struct commit c = {.store = s, .name = name, .content = content};

	TRY(object_path_check(name, e));
	TRY(check_content(name, content, e));
	FAULT_POINT("commit-before");
	TRY(db_transaction(s->db, commit_body, &c, e));
	FAULT_POINT("commit-after");
	*replaced = c.replaced;
	return ERR_OK;
}

/* ---- reading ---- */

enum err_code object_find(struct store *s, TALLOC_CTX *ctx, const struct object_path *name, int64_t first, int64_t last,
                          struct object *out, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(object_path_check(name, e));
	TRY(db_acquire(s->db, WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT o.id, o.size, o.sha256, o.metadata, (extract(epoch FROM o.created_at) * "
	             "1000)::bigint, " CHUNK_COLUMNS(
			 "c") " FROM objects.object o"
	                      " LEFT JOIN objects.object_chunk oc ON oc.object = o.id AND oc.seq BETWEEN $5 AND $6"
	                      " LEFT JOIN objects.chunk c ON c.id = oc.chunk"
	                      " WHERE o.store = $1 AND o.account = $2 AND o.bucket = $3 AND o.key = $4 ORDER BY oc.seq",
	             DB_TEXT(s->name), DB_TEXT(name->account), DB_TEXT(name->bucket), DB_TEXT(name->key),
	             DB_NUMBER(first), DB_NUMBER(last)));
	if (!db_count(rows))
		return missing(s, name, e);
	*out = (struct object){
	    .id = db_number(rows, 0, 0),
	    .size = db_number(rows, 0, 1),
	    .sha256 = db_digest(rows, 0, 2),
	    .metadata = db_text(rows, 0, 3),
	    .created_at = db_number(rows, 0, 4),
	    .chunks = talloc_zero_array(ctx, struct chunk, db_count(rows)),
	};
	ASSERT(out->chunks);
	for (size_t i = 0; i < db_count(rows) && !db_is_null(rows, i, 5); i++)
		out->chunks[out->chunk_count++] = chunk_from_row(rows, i, 5);
	return ERR_OK;
}

/* The part of the chunks, of which the first starts at first_offset, that lies in offset..end. */
static enum err_code join_parts(struct store *s, TALLOC_CTX *ctx, const struct object *o, int64_t first_offset,
                                int64_t offset, int64_t end, char *into, struct err *e)
{
	int64_t at = first_offset;

	for (size_t i = 0; i < o->chunk_count; i++) {
		SCRATCH_CTX(scratch);
		int64_t from = MAX(offset, at), to = MIN(end, at + (int64_t)o->chunks[i].size);
		void *content;

		TRY(chunk_get(s, scratch, &o->chunks[i], &content, e));
		if (to > from)
			memcpy(into + (from - offset), (const char *)content + (from - at), (size_t)(to - from));
		at += (int64_t)o->chunks[i].size;
	}
	(void)ctx;
	return at >= end ? ERR_OK : ERR(e, ERR_CORRUPT, "an object's chunks end at byte %" PRId64, at);
}

/* A chunk that is gone because the object was replaced after its row was read is no damage: the row is read again. */
static bool changed_meanwhile(struct store *s, const struct object_path *name, const struct object *before)
{
	SCRATCH_CTX(ctx);
	struct object now;
	struct err ignored;

	if (object_find(s, ctx, name, 0, 0, &now, &ignored) != ERR_OK)
		return true;
	return now.id != before->id || !digest_equal(&now.sha256, &before->sha256);
}

static enum err_code read_once(struct store *s, TALLOC_CTX *ctx, const struct object_path *name, int64_t offset,
                               int64_t length, struct object *object, void **bytes, size_t *len, struct err *e)
{
	int64_t first = offset / (int64_t)CHUNK_MAX, last = (offset + length - 1) / (int64_t)CHUNK_MAX, end;

	TRY(object_find(s, ctx, name, first, last, object, e));
	end = MIN(offset + length, object->size);
	*len = end > offset ? (size_t)(end - offset) : 0;
	*bytes = talloc_size(ctx, MAX(*len, (size_t)1));
	ASSERT(*bytes);
	if (!*len)
		return ERR_OK;
	return join_parts(s, ctx, object, first * (int64_t)CHUNK_MAX, offset, end, *bytes, e);
}

enum err_code object_read(struct store *s, TALLOC_CTX *ctx, const struct object_path *name, int64_t offset,
                          int64_t length, struct object *object, void **bytes, size_t *len, struct err *e)
{
	enum err_code code = read_once(s, ctx, name, offset, length, object, bytes, len, e);

	if (code == ERR_CORRUPT && changed_meanwhile(s, name, object))
		code = read_once(s, ctx, name, offset, length, object, bytes, len, e);
	if (code == ERR_CORRUPT)
		return err_wrap(e, "object %s/%s of account %s", name->bucket, name->key, name->account);
	return code;
}

enum err_code object_verify(struct rpc_call *call, struct store *s, const struct object_path *name,
                            struct object *object, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct hasher *hasher = hasher_new(ctx);
	struct digest found;

	TRY(object_find(s, call->ctx, name, 0, INT32_MAX, object, e));
	for (size_t i = 0; i < object->chunk_count; i++) {
		SCRATCH_CTX(scratch);
		void *content;

		TRY(rpc_check_deadline(call, e));
		if (chunk_get(s, scratch, &object->chunks[i], &content, e) != ERR_OK)
			return err_wrap(e, "object %s/%s of account %s", name->bucket, name->key, name->account);
		hasher_add(hasher, content, object->chunks[i].size);
	}
	found = hasher_finish(hasher);
	if (!digest_equal(&found, &object->sha256))
		return ERR(e, ERR_CORRUPT, "%s: object %s/%s of account %s has digest %s, its name says %s", s->name,
		           name->bucket, name->key, name->account, digest_text(&found).text,
		           digest_text(&object->sha256).text);
	return ERR_OK;
}

/* ---- deleting ---- */

struct removal {
	struct store *store;
	const struct object_path *name;
	bool prefix;
	int64_t deleted;
};

static enum err_code delete_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct removal *r = arg;
	const char *ids;
	struct db_rows *rows;
	int64_t *numbers;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM objects.object WHERE store = $1 AND account = $2 AND bucket = $3"
	             " AND key >= $4 COLLATE \"C\" AND CASE WHEN $5 THEN left(key, length($4)) = $4 ELSE key = $4 END"
	             " ORDER BY key LIMIT $6 FOR UPDATE",
	             DB_TEXT(r->store->name), DB_TEXT(r->name->account), DB_TEXT(r->name->bucket),
	             DB_TEXT(r->name->key), DB_FLAG(r->prefix), DB_NUMBER(PREFIX_BATCH)));
	numbers = talloc_zero_array(ctx, int64_t, db_count(rows) + 1);
	ASSERT(numbers);
	for (size_t i = 0; i < db_count(rows); i++)
		numbers[i] = db_number(rows, i, 0);
	r->deleted = (int64_t)db_count(rows);
	if (!r->deleted)
		return ERR_OK;
	ids = sql_numbers(ctx, numbers, db_count(rows));
	TRY(suspect_chunks_of(db, ids, e));
	return db_query(db, NULL, NULL, e, "DELETE FROM objects.object WHERE id = ANY ($1::bigint[])", DB_TEXT(ids));
}

enum err_code object_delete(struct store *s, const struct object_path *name, bool *existed, struct err *e)
{
	struct removal r = {.store = s, .name = name};

	TRY(object_path_check(name, e));
	TRY(db_transaction(s->db, delete_body, &r, e));
	*existed = r.deleted > 0;
	return ERR_OK;
}

enum err_code object_delete_prefix(struct store *s, const struct object_path *name, int64_t *deleted, bool *more,
                                   struct err *e)
{
	struct removal r = {.store = s, .name = name, .prefix = true};

	TRY(object_path_check(name, e));
	TRY(db_transaction(s->db, delete_body, &r, e));
	*deleted = r.deleted;
	*more = r.deleted == PREFIX_BATCH;
	return ERR_OK;
}

/* ---- linking and copying ---- */

static struct object_content content_of(TALLOC_CTX *ctx, const struct object *o)
{
	struct digest *digests = talloc_zero_array(ctx, struct digest, o->chunk_count + 1);

	ASSERT(digests);
	for (size_t i = 0; i < o->chunk_count; i++)
		digests[i] = o->chunks[i].sha256;
	return (struct object_content){o->size, o->sha256, digests, o->chunk_count, o->metadata};
}

enum err_code object_link(struct store *s, const struct object_path *from, const struct object_path *to,
                          struct object *linked, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct object_content content;
	bool replaced;

	TRY(object_find(s, ctx, from, 0, INT32_MAX, linked, e));
	content = content_of(ctx, linked);
	linked->chunks = NULL;
	return object_commit(s, to, &content, &replaced, e);
}

/* Which of the source's chunks the target lacks: asked for in one go. */
static enum err_code move_missing(struct rpc_call *call, struct store *from, struct store *to, const struct object *o,
                                  const struct object_content *content, int64_t *moved, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct digest *lacking = talloc_zero_array(ctx, struct digest, content->chunk_count + 1);
	size_t count;

	ASSERT(lacking);
	if (!content->chunk_count)
		return ERR_OK;
	TRY(chunk_need(to, content->chunks, content->chunk_count, lacking, &count, e));
	for (size_t i = 0, found = 0; i < o->chunk_count && found < count; i++) {
		SCRATCH_CTX(scratch);
		size_t stored, j = 0;
		void *bytes;

		while (j < count && !digest_equal(&lacking[j], &o->chunks[i].sha256))
			j++;
		if (j == count)
			continue;
		TRY(rpc_check_deadline(call, e));
		TRY(chunk_get(from, scratch, &o->chunks[i], &bytes, e));
		TRY(chunk_put(to, &o->chunks[i].sha256, bytes, o->chunks[i].size, &stored, e));
		FAULT_POINT("copy-after-chunk");
		*moved += stored ? (int64_t)o->chunks[i].size : 0;
		found++;
	}
	return ERR_OK;
}

enum err_code object_copy(struct rpc_call *call, struct store *from_store, const struct object_path *from,
                          struct store *to_store, const struct object_path *to, struct object *copied,
                          int64_t *moved_bytes, struct err *e)
{
	struct object_content content;
	bool replaced;

	*moved_bytes = 0;
	if (from_store == to_store)
		return object_link(from_store, from, to, copied, e);
	TRY(object_find(from_store, call->ctx, from, 0, INT32_MAX, copied, e));
	content = content_of(call->ctx, copied);
	TRY(move_missing(call, from_store, to_store, copied, &content, moved_bytes, e));
	return object_commit(to_store, to, &content, &replaced, e);
}
