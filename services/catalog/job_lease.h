/*
 * job_lease: what workers do with jobs: lease, renew, hand back, report a failure; and what becomes of a lease that
 * nobody renews.
 *
 * Which job: of the accounts that have one due, the one with the fewest leased jobs, among those the one whose turn was
 * longest ago; within an account the highest priority, then the oldest. Jobs that another worker is just leasing are
 * stepped over.
 *
 * A lease is found again by the id of the request that made it: a request that was sent twice, perhaps to two replicas,
 * has its effect once.
 *
 * All functions belong inside a transaction. After it: hub_announce where something was queued or ended.
 */
#ifndef CATALOG_JOB_LEASE_H
#define CATALOG_JOB_LEASE_H

#include "services/catalog/job.h"

/* job->id is 0 when there is no work, or the worker has left and did not get one before. ERR_CONFLICT: another replica
 * just leased a job to this very request; once more, in a new transaction, finds that lease. */
enum err_code job_lease(struct db *db, TALLOC_CTX *ctx, const struct settings *settings, const char *worker,
                        const char *request, struct job *job, struct err *e) MUST_CHECK;

/* *cancelled: the lease was not renewed because the job is cancelled. Progress of 0 is left as it was. */
enum err_code job_renew(struct db *db, const struct settings *settings, const struct job_renew_request *request,
                        bool *cancelled, struct err *e) MUST_CHECK;

/* By a worker that is stopping, or that has stopped because the job was cancelled. */
enum err_code job_release(struct db *db, int64_t id, int64_t token, struct err *e) MUST_CHECK;

/* *state is what the job is afterwards. */
enum err_code job_fail(struct db *db, const struct settings *settings, const struct job_fail_request *request,
                       enum job_state *state, struct err *e) MUST_CHECK;

/* Takes a batch of expired leases back. *count: how many jobs changed. */
enum err_code job_reap(struct db *db, const struct settings *settings, size_t *count, struct err *e) MUST_CHECK;

#endif
