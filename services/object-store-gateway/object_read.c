#include "services/object-store-gateway/chunk_heal.h"
#include "services/object-store-gateway/object.h"
#include "services/object-store-gateway/prefix.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TRIES 5

#define COLUMN_CHUNK 5
#define COLUMN_BYTES (COLUMN_CHUNK + 7)

static struct object object_from_row(TALLOC_CTX *ctx, const struct db_rows *rows)
{
	struct object o = {
	    .id = db_number(rows, 0, 0),
	    .size = db_number(rows, 0, 1),
	    .sha256 = db_digest(rows, 0, 2),
	    .created_at = db_number(rows, 0, 3),
	    .metadata = db_text(rows, 0, 4),
	    .chunks = talloc_zero_array(ctx, struct chunk, db_count(rows)),
	};

	ASSERT(o.chunks);
	for (size_t i = 0; i < db_count(rows) && !db_is_null(rows, i, COLUMN_CHUNK); i++)
		o.chunks[o.chunk_count++] = chunk_from_row(rows, i, COLUMN_CHUNK);
	return o;
}

static enum err_code not_there(const struct store *s, const struct object_path *path, struct err *e)
{
	return ERR(e, ERR_NOT_FOUND, "%s has no object %s/%s of account %s", s->name, path->bucket, path->key,
	           path->account);
}

enum err_code object_find(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t first, int64_t last,
                          struct object *out, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(object_path_check(path, e));
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT o.id, o.size, o.sha256, (extract(epoch FROM o.created_at) * 1000)::bigint, o.metadata,"
	             " " CHUNK_COLUMNS " FROM objects.object o"
	             " LEFT JOIN objects.object_chunk oc ON oc.object = o.id"
	             "   AND oc.seq BETWEEN $5::bigint AND $6::bigint"
	             " LEFT JOIN objects.chunk c ON c.id = oc.chunk"
	             " WHERE o.store = $1 AND o.account = $2 AND o.bucket = $3 AND o.key = $4 ORDER BY oc.seq",
	             DB_TEXT(s->name), DB_TEXT(path->account), DB_TEXT(path->bucket), DB_TEXT(path->key),
	             DB_NUMBER(first), DB_NUMBER(last)));
	if (!db_count(rows))
		return not_there(s, path, e);
	*out = object_from_row(ctx, rows);
	return ERR_OK;
}

/* The columns as object_find has them, and the bytes of one chunk, if the driver can say how, and they are few. */
#define FOUND                                                                                                          \
	"SELECT o.id, o.size, o.sha256, (extract(epoch FROM o.created_at) * 1000)::bigint, o.metadata, " CHUNK_COLUMNS \
	", CASE WHEN c.backend = $6::bigint AND c.stored_size <= $7::bigint THEN "
#define FOUND_WHERE                                                                                                    \
	" END FROM objects.object o"                                                                                   \
	" LEFT JOIN objects.object_chunk oc ON oc.object = o.id AND oc.seq = $5::bigint"                               \
	" LEFT JOIN objects.chunk c ON c.id = oc.chunk"                                                                \
	" WHERE o.store = $1 AND o.account = $2 AND o.bucket = $3 AND o.key = $4"

static enum err_code find_with_bytes(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t seq,
                                     const struct driver_parts *parts, struct object *out, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	char sql[1024]; /* one text for each driver */

	ASSERT(snprintf(sql, sizeof(sql), "%s%s%s", FOUND, parts->select, FOUND_WHERE) < (int)sizeof(sql));
	TRY(object_path_check(path, e));
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query_binary(db, ctx, &rows, e, sql, DB_TEXT(s->name), DB_TEXT(path->account), DB_TEXT(path->bucket),
	                    DB_TEXT(path->key), DB_NUMBER(seq), DB_NUMBER(s->current->id), DB_NUMBER(parts->most)));
	if (!db_count(rows))
		return not_there(s, path, e);
	*out = object_from_row(ctx, rows);
	out->stored = db_bytes(rows, 0, COLUMN_BYTES, &out->stored_len);
	return ERR_OK;
}

/* What is damaged is served from a copy if there is one, and healed with it. ERR_CONFLICT: the chunk was swept since
 * its row was read, because the object was replaced or removed. Look again. */
static enum err_code get_named_chunk(struct store *s, TALLOC_CTX *ctx, const struct object_path *path,
                                     const struct chunk *chunk, void **bytes, struct err *e)
{
	const struct chunk_kept kept = {.chunk = *chunk};
	enum err_code code = chunk_get(s, ctx, chunk, bytes, e);
	struct err no_copy;
	bool healed;

	if (code != ERR_CORRUPT)
		return code;
	if (!chunk_is_live(s, chunk))
		return ERR(e, ERR_CONFLICT, "object %s/%s changed while it was read", path->bucket, path->key);
	err_wrap(e, "object %s/%s of account %s", path->bucket, path->key, path->account);
	chunk_note_damage(s, chunk, e);
	return chunk_heal(s, ctx, &kept, bytes, &healed, &no_copy) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The content of chunk i of those in o. */
static enum err_code get_part(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, const struct object *o,
                              size_t i, const void **content, struct err *e)
{
	void *bytes;

	if (o->stored && chunk_open(s, ctx, &o->chunks[i], o->stored, o->stored_len, content, NULL) == ERR_OK)
		return ERR_OK;
	TRY(get_named_chunk(s, ctx, path, &o->chunks[i], &bytes, e));
	*content = bytes;
	return ERR_OK;
}

/* The bytes offset..end of an object whose chunks, as far as they are in o, begin at byte `at`. */
static enum err_code join_parts(struct store *s, const struct object_path *path, const struct object *o, int64_t at,
                                int64_t offset, int64_t end, char *into, struct err *e)
{
	for (size_t i = 0; i < o->chunk_count; i++) {
		SCRATCH_CTX(ctx);
		int64_t next = at + (int64_t)o->chunks[i].size;
		int64_t from = MAX(offset, at), to = MIN(end, next);
		const void *content;

		TRY(get_part(s, ctx, path, o, i, &content, e));
		if (to > from)
			memcpy(into + (from - offset), (const char *)content + (from - at), (size_t)(to - from));
		at = next;
	}
	if (at < end)
		return ERR(e, ERR_CORRUPT, "%s: the chunks of object %s/%s of account %s end at byte %" PRId64, s->name,
		           path->bucket, path->key, path->account, at);
	return ERR_OK;
}

/* The rows of the object and of its chunks first to last; of one chunk the bytes, too, where they come along. */
static enum err_code find_parts(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t first,
                                int64_t last, struct object *object, struct err *e)
{
	const struct backend *b = s->current;
	struct driver_parts parts;

	if (first != last || !b->driver->parts)
		return object_find(s, ctx, path, first, last, object, e);
	TRY(b->driver->parts(b->conn, NULL, &parts, e));
	return find_with_bytes(s, ctx, path, first, &parts, object, e);
}

static enum err_code read_once(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t offset,
                               int64_t length, struct object *object, void **bytes, size_t *len, struct err *e)
{
	int64_t first = offset / (int64_t)CHUNK_MAX, last = (offset + length - 1) / (int64_t)CHUNK_MAX, end;
	const void *content;

	TRY(find_parts(s, ctx, path, first, last, object, e));
	end = MIN(offset + length, object->size);
	*len = end > offset ? (size_t)(end - offset) : 0;
	/* The usual case, one whole chunk, is not copied. */
	if (object->chunk_count == 1 && *len == object->chunks[0].size && offset == first * (int64_t)CHUNK_MAX) {
		TRY(get_part(s, ctx, path, object, 0, &content, e));
		*bytes = (void *)(uintptr_t)content; /* of ctx, and nobody else's */
		return ERR_OK;
	}
	*bytes = talloc_size(ctx, MAX(*len, (size_t)1));
	ASSERT(*bytes);
	if (!*len)
		return ERR_OK;
	return join_parts(s, path, object, first * (int64_t)CHUNK_MAX, offset, end, *bytes, e);
}

enum err_code object_read(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t offset,
                          int64_t length, struct object *object, void **bytes, size_t *len, struct err *e)
{
	enum err_code code = ERR_CONFLICT;

	for (int i = 0; i < TRIES && code == ERR_CONFLICT; i++)
		code = read_once(s, ctx, path, offset, length, object, bytes, len, e);
	return code;
}

static enum err_code hash_chunks(struct rpc_call *call, struct store *s, const struct object_path *path,
                                 const struct object *object, struct digest *found, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct hasher *hasher = hasher_new(ctx);

	for (size_t i = 0; i < object->chunk_count; i++) {
		SCRATCH_CTX(scratch);
		void *content;

		TRY(rpc_check_deadline(call, e));
		TRY(get_named_chunk(s, scratch, path, &object->chunks[i], &content, e));
		hasher_add(hasher, content, object->chunks[i].size);
	}
	*found = hasher_finish(hasher);
	return ERR_OK;
}

enum err_code object_verify(struct rpc_call *call, struct store *s, const struct object_path *path,
                            struct object *object, struct err *e)
{
	enum err_code code = ERR_CONFLICT;
	struct digest found;

	for (int i = 0; i < TRIES && code == ERR_CONFLICT; i++) {
		TRY(object_find(s, call->ctx, path, 0, OBJECT_ALL_CHUNKS, object, e));
		code = hash_chunks(call, s, path, object, &found, e);
	}
	TRY(code);
	if (!digest_equal(&found, &object->sha256))
		return ERR(e, ERR_CORRUPT, "%s: object %s/%s of account %s has digest %s, it was put as %s", s->name,
		           path->bucket, path->key, path->account, digest_text(&found).text,
		           digest_text(&object->sha256).text);
	return ERR_OK;
}

#define LISTED                                                                                                         \
	"SELECT key, size, sha256, (extract(epoch FROM created_at) * 1000)::bigint FROM objects.object"                \
	" WHERE store = $1 AND account = $2 AND bucket = $3 AND key > $4 AND key >= $5"

static enum err_code query_list(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, const char *after,
                                size_t limit, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	const char *end = prefix_end(ctx, path->key);

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	if (!end)
		return db_query(db, ctx, rows, e, LISTED " ORDER BY key LIMIT $6", DB_TEXT(s->name),
		                DB_TEXT(path->account), DB_TEXT(path->bucket), DB_TEXT(after), DB_TEXT(path->key),
		                DB_NUMBER(limit));
	return db_query(db, ctx, rows, e, LISTED " AND key < $6 ORDER BY key LIMIT $7", DB_TEXT(s->name),
	                DB_TEXT(path->account), DB_TEXT(path->bucket), DB_TEXT(after), DB_TEXT(path->key), DB_TEXT(end),
	                DB_NUMBER(limit));
}

enum err_code object_list(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, const char *after,
                          size_t limit, struct object_listed **listed, size_t *count, struct err *e)
{
	struct object_path any = {path->account, path->bucket, *path->key ? path->key : "any"};
	struct db_rows *rows;

	TRY(object_path_check(&any, e));
	TRY(query_list(s, ctx, path, after, limit, &rows, e));
	*count = db_count(rows);
	*listed = talloc_zero_array(ctx, struct object_listed, *count + 1);
	ASSERT(*listed);
	for (size_t i = 0; i < *count; i++)
		(*listed)[i] = (struct object_listed){
		    .key = db_text(rows, i, 0),
		    .object = {.size = db_number(rows, i, 1),
		               .sha256 = db_digest(rows, i, 2),
		               .created_at = db_number(rows, i, 3)},
		};
	return ERR_OK;
}
