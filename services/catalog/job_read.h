/*
 * job_read: jobs as users see them, and as the worker gets one.
 */
#ifndef CATALOG_JOB_READ_H
#define CATALOG_JOB_READ_H

#include "common/vault.h"
#include "services/catalog/job.h"

/* Everything hangs on ctx. */
enum err_code job_read_item(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job_item *item,
                            struct err *e) MUST_CHECK;
enum err_code job_read_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct job_list_request *request,
                            struct job_list_reply *reply, struct err *e) MUST_CHECK;

enum err_code job_read_stats(struct db *db, TALLOC_CTX *ctx, const struct settings *settings,
                             struct queue_stats_reply *reply, struct err *e) MUST_CHECK;

/* How far the job is; no effect on reply when there is no such job. */
enum err_code job_read_progress(struct db *db, TALLOC_CTX *ctx, int64_t id, struct image_wait_reply *reply,
                                struct err *e) MUST_CHECK;

/* What the worker needs to know about the job that it was given, credentials for its registry included. */
enum err_code job_read_grant(struct db *db, TALLOC_CTX *ctx, const struct vault *vault, const struct settings *settings,
                             const struct job *job, struct job_lease_reply *reply, struct err *e) MUST_CHECK;

#endif
