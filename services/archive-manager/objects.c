#include "services/archive-manager/objects.h"

#include <string.h>

enum err_code objects_lock(struct db *db, const char *account, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "SELECT pg_advisory_xact_lock(hashtext('stowage archive objects'), hashtext($1))",
	                DB_TEXT(account));
}

static void read_list(TALLOC_CTX *ctx, const struct db_rows *rows, struct object_list *list)
{
	list->count = db_count(rows);
	list->items = talloc_array(ctx, struct object, list->count + 1);
	ASSERT(list->items);
	for (size_t i = 0; i < list->count; i++) {
		list->items[i] = (struct object){
		    .bucket = talloc_strdup(ctx, db_text(rows, i, 0)),
		    .key = talloc_strdup(ctx, db_text(rows, i, 1)),
		    .size = (uint64_t)db_number(rows, i, 2),
		    .sha256 = db_digest(rows, i, 3),
		    .moved_bytes = (uint64_t)db_number(rows, i, 4),
		    .done = db_flag(rows, i, 5),
		};
		ASSERT(list->items[i].bucket && list->items[i].key);
	}
}

bool object_is_named(const struct object *o, const struct object_name *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(o->key, names[i].key) == 0 && strcmp(o->bucket, names[i].bucket) == 0)
			return true;
	return false;
}

const struct object *objects_find(const struct object_list *list, const char *bucket, const char *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].key, key) == 0 && strcmp(list->items[i].bucket, bucket) == 0)
			return &list->items[i];
	return NULL;
}

enum err_code objects_shared(struct db *db, const struct row *row, const struct object *o, bool *shared, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "SELECT 1 FROM archive.object WHERE account = $1 AND bucket = $3 AND key = $4 AND digest <> $2"
	             " LIMIT 1",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(o->bucket), DB_TEXT(o->key)));
	*shared = db_count(rows) > 0;
	return ERR_OK;
}

enum err_code objects_enter(struct db *db, const struct row *row, const struct object_name *names, size_t count,
                            bool fresh, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		TRY(db_query(db, NULL, NULL, e,
		             "INSERT INTO archive.object (account, digest, bucket, key) VALUES ($1, $2, $3, $4)"
		             " ON CONFLICT DO NOTHING",
		             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(names[i].bucket),
		             DB_TEXT(names[i].key)));
	if (!fresh)
		return ERR_OK;
	return db_query(db, NULL, NULL, e,
	                "UPDATE archive.object SET done = false, sha256 = NULL, moved_bytes = 0"
	                " WHERE account = $1 AND digest = $2",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest));
}

enum err_code objects_load(struct db *db, TALLOC_CTX *ctx, const struct row *row, struct object_list *list,
                           struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT bucket, key, size, sha256, moved_bytes, done FROM archive.object"
	             " WHERE account = $1 AND digest = $2 ORDER BY bucket, key",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest)));
	read_list(ctx, rows, list);
	return ERR_OK;
}

enum err_code objects_done(struct db *db, const struct row *row, const struct object *o, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "UPDATE archive.object o SET size = $5, sha256 = $6, moved_bytes = $7, done = true"
	             " FROM archive.image i WHERE i.account = o.account AND i.digest = o.digest AND i.token = $8"
	             " AND o.account = $1 AND o.digest = $2 AND o.bucket = $3 AND o.key = $4",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(o->bucket), DB_TEXT(o->key),
	             DB_NUMBER(o->size), DB_DIGEST(&o->sha256), DB_NUMBER(o->moved_bytes), DB_NUMBER(row->token)));
	if (db_affected(rows) != 1)
		return ERR(e, ERR_STALE_LEASE, "image %s is in other hands now", digest_text(&row->digest).text);
	return ERR_OK;
}

enum err_code objects_forget(struct db *db, const struct row *row, const struct object *o, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "DELETE FROM archive.object WHERE account = $1 AND digest = $2 AND bucket = $3 AND key = $4",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(o->bucket), DB_TEXT(o->key));
}
