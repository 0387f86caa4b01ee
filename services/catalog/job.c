#include "services/catalog/job.h"

#include "services/catalog/event.h"
#include "services/catalog/image.h"

#include <inttypes.h>

#define PRUNE_BATCH 1000

#define SELECT_JOB                                                                                                     \
	"SELECT j.id, j.image, j.token, j.lease_until, j.account, j.worker, i.digest, j.state, j.attempts, j.deaths"   \
	" FROM catalog.job j JOIN catalog.image i ON i.id = j.image"

/* ---- reading ---- */

static void read_row(const struct db_rows *rows, TALLOC_CTX *ctx, struct job *job)
{
	*job = (struct job){
	    .id = db_number(rows, 0, 0),
	    .image = db_number(rows, 0, 1),
	    .token = db_number(rows, 0, 2),
	    .lease_until = db_number(rows, 0, 3),
	    .account = talloc_strdup(ctx, db_text(rows, 0, 4)),
	    .worker = db_is_null(rows, 0, 5) ? NULL : talloc_strdup(ctx, db_text(rows, 0, 5)),
	    .digest = db_digest(rows, 0, 6),
	    .state = job_state_value(db_text(rows, 0, 7)),
	    .attempts = db_number(rows, 0, 8),
	    .deaths = db_number(rows, 0, 9),
	};
}

static enum err_code take_row(const struct db_rows *rows, TALLOC_CTX *ctx, int64_t id, struct job *job, struct err *e)
{
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no job %" PRId64, id);
	read_row(rows, ctx, job);
	return ERR_OK;
}

enum err_code job_find(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job *job, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, SELECT_JOB " WHERE j.id = $1 AND ($2::text IS NULL OR j.account = $2)",
	             DB_NUMBER(id), DB_TEXT(account)));
	return take_row(rows, ctx, id, job, e);
}

enum err_code job_lock(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job *job, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             SELECT_JOB " WHERE j.id = $1 AND ($2::text IS NULL OR j.account = $2) FOR UPDATE OF j",
	             DB_NUMBER(id), DB_TEXT(account)));
	return take_row(rows, ctx, id, job, e);
}

enum err_code job_lock_live(struct db *db, TALLOC_CTX *ctx, int64_t image, struct job *job, struct err *e)
{
	struct db_rows *rows;

	*job = (struct job){0};
	TRY(db_query(db, ctx, &rows, e,
	             SELECT_JOB " WHERE j.image = $1 AND j.state IN ('queued', 'leased') FOR UPDATE OF j",
	             DB_NUMBER(image)));
	if (db_count(rows) > 0)
		read_row(rows, ctx, job);
	return ERR_OK;
}

static enum err_code check_token(enum err_code found, const struct job *job, int64_t id, int64_t token, struct err *e)
{
	if (found == ERR_NOT_FOUND)
		return ERR(e, ERR_STALE_LEASE, "job %" PRId64 " is gone", id);
	TRY(found);
	if (job->token != token)
		return ERR(e, ERR_STALE_LEASE, "job %" PRId64 " was leased again: token %" PRId64 " is not the newest",
		           id, token);
	return ERR_OK;
}

enum err_code job_lock_held(struct db *db, TALLOC_CTX *ctx, int64_t id, int64_t token, struct job *job, struct err *e)
{
	return check_token(job_lock(db, ctx, NULL, id, job, e), job, id, token, e);
}

enum err_code job_check_held(struct db *db, TALLOC_CTX *ctx, int64_t id, int64_t token, struct job *job, struct err *e)
{
	TRY(check_token(job_find(db, ctx, NULL, id, job, e), job, id, token, e));
	if (job->state != JOB_LEASED)
		return ERR(e, ERR_STALE_LEASE, "job %" PRId64 " is %s", id, job_state_text(job->state));
	return ERR_OK;
}

/* ---- changing ---- */

#define FROM(state) (1U << (state))

/* What may become what: the states from which each can be reached. */
static const unsigned reachable_from[] = {
    [JOB_QUEUED] = FROM(JOB_LEASED) | FROM(JOB_FAILED) | FROM(JOB_QUARANTINED) | FROM(JOB_CANCELLED),
    [JOB_LEASED] = FROM(JOB_QUEUED),
    [JOB_DONE] = FROM(JOB_LEASED),
    [JOB_FAILED] = FROM(JOB_LEASED),
    [JOB_QUARANTINED] = FROM(JOB_LEASED),
    [JOB_CANCELLED] = FROM(JOB_QUEUED) | FROM(JOB_LEASED),
};

static const char *const event_of[] = {
    [JOB_DONE] = "image.analysed",
    [JOB_FAILED] = "image.failed",
    [JOB_QUARANTINED] = "image.quarantined",
    [JOB_CANCELLED] = "image.cancelled",
};

static enum err_code update_row(struct db *db, struct job *job, const struct job_change *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	/* A cancelled job keeps the end of its lease: until then its worker may not know, and still write objects. */
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE catalog.job SET state = $3, attempts = attempts + $5::int, deaths = deaths + $6::int,"
	             " token = token + (CASE WHEN $3 = 'leased' THEN 1 ELSE 0 END),"
	             " worker = CASE WHEN $3 = 'leased' THEN $7 ELSE worker END,"
	             " request = CASE WHEN $3 = 'leased' THEN $8 ELSE request END,"
	             " leased_at = CASE WHEN $3 = 'leased' THEN catalog.now_ms() ELSE leased_at END,"
	             " lease_until = CASE WHEN $3 = 'leased' THEN catalog.now_ms() + $9::bigint"
	             " WHEN $3 = 'cancelled' THEN lease_until END,"
	             " not_before = CASE WHEN $3 = 'queued' THEN catalog.now_ms() + $10::bigint ELSE not_before END,"
	             " ended_at = CASE WHEN $3 NOT IN ('queued', 'leased') THEN catalog.now_ms() END"
	             " WHERE id = $1 AND state = $2 AND token = $4"
	             " RETURNING token, lease_until, attempts, deaths",
	             DB_NUMBER(job->id), DB_TEXT(job_state_text(job->state)), DB_TEXT(job_state_text(c->to)),
	             DB_NUMBER(job->token), DB_NUMBER(c->attempts), DB_NUMBER(c->deaths), DB_TEXT(c->worker),
	             DB_TEXT(c->request), DB_NUMBER(c->lease_ms), DB_NUMBER(c->wait_ms)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_CONFLICT, "job %" PRId64 " changed meanwhile", job->id);
	job->state = c->to;
	job->token = db_number(rows, 0, 0);
	job->lease_until = db_number(rows, 0, 1);
	job->attempts = db_number(rows, 0, 2);
	job->deaths = db_number(rows, 0, 3);
	return ERR_OK;
}

static enum err_code note_reason(struct db *db, const struct job *job, const char *reason, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "UPDATE catalog.job_detail SET last_error = left($2, 1000) WHERE job = $1",
	                DB_NUMBER(job->id), DB_TEXT(reason));
}

enum err_code job_change(struct db *db, struct job *job, const struct job_change *change, struct err *e)
{
	enum job_state from = job->state;
	struct event event = {.account = job->account, .message = change->reason};
	struct digest_text subject = digest_text(&job->digest);

	if (!(reachable_from[change->to] & FROM(from)))
		return ERR(e, ERR_CONFLICT, "job %" PRId64 " is %s and cannot become %s", job->id, job_state_text(from),
		           job_state_text(change->to));
	TRY(update_row(db, job, change, e));
	if (change->reason)
		TRY(note_reason(db, job, change->reason, e));
	TRY(image_follow_job(db, job->image, job->id, change->to, change->reason, e));
	if ((size_t)change->to >= ARRAY_SIZE(event_of) || !event_of[change->to])
		return ERR_OK;
	event.kind = event_of[change->to];
	event.subject = subject.text;
	return event_add(db, &event, e);
}

enum err_code job_queue(struct db *db, int64_t image, const char *account, const struct job_source *source,
                        int64_t *job, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.job (image, account, state) VALUES ($1, $2, 'queued') RETURNING id",
	             DB_NUMBER(image), DB_TEXT(account)));
	*job = db_number(rows, 0, 0);
	TRY(db_query(db, ctx, NULL, e,
	             "INSERT INTO catalog.job_detail (job, source, reference, upload) VALUES ($1, $2, $3, $4)",
	             DB_NUMBER(*job), DB_TEXT(image_source_text(source->source)), DB_TEXT(source->reference),
	             DB_TEXT(source->upload)));
	return image_follow_job(db, image, *job, JOB_QUEUED, NULL, e);
}

/* ---- users' orders ---- */

enum err_code job_cancel(struct db *db, struct job *job, const char *reason, struct err *e)
{
	struct job_change change = {.to = JOB_CANCELLED, .reason = reason};

	if (job->state == JOB_CANCELLED)
		return ERR(e, ERR_CONFLICT, "job %" PRId64 " is cancelled already", job->id);
	return job_change(db, job, &change, e);
}

enum err_code job_retry(struct db *db, struct job *job, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job_change change = {.to = JOB_QUEUED, .attempts = -job->attempts, .deaths = -job->deaths};
	struct image image;
	struct db_rows *rows;

	if (job->state == JOB_QUEUED || job->state == JOB_LEASED)
		return ERR_OK;
	TRY(image_lock(db, ctx, job->image, &image, e));
	TRY(image_check_present(&image, e));
	TRY(db_query(db, ctx, &rows, e, "SELECT id FROM catalog.job WHERE image = $1 AND state IN ('queued', 'leased')",
	             DB_NUMBER(job->image)));
	if (db_count(rows) > 0)
		return ERR(e, ERR_CONFLICT, "image %s has a newer job, %" PRId64, digest_text(&job->digest).text,
		           db_number(rows, 0, 0));
	return job_change(db, job, &change, e);
}

enum err_code job_prune(struct db *db, int64_t age_ms, bool *more, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "DELETE FROM catalog.job WHERE id IN (SELECT j.id FROM catalog.job j JOIN catalog.image i"
	             " ON i.id = j.image WHERE j.ended_at < catalog.now_ms() - $1::bigint AND i.job <> j.id"
	             " ORDER BY j.id LIMIT $2)",
	             DB_NUMBER(age_ms), DB_NUMBER(PRUNE_BATCH)));
	*more = db_affected(rows) == PRUNE_BATCH;
	return ERR_OK;
}
