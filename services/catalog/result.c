#include "services/catalog/result.h"

#include "common/fault.h"
#include "services/catalog/array.h"
#include "services/catalog/layer.h"
#include "services/catalog/set.h"
#include "services/catalog/stored.h"
#include "services/catalog/upload.h"

#include <inttypes.h>

enum { DIGEST, DIFF_ID, MEDIA_TYPE, SIZE, CONTENT_BYTES, ENTRIES, KNOWN, REVISION, COLUMNS };

enum err_code result_write_layers(struct db *db, int64_t image, const struct layer_item *layers, size_t count,
                                  struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *c[COLUMNS];

	for (size_t i = 0; i < COLUMNS; i++)
		c[i] = array_new(ctx);
	for (size_t i = 0; i < count; i++) {
		const struct layer_item *l = &layers[i];

		array_add_digest(c[DIGEST], &l->digest);
		array_add_digest(c[DIFF_ID], &l->diff_id);
		array_add_text(c[MEDIA_TYPE], l->media_type);
		array_add_number(c[SIZE], l->size);
		array_add_number(c[CONTENT_BYTES], l->content_bytes);
		array_add_number(c[ENTRIES], l->entries);
		array_add_text(c[KNOWN], l->known ? "t" : "f");
		array_add_text(c[REVISION], l->revision);
	}
	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.image_layer WHERE image = $1", DB_NUMBER(image)));
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.image_layer (image, position, digest, diff_id, media_type, size,"
	                " content_bytes, entries, known, revision)"
	                " SELECT $1::bigint, u.n - 1, u.digest, u.diff_id, u.media_type, u.size, u.content_bytes,"
	                " u.entries, u.known, u.revision"
	                " FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],"
	                " $8::boolean[], $9::text[]) WITH ORDINALITY"
	                " AS u (digest, diff_id, media_type, size, content_bytes, entries, known, revision, n)",
	                DB_NUMBER(image), array_param(c[DIGEST]), array_param(c[DIFF_ID]), array_param(c[MEDIA_TYPE]),
	                array_param(c[SIZE]), array_param(c[CONTENT_BYTES]), array_param(c[ENTRIES]),
	                array_param(c[KNOWN]), array_param(c[REVISION]));
}

enum err_code result_write(struct db *db, int64_t image, const struct result *r, struct err *e)
{
	static const struct proto_texts none;
	SCRATCH_CTX(ctx);
	const char *distribution, *cost;

	TRY(stored_record_write(ctx, record_distribution(), r->distribution, &distribution, e));
	TRY(stored_record_write(ctx, record_analysis_cost(), r->cost, &cost, e));
	/* Two analyses of one image never have the same time. */
	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.image SET platform = coalesce(nullif($2, ''), platform),"
	                " created_at = nullif($3::bigint, 0), size = $4, files = $5, packages = $6,"
	                " analysed_at = CASE WHEN $7::bigint > 0 THEN $7::bigint"
	                " ELSE greatest(catalog.now_ms(), coalesce(analysed_at, 0) + 1) END,"
	                " distribution = $8, cost = $9, incomplete = $10, documents = $11 WHERE id = $1",
	                DB_NUMBER(image), DB_TEXT(r->platform), DB_NUMBER(r->created_at), DB_NUMBER(r->size),
	                DB_NUMBER(r->files), DB_NUMBER(r->packages), DB_NUMBER(r->analysed_at), DB_TEXT(distribution),
	                DB_TEXT(cost), DB_TEXT(stored_texts_write(ctx, r->incomplete ? r->incomplete : &none)),
	                DB_TEXT(stored_texts_write(ctx, r->documents ? r->documents : &none)));
}

static enum err_code write_all(struct db *db, struct image *image, const struct job_commit_request *r, struct err *e)
{
	struct result result = {
	    .platform = r->platform,
	    .created_at = r->created_at,
	    .size = r->size,
	    .files = r->files,
	    .distribution = r->distribution,
	    .cost = r->cost,
	    .incomplete = &r->incomplete,
	    .documents = &r->documents,
	};

	TRY(layer_use(db, image->account, image->id, r->layers, r->layers_count, false, e));
	TRY(set_use(db, image->id, r->sets, r->sets_count, &result.packages, e));
	TRY(result_write_layers(db, image->id, r->layers, r->layers_count, e));
	return result_write(db, image->id, &result, e);
}

static enum err_code end_upload(struct db *db, int64_t job, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT upload FROM catalog.job_detail WHERE job = $1", DB_NUMBER(job)));
	return upload_mark_done(db, db_count(rows) > 0 ? db_text(rows, 0, 0) : NULL, e);
}

enum err_code result_commit(struct db *db, const struct job_commit_request *request, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job_change done = {.to = JOB_DONE};
	struct image image;
	struct job job;

	TRY(job_lock_held(db, ctx, request->job, request->token, &job, e));
	if (job.state == JOB_DONE)
		return ERR_OK;
	if (job.state != JOB_LEASED)
		return ERR(e, ERR_STALE_LEASE, "job %" PRId64 " is %s", job.id, job_state_text(job.state));
	TRY(image_lock(db, ctx, job.image, &image, e));
	TRY(image_check_present(&image, e));
	TRY(write_all(db, &image, request, e));
	FAULT_POINT("job-half-committed");
	if (image.residence == RESIDENCE_ARCHIVED)
		TRY(image_move(db, &image, IMAGE_PRESENT, RESIDENCE_BOTH, e));
	TRY(end_upload(db, job.id, e));
	return job_change(db, &job, &done, e);
}
