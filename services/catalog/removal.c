#include "services/catalog/removal.h"

#include "common/fault.h"
#include "common/log.h"
#include "services/catalog/chore.h"
#include "services/catalog/event.h"
#include "services/catalog/job.h"
#include "services/catalog/layer.h"
#include "services/catalog/set.h"

#include <inttypes.h>

#define BATCH 50

/* ---- beginning ---- */

static enum err_code tell(struct db *db, const struct image *image, const char *kind, struct err *e)
{
	struct digest_text subject = digest_text(&image->digest);
	struct event event = {.account = image->account, .kind = kind, .subject = subject.text};

	return event_add(db, &event, e);
}

static enum err_code begin_delete(struct db *db, struct image *image, struct err *e)
{
	SCRATCH_CTX(ctx);

	TRY(image_move(db, image, IMAGE_DELETING, RESIDENCE_WORKING, e));
	TRY(layer_use_none(db, image->id, e));
	TRY(set_use_none(db, image->id, e));
	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.tag WHERE image = $1", DB_NUMBER(image->id)));
	return tell(db, image, "image.removed", e);
}

static enum err_code begin_detach(struct db *db, struct image *image, struct err *e)
{
	TRY(image_move(db, image, IMAGE_DETACHING, RESIDENCE_ARCHIVED, e));
	TRY(layer_use_none(db, image->id, e));
	return tell(db, image, "image.detached", e);
}

/* Jobs are locked before images, so the live one is looked for first. *cancelled: there was one. */
static enum err_code stop_analysis(struct db *db, struct image *image, bool force, bool *cancelled, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job live;

	TRY(job_lock_live(db, ctx, image->id, &live, e));
	*cancelled = live.id != 0;
	if (!live.id)
		return ERR_OK;
	if (!force)
		return ERR(e, ERR_CONFLICT, "image %s is being analysed by job %" PRId64 ": force cancels it",
		           digest_text(&image->digest).text, live.id);
	return job_cancel(db, &live, "cancelled: the image was removed", e);
}

/* With no analysis under way. */
static enum err_code lock_idle(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e)
{
	TRY(image_lock(db, ctx, image->id, image, e));
	if (image->status == ANALYSIS_QUEUED || image->status == ANALYSIS_ANALYSING)
		return ERR(e, ERR_CONFLICT, "image %s is being analysed by job %" PRId64,
		           digest_text(&image->digest).text, image->job);
	return ERR_OK;
}

enum err_code removal_from_working_set(struct db *db, TALLOC_CTX *ctx, struct image *image, bool force, struct err *e)
{
	bool cancelled;

	TRY(stop_analysis(db, image, force, &cancelled, e));
	TRY(lock_idle(db, ctx, image, e));
	if (image->state != IMAGE_PRESENT)
		return ERR_OK; /* it is leaving already */
	if (image->residence == RESIDENCE_WORKING)
		return begin_delete(db, image, e);
	/* An archived image has no objects here, but for what a cancelled analysis may have written. */
	return image->residence == RESIDENCE_BOTH || cancelled ? begin_detach(db, image, e) : ERR_OK;
}

static enum err_code archived_analysis(struct db *db, const struct image *image, int64_t *analysis, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT archived_analysis FROM catalog.image WHERE id = $1",
	             DB_NUMBER(image->id)));
	*analysis = db_count(rows) > 0 ? db_number(rows, 0, 0) : 0;
	return ERR_OK;
}

enum err_code removal_detach(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e)
{
	int64_t analysis;

	TRY(lock_idle(db, ctx, image, e));
	if (image->residence == RESIDENCE_ARCHIVED)
		return ERR_OK;
	if (image->residence != RESIDENCE_BOTH)
		return ERR(e, ERR_PRECONDITION, "image %s is not archived", digest_text(&image->digest).text);
	TRY(archived_analysis(db, image, &analysis, e));
	if (analysis != image->analysed_at)
		return ERR(e, ERR_PRECONDITION, "image %s was analysed again after it was archived",
		           digest_text(&image->digest).text);
	return begin_detach(db, image, e);
}

enum err_code removal_from_archive(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e)
{
	if (image->residence == RESIDENCE_ARCHIVED) {
		TRY(lock_idle(db, ctx, image, e));
		if (image->residence == RESIDENCE_ARCHIVED)
			return begin_delete(db, image, e);
	}
	if (image->residence != RESIDENCE_BOTH)
		return ERR_OK;
	return image_move(db, image, image->state, RESIDENCE_WORKING, e);
}

/* ---- carrying out ---- */

static enum err_code list_leaving(struct db_pool *pool, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(pool, CHORE_CONNECT_MS, &db, e));
	return db_query(db, ctx, rows, e,
	                "SELECT i.id, i.account, i.digest FROM catalog.image i WHERE i.state <> 'present'"
	                " AND NOT EXISTS (SELECT 1 FROM catalog.job j WHERE j.image = i.id"
	                " AND j.lease_until > catalog.now_ms()) ORDER BY i.id LIMIT $1",
	                DB_NUMBER(BATCH));
}

static enum err_code finish_one(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	int64_t *id = arg;
	struct image image;

	TRY(image_lock(db, ctx, *id, &image, e));
	if (image.state == IMAGE_DETACHING)
		return image_move(db, &image, IMAGE_PRESENT, RESIDENCE_ARCHIVED, e);
	if (image.state == IMAGE_DELETING)
		return db_query(db, ctx, NULL, e, "DELETE FROM catalog.image WHERE id = $1", DB_NUMBER(*id));
	return ERR_OK;
}

static enum err_code remove_one(struct catalog *c, int64_t id, const char *account, const struct digest *digest,
                                struct err *e)
{
	SCRATCH_CTX(ctx);
	char *prefix = talloc_asprintf(ctx, "%s/", digest_hex(digest).text);

	ASSERT(prefix);
	FAULT_POINT("image-leaving");
	TRY(chore_remove_prefix(c, CHORE_REMOVAL, account, "images", prefix, e));
	FAULT_POINT("image-objects-gone");
	return db_transaction(c->db, finish_one, &id, e);
}

static size_t remove_all(struct catalog *c, const struct db_rows *rows)
{
	size_t done = 0;
	struct err e;

	for (size_t i = 0; i < db_count(rows) && !chore_is_over(c); i++) {
		struct digest digest = db_digest(rows, i, 2);

		if (remove_one(c, db_number(rows, i, 0), db_text(rows, i, 1), &digest, &e) == ERR_OK)
			done++;
		else
			LOG_WARN("image not removed yet", LOG_TEXT("image", digest_text(&digest).text), LOG_ERR(&e));
	}
	return done;
}

void removal_run(struct catalog *c)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct err e;
	enum err_code code;
	size_t done = 0;

	code = list_leaving(c->db, ctx, &rows, &e);
	if (code == ERR_OK && db_count(rows) > 0 && chore_is_mine(c, CHORE_REMOVAL)) {
		/* Once more: what was listed before the lease, another process may have removed, and users added anew.
		 */
		code = list_leaving(c->db, ctx, &rows, &e);
		if (code == ERR_OK)
			done = remove_all(c, rows);
		chore_done(c, CHORE_REMOVAL);
	}
	if (code != ERR_OK)
		LOG_WARN("removal not done", LOG_ERR(&e));
	if (done > 0) {
		LOG_INFO("images removed", LOG_NUMBER("count", done));
		hub_announce(c->hub);
	}
}
