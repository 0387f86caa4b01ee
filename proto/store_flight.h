/*
 * store_flight: a few tasks at once on threads of their own, handed back in the order they were given. What lets
 * store_writer and store_reader have several chunks on their way.
 *
 *     f = store_flight_new(ctx, 3);
 *     store_flight_push(f, &piece->task);               -- returns at once; piece belongs to the flight now
 *     ...
 *     task = store_flight_pop(f);                       -- waits for the oldest; the caller's again
 *     if (task->code != ERR_OK) ...                     -- and task->error says why
 *     store_flight_cancel(f);                           -- empty: what waited is dropped, what ran is over
 *
 * A task is a struct of the caller's that begins with, or holds, a struct store_task. Its function runs on another
 * thread, between push and pop, and must not touch anything that the caller uses meanwhile; talloc contexts count,
 * parents included, so it makes contexts without a parent. At most `most` tasks are between push and pop.
 *
 * Threads are started when there is work for them and end with the flight. Where none can be had, push runs the task
 * itself: slower, and the same otherwise. All calls belong to one thread.
 */
#ifndef PROTO_STORE_FLIGHT_H
#define PROTO_STORE_FLIGHT_H

#include "common/err.h"

#define STORE_FLIGHT_MAX 4

struct store_task {
	enum err_code (*run)(struct store_task *task, struct err *e); /* the caller's to set, before push */
	enum err_code code;                                           /* what it returned, after pop */
	struct err error;
};

struct store_flight;

/* most: 1 to STORE_FLIGHT_MAX. Freeing it, or its context, cancels first. */
struct store_flight *store_flight_new(TALLOC_CTX *ctx, size_t most);

/* Between push and pop right now. */
size_t store_flight_count(const struct store_flight *f);

void store_flight_push(struct store_flight *f, struct store_task *task);

/* There must be one. */
struct store_task *store_flight_pop(struct store_flight *f);

/* All tasks are the caller's again; those that had not begun never run. */
void store_flight_cancel(struct store_flight *f);

#endif
