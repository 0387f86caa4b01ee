/*
 * transfer: moves all chunks of a store from one back end to another, while the system serves. `store migrate` asks for
 * it; `migration` is the word for schema versions here.
 *
 *     TRY(transfer_start(s, &order, &id, e));      -- a row, and the replica with the lease begins within seconds
 *     TRY(transfer_read(s, ctx, &list, e));
 *     TRY(transfer_stop(s, &stopped, e));
 *
 * A transfer is a row of objects.transfer, and goes chunk by chunk: read from the source and checked, written to the
 * target, read back from there and compared, then the new row takes the old one's place (chunk_rewrite). Only then is
 * the source's copy condemned, for the sweep to remove, or kept as a spare copy. So at every moment each object has one
 * whole set of chunks, and kill -9 costs at most the few chunks that were under way, which are moved again.
 *
 * What is left is what is live in the source; nothing else has to be remembered. A pass goes over it in the order of
 * its numbers; passes repeat until nothing is left or one moved nothing. A damaged chunk is healed from another copy
 * where there is one (chunk_heal.h). A chunk that fails is tried again a few times in its pass, is then counted and
 * listed with its reason, and the transfer goes on with the next one. Where nothing at all can be moved, a back end is
 * away: it is waited for, for ten minutes. It ends `done` only if nothing is left in the source, else `failed`. Started
 * again, it does what is left.
 *
 *     (no row) --> running --> done
 *                     |  \---> failed      something is left: the failures say why
 *                     \------> stopped     somebody asked for that
 *
 * One transfer of a store runs at a time. The rate bounds the bytes read from the source (as stored) a second.
 */
#ifndef GATEWAY_TRANSFER_H
#define GATEWAY_TRANSFER_H

#include "proto/messages.h"
#include "services/object-store-gateway/chunk.h"

#define TRANSFER_FAILURES_SHOWN 100
#define TRANSFER_TASK "migrate " /* and the store: the name of the background task */

struct transfer_order {
	const char *from, *to; /* names of back ends */
	int64_t rate;          /* bytes a second; 0: as fast as it goes */
	bool keep_source;      /* copies in the source become spare */
};

/* The same order while it runs is success, with the number that it has. ERR_CONFLICT: another transfer of the store
 * runs. ERR_NOT_FOUND: no such back end. ERR_INVALID: from and to are the same. ERR_PRECONDITION: from takes the
 * store's new chunks. ERR_UNAVAILABLE: one of them cannot be reached. */
enum err_code transfer_start(struct store *s, const struct transfer_order *order, int64_t *id,
                             struct err *e) MUST_CHECK;

/* *stopped: one was running. Its replica ends it within a second or after the chunk under way. */
enum err_code transfer_stop(struct store *s, bool *stopped, struct err *e) MUST_CHECK;

/* The latest transfers of the store, newest first, and what failed in the newest. On ctx. */
enum err_code transfer_read(struct store *s, TALLOC_CTX *ctx, size_t max, struct store_migrate_status_reply *reply,
                            struct err *e) MUST_CHECK;

/* Works on the store's running transfer, if there is one and no other replica has it, until it ends, is stopped, or the
 * process drains. Blocks for as long. */
void transfer_run(struct gateway *g, struct store *s);

#endif
