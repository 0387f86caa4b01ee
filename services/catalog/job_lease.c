#include "services/catalog/job_lease.h"

#include "common/clock.h"
#include "services/catalog/worker.h"

#include <inttypes.h>

#define REAP_BATCH 100

/* ---- leasing ---- */

/* The lease that this request made before. *known: it made one, which may have ended since (job->id is 0 then). */
static enum err_code find_request(struct db *db, TALLOC_CTX *ctx, const char *request, struct job *job, bool *known,
                                  struct err *e)
{
	struct db_rows *rows;

	*known = false;
	TRY(db_query(db, ctx, &rows, e, "SELECT id FROM catalog.job WHERE request = $1", DB_TEXT(request)));
	if (db_count(rows) == 0)
		return ERR_OK;
	*known = true;
	TRY(job_find(db, ctx, NULL, db_number(rows, 0, 0), job, e));
	if (job->state != JOB_LEASED)
		*job = (struct job){0};
	return ERR_OK;
}

/* Accounts that have queued jobs, in the order in which they are served. The recursion hops from one account to the
 * next in the index of queued jobs, so its cost does not depend on how many each has. */
static enum err_code accounts_in_order(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	return db_query(db, ctx, rows, e,
	                "WITH RECURSIVE waiting (account) AS ("
	                " (SELECT account FROM catalog.job WHERE state = 'queued' ORDER BY account LIMIT 1)"
	                " UNION ALL SELECT (SELECT j.account FROM catalog.job j WHERE j.state = 'queued'"
	                " AND j.account > w.account ORDER BY j.account LIMIT 1) FROM waiting w"
	                " WHERE w.account IS NOT NULL)"
	                " SELECT w.account FROM waiting w JOIN catalog.account a ON a.name = w.account"
	                " LEFT JOIN (SELECT account, count(*) AS jobs FROM catalog.job WHERE state = 'leased'"
	                " GROUP BY account) l ON l.account = w.account"
	                " ORDER BY coalesce(l.jobs, 0), a.turn, w.account");
}

static enum err_code pick(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t *id, struct err *e)
{
	struct db_rows *rows;

	*id = 0;
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM catalog.job WHERE state = 'queued' AND account = $1"
	             " AND not_before <= catalog.now_ms() ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED",
	             DB_TEXT(account)));
	if (db_count(rows) > 0)
		*id = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code take(struct db *db, TALLOC_CTX *ctx, const struct settings *settings, const char *worker,
                          const char *request, int64_t id, struct job *job, struct err *e)
{
	struct job_change change = {
	    .to = JOB_LEASED, .attempts = 1, .lease_ms = settings->lease_ms, .worker = worker, .request = request};

	TRY(job_lock(db, ctx, NULL, id, job, e));
	TRY(job_change(db, job, &change, e));
	TRY(db_query(db, ctx, NULL, e,
	             "UPDATE catalog.job_detail SET stage = NULL, layers_done = NULL, layers_total = NULL,"
	             " bytes_done = NULL, bytes_total = NULL WHERE job = $1 AND stage IS NOT NULL",
	             DB_NUMBER(job->id)));
	return db_query(db, ctx, NULL, e, "UPDATE catalog.account SET turn = nextval('catalog.turn') WHERE name = $1",
	                DB_TEXT(job->account));
}

enum err_code job_lease(struct db *db, TALLOC_CTX *ctx, const struct settings *settings, const char *worker,
                        const char *request, struct job *job, struct err *e)
{
	struct db_rows *accounts;
	bool known, left;

	*job = (struct job){0};
	TRY(find_request(db, ctx, request, job, &known, e));
	if (known)
		return ERR_OK;
	TRY(worker_has_left(db, worker, &left, e));
	if (left)
		return ERR_OK;
	TRY(accounts_in_order(db, ctx, &accounts, e));
	for (size_t i = 0; i < db_count(accounts); i++) {
		int64_t id;

		TRY(pick(db, ctx, db_text(accounts, i, 0), &id, e));
		if (id)
			return take(db, ctx, settings, worker, request, id, job, e);
	}
	return ERR_OK;
}

/* ---- while it is held ---- */

static enum err_code note_progress(struct db *db, const struct job_renew_request *r, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.job_detail SET stage = coalesce($2, stage),"
	                " layers_done = coalesce(nullif($3::int, 0), layers_done),"
	                " layers_total = coalesce(nullif($4::int, 0), layers_total),"
	                " bytes_done = coalesce(nullif($5::bigint, 0), bytes_done),"
	                " bytes_total = coalesce(nullif($6::bigint, 0), bytes_total) WHERE job = $1",
	                DB_NUMBER(r->job), DB_TEXT(r->stage), DB_NUMBER(r->layers_done), DB_NUMBER(r->layers_total),
	                DB_NUMBER(r->bytes_done), DB_NUMBER(r->bytes_total));
}

enum err_code job_renew(struct db *db, const struct settings *settings, const struct job_renew_request *request,
                        bool *cancelled, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct job job;

	*cancelled = false;
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE catalog.job SET lease_until = catalog.now_ms() + $3::bigint"
	             " WHERE id = $1 AND token = $2 AND state = 'leased'",
	             DB_NUMBER(request->job), DB_NUMBER(request->token), DB_NUMBER(settings->lease_ms)));
	if (db_affected(rows) == 1)
		return note_progress(db, request, e);
	TRY(job_lock_held(db, ctx, request->job, request->token, &job, e));
	*cancelled = job.state == JOB_CANCELLED;
	if (!*cancelled)
		return ERR(e, ERR_STALE_LEASE, "job %" PRId64 " is %s", job.id, job_state_text(job.state));
	return ERR_OK;
}

/* ---- how it ends without a result ---- */

/* The worker of a cancelled job says that it stopped: nothing of it can come any more. */
static enum err_code end_cancelled(struct db *db, const struct job *job, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "UPDATE catalog.job SET lease_until = NULL WHERE id = $1 AND token = $2",
	                DB_NUMBER(job->id), DB_NUMBER(job->token));
}

enum err_code job_release(struct db *db, int64_t id, int64_t token, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job_change change = {.to = JOB_QUEUED, .attempts = -1};
	struct job job;

	TRY(job_lock_held(db, ctx, id, token, &job, e));
	if (job.state == JOB_CANCELLED)
		return end_cancelled(db, &job, e);
	if (job.state == JOB_QUEUED)
		return ERR_OK; /* this message came before */
	return job_change(db, &job, &change, e);
}

/* A death: again, but not for ever. */
static struct job_change after_death(TALLOC_CTX *ctx, const struct settings *settings, const struct job *job,
                                     const char *reason)
{
	struct job_change change = {.to = JOB_QUEUED, .reason = reason, .deaths = 1};

	if (job->deaths + 1 >= settings->max_deaths) {
		change.to = JOB_QUARANTINED;
		change.reason = talloc_asprintf(ctx, "quarantined: %" PRId64 " workers died over it, the last one: %s",
		                                job->deaths + 1, reason);
	} else {
		change.wait_ms = backoff_ms((unsigned)job->deaths, (unsigned)settings->retry_base_ms,
		                            (unsigned)settings->retry_cap_ms);
	}
	return change;
}

static struct job_change after_transient(TALLOC_CTX *ctx, const struct settings *settings, const struct job *job,
                                         const struct job_fail_request *request)
{
	struct job_change change = {.to = JOB_QUEUED, .reason = request->reason};
	int64_t tries = job->attempts - job->deaths;

	if (tries >= settings->max_attempts) {
		change.to = JOB_FAILED;
		change.reason =
		    talloc_asprintf(ctx, "%s (given up after %" PRId64 " attempts)", request->reason, tries);
		return change;
	}
	change.wait_ms = backoff_ms((unsigned)MAX(tries - 1, (int64_t)0), (unsigned)settings->retry_base_ms,
	                            (unsigned)settings->retry_cap_ms);
	change.wait_ms = MAX(change.wait_ms, MIN(request->retry_ms, settings->retry_cap_ms));
	return change;
}

enum err_code job_fail(struct db *db, const struct settings *settings, const struct job_fail_request *request,
                       enum job_state *state, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job_change change = {.to = JOB_FAILED, .reason = request->reason};
	struct job job;

	TRY(job_lock_held(db, ctx, request->job, request->token, &job, e));
	*state = job.state;
	if (job.state == JOB_CANCELLED)
		return end_cancelled(db, &job, e);
	if (job.state != JOB_LEASED)
		return ERR_OK; /* this message came before */
	if (request->kind == FAILURE_TRANSIENT)
		change = after_transient(ctx, settings, &job, request);
	else if (request->kind == FAILURE_KILLED)
		change = after_death(ctx, settings, &job, request->reason);
	TRY(job_change(db, &job, &change, e));
	*state = job.state;
	return ERR_OK;
}

static enum err_code reap_one(struct db *db, const struct settings *settings, int64_t id, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct job_change change;
	struct job job;

	TRY(job_lock(db, ctx, NULL, id, &job, e));
	change = after_death(ctx, settings, &job,
	                     talloc_asprintf(ctx, "deadline exceeded: worker %s did not renew its lease",
	                                     job.worker ? job.worker : "?"));
	return job_change(db, &job, &change, e);
}

enum err_code job_reap(struct db *db, const struct settings *settings, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	*count = 0;
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM catalog.job WHERE state = 'leased' AND lease_until < catalog.now_ms()"
	             " ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
	             DB_NUMBER(REAP_BATCH)));
	for (size_t i = 0; i < db_count(rows); i++)
		TRY(reap_one(db, settings, db_number(rows, i, 0), e));
	*count = db_count(rows);
	return ERR_OK;
}
