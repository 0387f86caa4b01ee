/*
 * compact: gives the space of removed chunks back to the system, in those back ends of a store whose removals leave
 * gaps
 * (`compact` in driver.h). Readers and writers go on meanwhile.
 *
 * Two stores that share such a back end share the gaps as well: compacting one compacts both.
 */
#ifndef GATEWAY_COMPACT_H
#define GATEWAY_COMPACT_H

#include "services/object-store-gateway/backend.h"

/* What an order's before_ms means when it is `age_ms` ago. */
enum err_code compact_moment(struct store *s, int64_t age_ms, int64_t *moment_ms, struct err *e) MUST_CHECK;

/* What one call does in the order's time, in all back ends of the store. *able: how many leave gaps at all. An error is
 * that of one back end, after the others were done. */
enum err_code compact_run(struct store *s, const struct compact_order *order, struct compaction *done, int64_t *able,
                          struct err *e) MUST_CHECK;

/* For process_every: what is very sparse, in all stores, by the one replica that holds the lease. */
#define COMPACT_LOOK_MS 60000
void compact_task(struct process *process, void *state);

#endif
