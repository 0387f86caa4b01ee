/*
 * commit: what is known about the image is put where it stays: documents in the object store, package sets and the
 * result in the catalog. Every step is idempotent; the last one, a single transaction of the catalog, makes it true.
 */
#ifndef ANALYZER_COMMIT_H
#define ANALYZER_COMMIT_H

#include "services/analyzer-worker/assemble.h"

/* elapsed_ms: since the lease. ERR_CONFLICT: something that the result names was swept meanwhile; analyse again. */
enum err_code commit_image(struct job *job, const struct assembled *image, int64_t elapsed_ms,
                           struct err *e) MUST_CHECK;

#endif
