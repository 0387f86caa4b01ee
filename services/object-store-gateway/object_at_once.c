#include "services/object-store-gateway/object_at_once.h"

#include <stdio.h>

/* Before and after the driver's part, a member of this WITH list. */
#define BEFORE                                                                                                         \
	"WITH free AS (SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM objects.object"                                        \
	"     WHERE store = $1 AND account = $2 AND bucket = $3 AND key = $4)"                                         \
	"   AND NOT EXISTS (SELECT 1 FROM objects.quota WHERE store = $1 AND account = $2)),"                          \
	" fresh AS (INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, cipher_key, state)"   \
	"   SELECT $1::text, $5::bytea, $7::bigint, $8::bigint, $9::text, $10::bigint, $11::text, 'live' FROM free"    \
	"   ON CONFLICT (store, sha256) WHERE state = 'live' DO NOTHING RETURNING id),"                                \
	" known AS (SELECT id FROM objects.chunk WHERE store = $1 AND sha256 = $5 AND state = 'live' AND NOT damaged"  \
	"   AND (cipher_key IS NULL OR cipher_key = ANY ($6::text[]))"                                                 \
	"   AND EXISTS (SELECT 1 FROM free) AND NOT EXISTS (SELECT 1 FROM fresh) FOR KEY SHARE),"                      \
	" place AS (SELECT id AS number, $5::bytea AS sha256, $12::bytea AS bytes FROM fresh),"                        \
	" data AS ("
#define AFTER                                                                                                          \
	"), named AS (SELECT id FROM fresh UNION ALL SELECT id FROM known),"                                           \
	" made AS (INSERT INTO objects.object (store, account, bucket, key, size, sha256, metadata)"                   \
	"   SELECT $1::text, $2::text, $3::text, $4::text, $7::bigint, $5::bytea, $13::text FROM named"                \
	"   ON CONFLICT (store, account, bucket, key) DO NOTHING RETURNING id),"                                       \
	" list AS (INSERT INTO objects.object_chunk (object, seq, chunk) SELECT made.id, 0, named.id FROM made, "      \
	"named)"                                                                                                       \
	" SELECT EXISTS (SELECT 1 FROM made), EXISTS (SELECT 1 FROM fresh)"

static enum err_code run(struct db *db, const struct driver_parts *parts, const struct object_path *path,
                         const struct object_content *content, struct chunk_write *w, bool *put, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct store *s = w->store;
	struct db_rows *rows;
	char sql[2048]; /* one text for each that the driver gives */

	ASSERT(snprintf(sql, sizeof(sql), "%s%s%s", BEFORE, parts->insert, AFTER) < (int)sizeof(sql));
	TRY(db_query(db, ctx, &rows, e, sql, DB_TEXT(s->name), DB_TEXT(path->account), DB_TEXT(path->bucket),
	             DB_TEXT(path->key), DB_DIGEST(&w->sha256), DB_TEXT(keyring_sql(s->keys)), DB_NUMBER(w->len),
	             DB_NUMBER(w->stored_len), DB_TEXT(w->zstd ? "zstd" : "none"), DB_NUMBER(w->to->id),
	             DB_TEXT(w->cipher_key), DB_BYTES(w->stored, w->stored_len),
	             DB_TEXT(content->metadata ? content->metadata : "{}")));
	*put = db_flag(rows, 0, 0);
	w->known = !db_flag(rows, 0, 1);
	return ERR_OK;
}

/* A transaction would be run again, or may do better with another table. */
static bool is_worth_a_transaction(enum err_code code)
{
	return code == ERR_CONFLICT || code == ERR_INTERNAL || code == ERR_UNAVAILABLE;
}

enum err_code object_put_at_once(struct store *s, const struct object_path *path, const struct object_content *content,
                                 struct chunk_write *w, bool *put, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	const struct driver *driver = w->to->driver;
	struct driver_parts parts;
	enum err_code code;

	*put = false;
	w->known = true;
	if (!driver->parts || w->len != (size_t)content->size || w->stored_len >= CHUNK_LOOK_FIRST)
		return ERR_OK;
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	code = driver->parts(w->to->conn, db, &parts, e);
	if (code == ERR_OK && w->stored_len <= parts.most)
		code = run(db, &parts, path, content, w, put, e);
	return is_worth_a_transaction(code) ? ERR_OK : code;
}
