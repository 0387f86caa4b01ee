#include "services/catalog/layer.h"

#include "services/catalog/array.h"

#include <string.h>

#define BATCH 100
#define DELETING_RETRY_MS 500

char *layer_prefix(TALLOC_CTX *ctx, const struct digest *layer, const char *revision)
{
	char *prefix = talloc_asprintf(ctx, "%s/%s/", revision, digest_hex(layer).text);

	ASSERT(prefix);
	return prefix;
}

/* ---- what workers ask ---- */

enum err_code layer_lookup(struct db *db, TALLOC_CTX *ctx, const char *account,
                           const struct layer_lookup_request *request, struct layer_lookup_reply *reply, struct err *e)
{
	struct array *digests = array_new(ctx);
	struct db_rows *rows;

	for (size_t i = 0; i < request->layers.count; i++)
		array_add_digest(digests, &request->layers.items[i]);
	/* Locked in order of id, as by everybody else. */
	TRY(db_query(db, ctx, &rows, e,
	             "WITH found AS (SELECT id FROM catalog.layer WHERE account = $1 AND revision = $2"
	             " AND digest = ANY ($3::bytea[]) AND state = 'known' ORDER BY id FOR NO KEY UPDATE)"
	             " UPDATE catalog.layer l SET touched_at = catalog.now_ms() FROM found WHERE l.id = found.id"
	             " RETURNING l.digest, l.diff_id, l.content_bytes, l.entries",
	             DB_TEXT(account), DB_TEXT(request->revision), array_param(digests)));
	reply->known_count = db_count(rows);
	reply->known = talloc_zero_array(ctx, struct known_layer, reply->known_count + 1);
	ASSERT(reply->known);
	for (size_t i = 0; i < reply->known_count; i++)
		reply->known[i] = (struct known_layer){
		    .digest = db_digest(rows, i, 0),
		    .diff_id = db_digest(rows, i, 1),
		    .content_bytes = db_number(rows, i, 2),
		    .entries = db_number(rows, i, 3),
		};
	return ERR_OK;
}

enum err_code layer_begin(struct db *db, const char *account, const struct digest *layer, const char *revision,
                          struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.layer AS l (account, digest, revision, state) VALUES ($1, $2, $3, 'pending')"
	             " ON CONFLICT (account, digest, revision) DO UPDATE SET touched_at = catalog.now_ms()"
	             " WHERE l.state <> 'deleting'",
	             DB_TEXT(account), DB_DIGEST(layer), DB_TEXT(revision)));
	if (db_affected(rows) == 1)
		return ERR_OK;
	ERR(e, ERR_CONFLICT, "layer %s is being removed", digest_text(layer).text);
	if (e)
		e->retry_ms = DELETING_RETRY_MS;
	return ERR_CONFLICT;
}

enum err_code layer_commit(struct db *db, const char *account, const struct layer_commit_request *request,
                           struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(
	    db, ctx, &rows, e,
	    "UPDATE catalog.layer SET state = 'known', diff_id = $4, size = $5, content_bytes = $6, entries = $7,"
	    " touched_at = catalog.now_ms()"
	    " WHERE account = $1 AND digest = $2 AND revision = $3 AND state <> 'deleting'",
	    DB_TEXT(account), DB_DIGEST(&request->layer), DB_TEXT(request->revision), DB_DIGEST(&request->diff_id),
	    DB_NUMBER(request->size), DB_NUMBER(request->content_bytes), DB_NUMBER(request->entries)));
	if (db_affected(rows) == 0)
		return ERR(e, ERR_CONFLICT, "layer %s was swept: begin it again", digest_text(&request->layer).text);
	return ERR_OK;
}

/* ---- what images hold ---- */

static bool is_same(const struct layer_item *a, const struct db_rows *rows, size_t row)
{
	struct digest digest = db_digest(rows, row, 1);

	return digest_equal(&a->digest, &digest) && strcmp(a->revision, db_text(rows, row, 2)) == 0;
}

static enum err_code check_all_found(const struct layer_item *layers, size_t count, const struct db_rows *rows,
                                     struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		bool found = false;

		for (size_t row = 0; row < db_count(rows) && !found; row++)
			found = is_same(&layers[i], rows, row);
		if (!found)
			return ERR(e, ERR_CONFLICT, "layer %s of revision %s is not known any more",
			           digest_text(&layers[i].digest).text, layers[i].revision);
	}
	return ERR_OK;
}

enum err_code layer_use(struct db *db, const char *account, int64_t image, const struct layer_item *layers,
                        size_t count, bool pending_too, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *digests = array_new(ctx), *revisions = array_new(ctx), *ids = array_new(ctx);
	struct db_rows *rows;

	for (size_t i = 0; i < count; i++) {
		if (!layers[i].revision || !*layers[i].revision)
			return ERR(e, ERR_INVALID, "layer %s has no revision", digest_text(&layers[i].digest).text);
		array_add_digest(digests, &layers[i].digest);
		array_add_text(revisions, layers[i].revision);
	}
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, digest, revision FROM catalog.layer WHERE account = $1 AND (digest, revision) IN"
	             " (SELECT * FROM unnest($2::bytea[], $3::text[]))"
	             " AND (state = 'known' OR ($4::boolean AND state = 'pending')) ORDER BY id FOR KEY SHARE",
	             DB_TEXT(account), array_param(digests), array_param(revisions), DB_FLAG(pending_too)));
	TRY(check_all_found(layers, count, rows, e));
	for (size_t i = 0; i < db_count(rows); i++)
		array_add_number(ids, db_number(rows, i, 0));
	TRY(db_query(db, ctx, NULL, e,
	             "DELETE FROM catalog.layer_use WHERE image = $1 AND NOT layer = ANY ($2::bigint[])",
	             DB_NUMBER(image), array_param(ids)));
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.layer_use (image, layer) SELECT $1::bigint, l FROM unnest($2::bigint[]) l"
	                " ON CONFLICT DO NOTHING",
	                DB_NUMBER(image), array_param(ids));
}

enum err_code layer_use_none(struct db *db, int64_t image, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.layer_use WHERE image = $1", DB_NUMBER(image));
}

/* ---- sweeping ---- */

#define UNUSED_LAYER                                                                                                   \
	" l.state <> 'deleting' AND l.touched_at <= catalog.now_ms() - $1::bigint"                                     \
	" AND NOT EXISTS (SELECT 1 FROM catalog.layer_use u WHERE u.layer = l.id)"                                     \
	" AND NOT EXISTS (SELECT 1 FROM catalog.job j WHERE j.account = l.account AND j.state = 'leased'"              \
	" AND j.leased_at <= l.touched_at)"

enum err_code layer_mark_unused(struct db *db, int64_t grace_ms, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *ids = array_new(ctx);
	struct db_rows *rows;

	/* FOR UPDATE excludes the key share lock of whoever is about to use it. */
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT l.id FROM catalog.layer l WHERE" UNUSED_LAYER
	             " ORDER BY l.id LIMIT $2 FOR UPDATE SKIP LOCKED",
	             DB_NUMBER(grace_ms), DB_NUMBER(BATCH)));
	for (size_t i = 0; i < db_count(rows); i++)
		array_add_number(ids, db_number(rows, i, 0));
	/* A use that was committed between that statement's snapshot and its locks is seen by this one. */
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE catalog.layer l SET state = 'deleting' WHERE l.id = ANY ($2::bigint[]) AND" UNUSED_LAYER,
	             DB_NUMBER(grace_ms), array_param(ids)));
	*count = db_affected(rows);
	return ERR_OK;
}

enum err_code layer_list_deleting(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	return db_query(db, ctx, rows, e,
	                "SELECT id, account, digest, revision FROM catalog.layer WHERE state = 'deleting'"
	                " ORDER BY id LIMIT $1",
	                DB_NUMBER(BATCH));
}

enum err_code layer_forget(struct db *db, int64_t id, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.layer WHERE id = $1 AND state = 'deleting'",
	                DB_NUMBER(id));
}
