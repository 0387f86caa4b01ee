/*
 * transfer_work: a running transfer's row, as the replica that works on it reads and changes it, and the chunks of a
 * batch, moved by a few threads at once.
 */
#ifndef GATEWAY_TRANSFER_WORK_H
#define GATEWAY_TRANSFER_WORK_H

#include "services/object-store-gateway/transfer.h"

#define TRANSFER_BATCH 64

struct transfer {
	int64_t id, source, target; /* back ends */
	int64_t rate;
	bool keep_source;
	int64_t position; /* the number of the last chunk of this pass that was looked at */
	int64_t pass_moved;
};

/* The one function that ends a transfer. *ended: it was running. why may be NULL. */
enum err_code transfer_end(struct db *db, int64_t id, enum transfer_state state, const char *why, bool *ended,
                           struct err *e) MUST_CHECK;

struct transfer_failure {
	struct chunk chunk;
	struct err why;
};

/* What a batch did. */
struct transfer_batch {
	size_t count;                      /* chunks looked at: 0 at the end of a pass */
	int64_t last;                      /* the number of the last of them */
	int64_t moved, moved_bytes;        /* content */
	struct transfer_failure *failures; /* room for TRANSFER_BATCH */
	size_t failure_count;
	bool interrupted; /* draining, stopped, or the lease is gone: the rest was left alone */
};

/* Sleeps for so long, which may be 0. False: the work ends here. Called by any thread. */
typedef bool (*transfer_wait)(void *arg, int64_t ms);

/* The next chunks of the source, moved. *batch hangs on ctx. */
enum err_code transfer_batch_run(struct store *s, TALLOC_CTX *ctx, const struct transfer *t, transfer_wait wait,
                                 void *arg, struct transfer_batch **batch, struct err *e) MUST_CHECK;

#endif
