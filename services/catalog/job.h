/*
 * job: one analysis of one image, from being queued to its end.
 *
 *     queued -> leased -> done
 *                      -> queued        handed back, failed in a way that may pass, or its lease ran out
 *                      -> failed        a reason that another try would not change, or too many tries
 *                      -> quarantined   its workers died too often
 *     queued, leased   -> cancelled
 *     failed, quarantined, cancelled -> queued     asked for again
 *
 * job_change is the only function that changes a job's state, by that table, and the only one that gives leases. An
 * image has at most one job that is queued or leased (an index sees to it).
 *
 * A lease has a token, which grows each time the job is leased, and an end by the database's clock. Whoever has the
 * newest token holds the job, even past the end, until somebody else took it. Every message of a worker names the
 * token; one that is not the newest is ERR_STALE_LEASE, and so is one for a job that is gone.
 *
 * attempts counts the leases that were not handed back unharmed, deaths those of them that ran out or killed their
 * parser.
 *
 * All functions but job_find belong inside a transaction. After it: hub_announce.
 */
#ifndef CATALOG_JOB_H
#define CATALOG_JOB_H

#include "common/db.h"
#include "proto/messages.h"
#include "services/catalog/settings.h"

struct job {
	int64_t id, image, token, lease_until;
	const char *account, *worker; /* on the ctx it was read with; worker may be NULL */
	struct digest digest;         /* of the image */
	enum job_state state;
	int64_t attempts, deaths;
};

struct job_change {
	enum job_state to;
	const char *reason;           /* why, for people; NULL: nothing new to say */
	int64_t wait_ms;              /* to queued: not before */
	int64_t attempts, deaths;     /* are added */
	int64_t lease_ms;             /* to leased */
	const char *worker, *request; /* to leased */
};

/* job: as it was read under its lock; it is changed like the row. An end that is bad, and done, is an event. */
enum err_code job_change(struct db *db, struct job *job, const struct job_change *change, struct err *e) MUST_CHECK;

/* Where an image's analysis gets its bytes. */
struct job_source {
	enum image_source source;
	const char *reference; /* of a registry, with scheme if one was given */
	const char *upload;
};

/* A new job, queued. ERR_CONFLICT when the image has a live one. */
enum err_code job_queue(struct db *db, int64_t image, const char *account, const struct job_source *source,
                        int64_t *job, struct err *e) MUST_CHECK;

/* account NULL: any. ERR_NOT_FOUND names the job. The locking form is for transactions. */
enum err_code job_find(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job *job,
                       struct err *e) MUST_CHECK;
enum err_code job_lock(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job *job,
                       struct err *e) MUST_CHECK;

/* The queued or leased job of an image, locked; job->id is 0 when there is none. */
enum err_code job_lock_live(struct db *db, TALLOC_CTX *ctx, int64_t image, struct job *job, struct err *e) MUST_CHECK;

/* The job, locked, for the holder of that token: ERR_STALE_LEASE if it is not the newest. The state may be anything. */
enum err_code job_lock_held(struct db *db, TALLOC_CTX *ctx, int64_t id, int64_t token, struct job *job,
                            struct err *e) MUST_CHECK;

/* ERR_STALE_LEASE unless the token holds the job now. Locks nothing: what follows must stand on its own. */
enum err_code job_check_held(struct db *db, TALLOC_CTX *ctx, int64_t id, int64_t token, struct job *job,
                             struct err *e) MUST_CHECK;

/* Users' orders. ERR_CONFLICT: cancelling what ended, retrying what is done, or while another job of the image lives.
 */
enum err_code job_cancel(struct db *db, struct job *job, const char *reason, struct err *e) MUST_CHECK;
enum err_code job_retry(struct db *db, struct job *job, struct err *e) MUST_CHECK;

/* Removes a batch of jobs that ended longer ago and are not their image's newest. */
enum err_code job_prune(struct db *db, int64_t age_ms, bool *more, struct err *e) MUST_CHECK;

#endif
