/*
 * worker: who asks for jobs, as the catalog sees it.
 *
 * A worker is known by the name that it leases with; each process has one of its own, so one that left never comes back
 * under the same name. From then on it gets no lease, and its requests that wait for one are answered.
 */
#ifndef CATALOG_WORKER_H
#define CATALOG_WORKER_H

#include "common/db.h"
#include "proto/messages.h"

#define WORKER_FORGET_MS (60LL * 60 * 1000) /* rows are kept for so long after the last word */

/* It asks for work. Writes only where the last note is some seconds old. */
enum err_code worker_note(struct db *db, const char *name, struct err *e) MUST_CHECK;

/* It stops. Inside a transaction; after it: hub_announce. */
enum err_code worker_leave(struct db *db, const char *name, struct err *e) MUST_CHECK;
enum err_code worker_has_left(struct db *db, const char *name, bool *left, struct err *e) MUST_CHECK;

/* Those heard of lately, and all that hold leases; lease_ms is how long a lease lasts without being renewed. One that
 * was silent for too long to be idle or at work, without saying that it leaves, is not alive. Everything hangs on ctx.
 */
enum err_code worker_list(struct db *db, TALLOC_CTX *ctx, int64_t lease_ms, struct worker_item **items, size_t *count,
                          struct err *e) MUST_CHECK;

#endif
