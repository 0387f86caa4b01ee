/*
 * gc: removes what nobody names. Driven by rows, never by listing a back end; in batches, each of which stands alone,
 * so that a crash loses nothing and the next sweep goes on.
 *
 * A sweep takes suspect chunks that nobody touched for the grace period. Those that an object names are cleared of the
 * suspicion; the others become `deleting`, in one transaction that holds their rows: a commit that wants one of them
 * either came first, and is seen, or finds it gone and has the chunk put again. Then the bytes go, then the rows.
 * Writes that were begun and not finished within their own grace period end the same way.
 */
#ifndef GATEWAY_GC_H
#define GATEWAY_GC_H

#include "services/object-store-gateway/chunk.h"

struct gc_result {
	int64_t removed, freed_bytes; /* rows, and bytes of the back end */
	bool more;                    /* the batch was full */
};

/* One batch of at most limit chunks in each back end. *result says what was done also when it fails, for the reason of
 * the first back end that failed. */
enum err_code gc_run(struct store *s, int64_t grace_ms, int64_t limit, struct gc_result *result,
                     struct err *e) MUST_CHECK;

/* For process_every: all stores, by the one replica that holds the lease. */
void gc_task(struct process *process, void *state);

#endif
