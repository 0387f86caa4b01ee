/*
 * rpc_workers: a fixed number of threads that take work from one bounded queue.
 *
 * Work is whatever a struct rpc_work is the first member of. Each piece is done exactly once, by body(work, arg) on one
 * of the threads, first come, first served. rpc_workers_stop lets the threads finish what they do, not what still
 * waits: that is handed back as a list.
 */
#ifndef COMMON_RPC_WORKERS_H
#define COMMON_RPC_WORKERS_H

#include "common/err.h"

struct rpc_work {
	struct rpc_work *next;
};

/* First in, first out; not thread-safe. Zeroed: empty. */
struct rpc_work_list {
	struct rpc_work *first, *last;
	size_t count;
};

void rpc_work_append(struct rpc_work_list *list, struct rpc_work *work);
struct rpc_work *rpc_work_take(struct rpc_work_list *list); /* NULL: empty */

struct rpc_workers;

struct rpc_workers_options {
	const char *name; /* of the threads; cut at 11 bytes */
	size_t threads, queue_max;
	void (*body)(struct rpc_work *work, void *arg);
	void *arg;
};

/* ERR_EXHAUSTED: the system gives no more threads. Hangs on ctx; to be stopped before it is freed. */
enum err_code rpc_workers_start(TALLOC_CTX *ctx, const struct rpc_workers_options *options, struct rpc_workers **out,
                                struct err *e) MUST_CHECK;

/* False: queue_max pieces wait already. Never blocks for long. */
bool rpc_workers_push(struct rpc_workers *w, struct rpc_work *work);

/* Waits for the threads; what nobody began is in left. NULL is fine. */
void rpc_workers_stop(struct rpc_workers *w, struct rpc_work_list *left);

#endif
