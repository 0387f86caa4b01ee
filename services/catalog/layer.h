/*
 * layer: what is known about a layer of an account, named by (account, digest of the blob, analyzer revision). Its
 * documents are objects in bucket "layers" with the prefix "<revision>/<hex>/".
 *
 *     (no row) -> pending     before the first document is written
 *     pending  -> known       all documents are there
 *     pending, known -> deleting -> (no row)     when no image uses it and nothing touched it for the grace period
 *
 * So there are never objects without a row. Images hold layers by rows of layer_use, whose foreign key keeps the layer;
 * a job that is running holds those it touched since it was leased.
 *
 * The sweep decides under the row's lock, with a fresh look at layer_use after it has the lock; job_commit and
 * image_restore_begin add a use only under a lock that excludes the sweep's. That is why neither can lose.
 */
#ifndef CATALOG_LAYER_H
#define CATALOG_LAYER_H

#include "common/db.h"
#include "proto/messages.h"

/* Which of the layers are known; they are touched. Inside a transaction. */
enum err_code layer_lookup(struct db *db, TALLOC_CTX *ctx, const char *account,
                           const struct layer_lookup_request *request, struct layer_lookup_reply *reply,
                           struct err *e) MUST_CHECK;

/* The layer is pending now, or known as before; touched. ERR_CONFLICT with retry_ms while it is being deleted. */
enum err_code layer_begin(struct db *db, const char *account, const struct digest *layer, const char *revision,
                          struct err *e) MUST_CHECK;

/* ERR_CONFLICT: it was swept since layer_begin. */
enum err_code layer_commit(struct db *db, const char *account, const struct layer_commit_request *request,
                           struct err *e) MUST_CHECK;

/* Inside a transaction: the image uses these layers from now on, and no others. All must be known, or ERR_CONFLICT
 * names one that is not; pending ones do, too, where pending_too says so. Layers without a revision are ERR_INVALID. */
enum err_code layer_use(struct db *db, const char *account, int64_t image, const struct layer_item *layers,
                        size_t count, bool pending_too, struct err *e) MUST_CHECK;

/* Inside a transaction: the image uses none any more. */
enum err_code layer_use_none(struct db *db, int64_t image, struct err *e) MUST_CHECK;

/* Inside a transaction: marks a batch of unused ones as deleting. */
enum err_code layer_mark_unused(struct db *db, int64_t grace_ms, size_t *count, struct err *e) MUST_CHECK;

/* Those being deleted, a batch: rows (id, account, digest, revision). Their objects may be removed at any time. */
enum err_code layer_list_deleting(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e) MUST_CHECK;
enum err_code layer_forget(struct db *db, int64_t id, struct err *e) MUST_CHECK;

/* "<revision>/<hex>/" */
char *layer_prefix(TALLOC_CTX *ctx, const struct digest *layer, const char *revision);

#endif
