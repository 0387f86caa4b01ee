#include "services/catalog/admission.h"

#include "services/catalog/account.h"
#include "services/catalog/event.h"
#include "services/catalog/stored.h"
#include "services/catalog/tag.h"
#include "services/catalog/upload.h"

#include <stdlib.h>
#include <string.h>

bool admission_is_needless(const struct image *image, bool force)
{
	return image->status == ANALYSIS_ANALYSED && image->residence != RESIDENCE_ARCHIVED && !force;
}

/* The row, made unless it is there: two who do this at once wait for each other here, and see the same row. */
static enum err_code make_row(struct db *db, const struct order *o, struct image *image, TALLOC_CTX *ctx, struct err *e)
{
	struct digest_text subject = digest_text(&o->digest);
	struct event event = {
	    .account = o->account, .kind = "image.added", .subject = subject.text, .message = o->reference};
	struct db_rows *rows;
	bool found;

	TRY(account_check(db, o->account, e));
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.image (account, digest, status, source, reference, platform, parent_digest)"
	             " VALUES ($1, $2, 'queued', $3, $4, $5, $6) ON CONFLICT (account, digest) DO NOTHING",
	             DB_TEXT(o->account), DB_DIGEST(&o->digest), DB_TEXT(image_source_text(o->source.source)),
	             DB_TEXT(o->reference), DB_TEXT(o->platform),
	             digest_is_none(&o->parent_digest) ? DB_NULL : DB_DIGEST(&o->parent_digest)));
	if (db_affected(rows) == 1)
		TRY(event_add(db, &event, e));
	TRY(image_find_digest(db, ctx, o->account, &o->digest, image, &found, e));
	if (!found)
		return ERR(e, ERR_CONFLICT, "image %s was removed in this moment", subject.text);
	return ERR_OK;
}

static int compare_tags(const void *a, const void *b)
{
	const struct reference *const *x = a, *const *y = b;
	int order = strcmp((*x)->registry, (*y)->registry);

	if (!order)
		order = strcmp((*x)->repository, (*y)->repository);
	return order ? order : strcmp((*x)->tag, (*y)->tag);
}

/* In order of their names, as everybody locks them. */
static enum err_code set_tags(struct db *db, const struct order *o, const struct image *image, TALLOC_CTX *ctx,
                              struct err *e)
{
	const struct reference **sorted = talloc_zero_array(ctx, const struct reference *, o->tag_count + 1);

	ASSERT(sorted);
	for (size_t i = 0; i < o->tag_count; i++)
		sorted[i] = &o->tags[i];
	qsort(sorted, o->tag_count, sizeof(*sorted), compare_tags);
	for (size_t i = 0; i < o->tag_count; i++)
		TRY(tag_set(db, o->account, sorted[i], image->id, &image->digest, e));
	return ERR_OK;
}

static enum err_code annotate(struct db *db, const struct order *o, const struct image *image, TALLOC_CTX *ctx,
                              struct err *e)
{
	if (!o->annotations || o->annotations->count == 0)
		return ERR_OK;
	return db_query(db, ctx, NULL, e, "UPDATE catalog.image SET annotations = $2 WHERE id = $1",
	                DB_NUMBER(image->id), DB_TEXT(stored_map_write(ctx, o->annotations)));
}

/* An upload that came for an image which has no need of it, unless its job already uses this very one. */
static enum err_code drop_upload(struct db *db, const struct order *o, int64_t job, TALLOC_CTX *ctx, struct err *e)
{
	struct db_rows *rows;

	if (!o->source.upload)
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.job_detail WHERE job = $1 AND upload = $2",
	             DB_NUMBER(job), DB_TEXT(o->source.upload)));
	return db_count(rows) > 0 ? ERR_OK : upload_mark_done(db, o->source.upload, e);
}

static enum err_code queue(struct db *db, const struct order *o, const struct image *image, struct admission *admission,
                           TALLOC_CTX *ctx, struct err *e)
{
	if (o->source.upload) {
		TRY(upload_check(db, o->account, o->source.upload, e));
		TRY(upload_mark_used(db, o->source.upload, e));
	}
	TRY(db_query(db, ctx, NULL, e,
	             "UPDATE catalog.image SET source = $2, reference = coalesce($3, reference) WHERE id = $1",
	             DB_NUMBER(image->id), DB_TEXT(image_source_text(o->source.source)), DB_TEXT(o->reference)));
	admission->status = ANALYSIS_QUEUED;
	return job_queue(db, image->id, o->account, &o->source, &admission->job, e);
}

enum err_code admit(struct db *db, const struct order *o, struct admission *admission, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct image image;
	struct job live;

	TRY(make_row(db, o, &image, ctx, e));
	TRY(job_lock_live(db, ctx, image.id, &live, e));
	TRY(image_lock(db, ctx, image.id, &image, e));
	TRY(image_check_present(&image, e));
	TRY(annotate(db, o, &image, ctx, e));
	TRY(set_tags(db, o, &image, ctx, e));
	*admission = (struct admission){.image = image.id, .status = image.status};
	if (image.job && (image.status == ANALYSIS_QUEUED || image.status == ANALYSIS_ANALYSING)) {
		admission->job = image.job;
		return drop_upload(db, o, image.job, ctx, e);
	}
	if (admission_is_needless(&image, o->force))
		return drop_upload(db, o, image.job, ctx, e);
	return queue(db, o, &image, admission, ctx, e);
}

enum err_code admission_note_dockerfile(struct db *db, int64_t image, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "UPDATE catalog.image SET dockerfile = true WHERE id = $1", DB_NUMBER(image));
}
