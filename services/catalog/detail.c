#include "services/catalog/detail.h"

#include "services/catalog/budget.h"
#include "services/catalog/stored.h"
#include "services/catalog/tag.h"

#include <inttypes.h>
#include <stdlib.h>

#define PAGE 100
#define TRIES 5

static enum err_code read_layers(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *d, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT digest, diff_id, media_type, size, content_bytes, entries, known, revision"
	             " FROM catalog.image_layer WHERE image = $1 ORDER BY position",
	             DB_NUMBER(image)));
	d->layers_count = db_count(rows);
	d->layers = talloc_zero_array(ctx, struct layer_item, d->layers_count + 1);
	ASSERT(d->layers);
	for (size_t i = 0; i < d->layers_count; i++)
		d->layers[i] = (struct layer_item){
		    .digest = db_digest(rows, i, 0),
		    .diff_id = db_digest(rows, i, 1),
		    .media_type = db_text(rows, i, 2),
		    .size = db_number(rows, i, 3),
		    .content_bytes = db_number(rows, i, 4),
		    .entries = db_number(rows, i, 5),
		    .known = db_flag(rows, i, 6),
		    .revision = db_text(rows, i, 7),
		};
	return ERR_OK;
}

static enum err_code read_sets(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *d, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT s.type, s.digest, s.packages FROM catalog.image_set x"
	             " JOIN catalog.package_set s ON s.id = x.set_id WHERE x.image = $1 ORDER BY s.type, s.digest",
	             DB_NUMBER(image)));
	d->sets_count = db_count(rows);
	d->sets = talloc_zero_array(ctx, struct image_set, d->sets_count + 1);
	ASSERT(d->sets);
	for (size_t i = 0; i < d->sets_count; i++)
		d->sets[i] = (struct image_set){
		    .type = db_text(rows, i, 0), .digest = db_digest(rows, i, 1), .packages = db_number(rows, i, 2)};
	return ERR_OK;
}

static enum err_code read_tags(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *d, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT name FROM catalog.tag WHERE image = $1 ORDER BY name LIMIT $2",
	             DB_NUMBER(image), DB_NUMBER(DETAIL_TAGS_MAX)));
	d->tags.count = db_count(rows);
	d->tags.items = talloc_zero_array(ctx, const char *, d->tags.count + 1);
	ASSERT(d->tags.items);
	for (size_t i = 0; i < d->tags.count; i++)
		d->tags.items[i] = db_text(rows, i, 0);
	return ERR_OK;
}

/* What the image's row says. A Dockerfile came with the order, not with the analysis. */
static enum err_code read_documents(const struct db_rows *rows, TALLOC_CTX *ctx, struct proto_texts *documents,
                                    struct err *e)
{
	TRY(stored_texts_read(ctx, db_text(rows, 0, 18), documents, e));
	if (!db_flag(rows, 0, 19))
		return ERR_OK;
	documents->items = talloc_realloc(ctx, documents->items, const char *, documents->count + 1);
	ASSERT(documents->items);
	documents->items[documents->count++] = "dockerfile";
	return ERR_OK;
}

static enum err_code read_row(const struct db_rows *rows, TALLOC_CTX *ctx, struct image_detail *d, struct err *e)
{
	void *distribution, *cost;

	*d = (struct image_detail){
	    .digest = db_digest(rows, 0, 0),
	    .parent_digest = db_digest(rows, 0, 1),
	    .status = analysis_status_value(db_text(rows, 0, 2)),
	    .residence = residence_value(db_text(rows, 0, 3)),
	    .source = image_source_value(db_text(rows, 0, 4)),
	    .reference = db_text(rows, 0, 5),
	    .platform = db_text(rows, 0, 6),
	    .added_at = db_number(rows, 0, 8),
	    .analysed_at = db_number(rows, 0, 9),
	    .created_at = db_number(rows, 0, 10),
	    .size = db_number(rows, 0, 11),
	    .packages = db_number(rows, 0, 12),
	    .files = db_number(rows, 0, 13),
	    .reason = db_text(rows, 0, 17),
	    .job = db_number(rows, 0, 20),
	};
	TRY(stored_map_read(ctx, db_text(rows, 0, 7), &d->annotations, e));
	TRY(stored_record_read(ctx, record_distribution(), db_text(rows, 0, 14), &distribution, e));
	TRY(stored_record_read(ctx, record_analysis_cost(), db_text(rows, 0, 15), &cost, e));
	d->distribution = distribution;
	d->cost = cost;
	return stored_texts_read(ctx, db_text(rows, 0, 16), &d->incomplete, e);
}

static enum err_code read_once(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *detail,
                               struct proto_texts *documents, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(
	    db, ctx, &rows, e,
	    "SELECT digest, parent_digest, status, residence, source, reference, platform, annotations, added_at,"
	    " analysed_at, created_at, size, packages, files, distribution, cost, incomplete, reason, documents,"
	    " dockerfile, job FROM catalog.image WHERE id = $1",
	    DB_NUMBER(image)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "the image was removed");
	TRY(read_row(rows, ctx, detail, e));
	if (documents)
		TRY(read_documents(rows, ctx, documents, e));
	TRY(read_tags(db, ctx, image, detail, e));
	TRY(read_layers(db, ctx, image, detail, e));
	return read_sets(db, ctx, image, detail, e);
}

static enum err_code is_still(struct db *db, TALLOC_CTX *ctx, int64_t image, int64_t analysed_at, bool *still,
                              struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(
	    db, ctx, &rows, e,
	    "SELECT coalesce(analysed_at, 0) = $2::bigint AND state <> 'deleting' FROM catalog.image WHERE id = $1",
	    DB_NUMBER(image), DB_NUMBER(analysed_at)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "the image was removed");
	*still = db_flag(rows, 0, 0);
	return ERR_OK;
}

/* Each statement sees a moment of its own. What they read belongs together when it is the same analysis before and
 * after; that costs less than a lock that workers would wait for. */
enum err_code detail_read(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *detail,
                          struct proto_texts *documents, struct err *e)
{
	for (int tries = 0; tries < TRIES; tries++) {
		bool still;

		TRY(read_once(db, ctx, image, detail, documents, e));
		TRY(is_still(db, ctx, image, detail->analysed_at, &still, e));
		if (still)
			return ERR_OK;
	}
	return ERR(e, ERR_CONFLICT, "image %s is changing", digest_text(&detail->digest).text);
}

/* ---- pages ---- */

static enum err_code distribution_text(TALLOC_CTX *ctx, const char *stored, const char **text, struct err *e)
{
	struct distribution *d;
	void *record;

	*text = NULL;
	TRY(stored_record_read(ctx, record_distribution(), stored, &record, e));
	d = record;
	if (d && d->id)
		*text = talloc_asprintf(ctx, "%s%s%s", d->id, d->version ? " " : "", d->version ? d->version : "");
	return ERR_OK;
}

static enum err_code read_item(const struct db_rows *rows, size_t row, TALLOC_CTX *ctx, struct image_item *item,
                               struct err *e)
{
	*item = (struct image_item){
	    .digest = db_digest(rows, row, 1),
	    .status = analysis_status_value(db_text(rows, row, 2)),
	    .residence = residence_value(db_text(rows, row, 3)),
	    .platform = db_text(rows, row, 4),
	    .added_at = db_number(rows, row, 5),
	    .analysed_at = db_number(rows, row, 6),
	    .packages = db_number(rows, row, 7),
	    .cursor = db_text(rows, row, 0),
	};
	TRY(distribution_text(ctx, db_text(rows, row, 8), &item->distribution, e));
	return stored_texts_read(ctx, db_text(rows, row, 9), &item->tags, e);
}

static enum err_code read_cursor(const char *after, int64_t *id, struct err *e)
{
	char *end;

	*id = 0;
	if (!after || !*after)
		return ERR_OK;
	errno = 0;
	*id = strtoll(after, &end, 10);
	if (errno || *end || *id <= 0)
		return ERR(e, ERR_INVALID, "\"%.60s\" is no cursor of a page of images", after);
	return ERR_OK;
}

/* A pattern matches a tag in full, or what follows one of its slashes. */
static enum err_code query_page(struct db *db, TALLOC_CTX *ctx, const char *account,
                                const struct image_list_request *request, size_t limit, struct db_rows **rows,
                                struct err *e)
{
	const char *like = NULL, *status = request->status ? analysis_status_text(request->status) : NULL;
	bool exact = false, tagged = request->tag && *request->tag;
	int64_t after;

	TRY(read_cursor(request->after, &after, e));
	if (tagged)
		TRY(tag_pattern(ctx, request->tag, &like, &exact, e));
	return db_query(db, ctx, rows, e,
	                "SELECT i.id::text, i.digest, i.status, i.residence, i.platform, i.added_at, i.analysed_at,"
	                " i.packages, i.distribution, (SELECT json_agg(n.name)::text FROM (SELECT name FROM catalog.tag"
	                " WHERE image = i.id ORDER BY name LIMIT $8) n) FROM catalog.image i"
	                " WHERE i.account = $1 AND i.state <> 'deleting' AND ($2::bigint = 0 OR i.id < $2)"
	                " AND ($3::text IS NULL OR i.status = $3)"
	                " AND ($4::text IS NULL OR ($6::boolean AND EXISTS (SELECT 1 FROM catalog.tag t"
	                " WHERE t.image = i.id AND t.name = $4)) OR (NOT $6::boolean AND EXISTS (SELECT 1 FROM"
	                " catalog.tag t WHERE t.image = i.id AND (t.name LIKE $4 OR t.name LIKE $5))))"
	                " ORDER BY i.id DESC LIMIT $7",
	                DB_TEXT(account), DB_NUMBER(after), DB_TEXT(status), DB_TEXT(like),
	                DB_TEXT(like ? talloc_asprintf(ctx, "%%/%s", like) : NULL), DB_FLAG(exact),
	                DB_NUMBER(limit + 1), DB_NUMBER(DETAIL_LIST_TAGS_MAX));
}

enum err_code detail_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct image_list_request *request,
                          struct image_list_reply *reply, struct err *e)
{
	size_t limit = request->limit ? (size_t)request->limit : PAGE;
	struct budget budget = BUDGET_REPLY;
	struct db_rows *rows;

	TRY(query_page(db, ctx, account, request, limit, &rows, e));
	reply->items = talloc_zero_array(ctx, struct image_item, db_count(rows) + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < MIN(db_count(rows), limit); i++) {
		TRY(read_item(rows, i, ctx, &reply->items[i], e));
		if (!budget_take_texts(&budget, &reply->items[i].tags))
			break;
		reply->items_count++;
	}
	reply->more = db_count(rows) > reply->items_count;
	return ERR_OK;
}
