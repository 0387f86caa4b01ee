#include "services/catalog/image.h"

#include "common/platform.h"
#include "common/reference.h"
#include "services/catalog/tag.h"

#include <string.h>

#define BUSY_RETRY_MS 500

#define COLUMNS "i.id, i.account, i.digest, i.state, i.residence, i.status, i.analysed_at, i.job, i.reason"

static const char *const state_texts[] = {
    [IMAGE_PRESENT] = "present", [IMAGE_DETACHING] = "detaching", [IMAGE_DELETING] = "deleting"};

const char *image_state_text(enum image_state state)
{
	return state_texts[state];
}

enum image_state image_state_value(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_texts); i++)
		if (strcmp(state_texts[i], text) == 0)
			return (enum image_state)i;
	ASSERT(!"a state of an image that the schema does not allow");
}

static void read_row(const struct db_rows *rows, TALLOC_CTX *ctx, struct image *image)
{
	*image = (struct image){
	    .id = db_number(rows, 0, 0),
	    .account = talloc_strdup(ctx, db_text(rows, 0, 1)),
	    .digest = db_digest(rows, 0, 2),
	    .state = image_state_value(db_text(rows, 0, 3)),
	    .residence = residence_value(db_text(rows, 0, 4)),
	    .status = analysis_status_value(db_text(rows, 0, 5)),
	    .analysed_at = db_number(rows, 0, 6),
	    .job = db_number(rows, 0, 7),
	    .reason = db_is_null(rows, 0, 8) ? NULL : talloc_strdup(ctx, db_text(rows, 0, 8)),
	};
}

/* ---- finding ---- */

enum err_code image_find_digest(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *digest,
                                struct image *image, bool *found, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " COLUMNS " FROM catalog.image i WHERE i.account = $1 AND i.digest = $2", DB_TEXT(account),
	             DB_DIGEST(digest)));
	*found = db_count(rows) > 0;
	if (*found)
		read_row(rows, ctx, image);
	return ERR_OK;
}

static enum err_code find_child(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *index,
                                struct image *image, bool *found, struct err *e)
{
	struct platform platform = platform_default();
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " COLUMNS " FROM catalog.image i WHERE i.account = $1 AND i.parent_digest = $2"
	             " AND i.state <> 'deleting' ORDER BY (i.platform = $3) DESC NULLS LAST, i.id DESC LIMIT 1",
	             DB_TEXT(account), DB_DIGEST(index), DB_TEXT(platform_print(ctx, &platform))));
	*found = db_count(rows) > 0;
	if (*found)
		read_row(rows, ctx, image);
	return ERR_OK;
}

static enum err_code find_by_digest(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *digest,
                                    struct image *image, struct err *e)
{
	bool found;

	TRY(image_find_digest(db, ctx, account, digest, image, &found, e));
	if (found && image->state != IMAGE_DELETING)
		return ERR_OK;
	TRY(find_child(db, ctx, account, digest, image, &found, e));
	if (!found)
		return ERR(e, ERR_NOT_FOUND, "no image %s in account %s", digest_text(digest).text, account);
	return ERR_OK;
}

enum err_code image_find(struct db *db, TALLOC_CTX *ctx, const char *account, const char *name, struct image *image,
                         struct err *e)
{
	struct reference r;
	struct digest digest;
	struct db_rows *rows;

	if (digest_parse(name, &digest))
		return find_by_digest(db, ctx, account, &digest, image, e);
	TRY(reference_parse(name, &r, e));
	if (!digest_is_none(&r.digest))
		return find_by_digest(db, ctx, account, &r.digest, image, e);
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " COLUMNS " FROM catalog.tag t JOIN catalog.image i ON i.id = t.image"
	             " WHERE t.account = $1 AND t.name = $2 AND i.state <> 'deleting'",
	             DB_TEXT(account), DB_TEXT(tag_name(ctx, &r))));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no image %s in account %s", tag_name(ctx, &r), account);
	read_row(rows, ctx, image);
	return ERR_OK;
}

enum err_code image_lock(struct db *db, TALLOC_CTX *ctx, int64_t id, struct image *image, struct err *e)
{
	struct db_rows *rows;

	/* NO KEY: inserts of rows that name the image need not wait. */
	TRY(db_query(db, ctx, &rows, e, "SELECT " COLUMNS " FROM catalog.image i WHERE i.id = $1 FOR NO KEY UPDATE",
	             DB_NUMBER(id)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "the image was removed");
	read_row(rows, ctx, image);
	return ERR_OK;
}

enum err_code image_check_present(const struct image *image, struct err *e)
{
	if (image->state == IMAGE_PRESENT)
		return ERR_OK;
	ERR(e, ERR_CONFLICT, "image %s is being removed%s", digest_text(&image->digest).text,
	    image->state == IMAGE_DETACHING ? " from the working set" : "");
	if (e)
		e->retry_ms = BUSY_RETRY_MS;
	return ERR_CONFLICT;
}

/* ---- state and residence ---- */

struct place {
	enum image_state state;
	enum residence residence;
};

static const struct {
	struct place from, to;
} moves[] = {
    {{IMAGE_PRESENT, RESIDENCE_WORKING}, {IMAGE_PRESENT, RESIDENCE_BOTH}},
    {{IMAGE_PRESENT, RESIDENCE_BOTH}, {IMAGE_PRESENT, RESIDENCE_WORKING}},
    {{IMAGE_PRESENT, RESIDENCE_BOTH}, {IMAGE_DETACHING, RESIDENCE_ARCHIVED}},
    {{IMAGE_PRESENT, RESIDENCE_ARCHIVED}, {IMAGE_DETACHING, RESIDENCE_ARCHIVED}},
    {{IMAGE_DETACHING, RESIDENCE_ARCHIVED}, {IMAGE_PRESENT, RESIDENCE_ARCHIVED}},
    {{IMAGE_PRESENT, RESIDENCE_ARCHIVED}, {IMAGE_PRESENT, RESIDENCE_BOTH}},
    {{IMAGE_PRESENT, RESIDENCE_WORKING}, {IMAGE_DELETING, RESIDENCE_WORKING}},
    {{IMAGE_PRESENT, RESIDENCE_ARCHIVED}, {IMAGE_DELETING, RESIDENCE_WORKING}},
    {{IMAGE_DETACHING, RESIDENCE_ARCHIVED}, {IMAGE_DELETING, RESIDENCE_WORKING}},
};

static bool is_move(const struct image *from, enum image_state state, enum residence residence)
{
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].from.state == from->state && moves[i].from.residence == from->residence &&
		    moves[i].to.state == state && moves[i].to.residence == residence)
			return true;
	return false;
}

enum err_code image_move(struct db *db, struct image *image, enum image_state state, enum residence residence,
                         struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	if (!is_move(image, state, residence))
		return ERR(e, ERR_PRECONDITION, "image %s is %s/%s and cannot become %s/%s",
		           digest_text(&image->digest).text, image_state_text(image->state),
		           residence_text(image->residence), image_state_text(state), residence_text(residence));
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE catalog.image SET state = $4, residence = $5"
	             " WHERE id = $1 AND state = $2 AND residence = $3",
	             DB_NUMBER(image->id), DB_TEXT(image_state_text(image->state)),
	             DB_TEXT(residence_text(image->residence)), DB_TEXT(image_state_text(state)),
	             DB_TEXT(residence_text(residence))));
	if (db_affected(rows) == 0)
		return ERR(e, ERR_CONFLICT, "image %s changed meanwhile", digest_text(&image->digest).text);
	image->state = state;
	image->residence = residence;
	return ERR_OK;
}

/* ---- status ---- */

static const enum analysis_status status_of_job[] = {
    [JOB_QUEUED] = ANALYSIS_QUEUED, [JOB_LEASED] = ANALYSIS_ANALYSING,   [JOB_DONE] = ANALYSIS_ANALYSED,
    [JOB_FAILED] = ANALYSIS_FAILED, [JOB_QUARANTINED] = ANALYSIS_FAILED, [JOB_CANCELLED] = ANALYSIS_FAILED,
};

enum err_code image_follow_job(struct db *db, int64_t image, int64_t job, enum job_state state, const char *reason,
                               struct err *e)
{
	SCRATCH_CTX(ctx);
	enum analysis_status status = status_of_job[state];

	/* A job that is being queued becomes the image's newest one; another one that still ends then is not asked. */
	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.image SET job = $2,"
	                " status = CASE WHEN $3 = 'failed' AND analysed_at IS NOT NULL THEN 'analysed' ELSE $3 END,"
	                " reason = CASE WHEN $3 = 'failed' AND analysed_at IS NULL THEN left($4, 1000) END"
	                " WHERE id = $1 AND ($3 = 'queued' OR job = $2)",
	                DB_NUMBER(image), DB_NUMBER(job), DB_TEXT(analysis_status_text(status)), DB_TEXT(reason));
}
