/*
 * layer_task: one layer of one job: blob in, documents in the object store.
 *
 *     source or cache --> SHA-256 --> cache file --> child (inflate, DiffID, tar, catalogers) --> two documents
 *
 * The blob passes once, in pieces, through memory of fixed size. The documents count only when the child was content,
 * the blob had its digest and its content the DiffID that the image's configuration names; then they are put into the
 * object store and the layer is committed to the catalog. A cached blob with another digest is evicted and downloaded
 * again.
 */
#ifndef ANALYZER_LAYER_TASK_H
#define ANALYZER_LAYER_TASK_H

#include "services/analyzer-worker/job.h"

/* Blocks. ctx is for results that outlive the call (summary); it must be this thread's own. Errors name the layer. */
enum err_code layer_task_run(struct job *job, struct job_layer *layer, TALLOC_CTX *ctx, struct err *e) MUST_CHECK;

#endif
