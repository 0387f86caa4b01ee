/*
 * spread: the parts of one job, worked on by several threads at once.
 *
 * It is there for removals. A server's time for an object goes by with waiting, for disks and for other servers, and
 * even a request that names a thousand objects is mostly worked off one or two at a time: what removes much must have
 * several requests under way.
 *
 *     size_t share = spread_share(count, 1000);
 *
 *     TRY(spread((count + share - 1) / share, remove_share, &removal, e));
 *
 * Parts are begun in their order, by at most SPREAD_THREADS threads; the caller's is one of them, and one that cannot
 * be started is done without. Once a part has failed no other begins. Those that are under way are waited for, so
 * nothing goes on when the call is over, and the failure that came first is what it returns.
 */
#ifndef GATEWAY_DRIVERS_SPREAD_H
#define GATEWAY_DRIVERS_SPREAD_H

#include "common/base.h"
#include "common/err.h"

#define SPREAD_THREADS 8
#define SPREAD_LEAST 100 /* a part of fewer is not worth a request of its own */

/* Any thread. arg is shared by all parts. */
typedef enum err_code (*spread_part)(void *arg, size_t part, struct err *e);

/* Blocks until all parts are done. ERR_OK: every one returned it. */
enum err_code spread(size_t parts, spread_part once, void *arg, struct err *e) MUST_CHECK;

/* How many of count go into one part, so that all threads have an equal share: between SPREAD_LEAST and most, which is
 * not 0 and is what counts if it is less. */
size_t spread_share(size_t count, size_t most);

#endif
