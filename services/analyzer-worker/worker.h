/*
 * worker: asks the catalog for jobs and runs them, `jobs` at a time, until it is told to stop.
 *
 * Each slot is a thread: lease, run, again. Draining makes every running job hand its lease back at once, and tells the
 * catalog to answer the requests that wait for work: an idle worker ends within a fraction of a second.
 */
#ifndef ANALYZER_WORKER_H
#define ANALYZER_WORKER_H

#include "common/process.h"

struct worker;

/* The service's state: what process_main hands around. */
struct worker_state {
	struct worker *worker;
};

/* For struct service. */
enum err_code worker_start(struct process *process, void *state, struct err *e);
void worker_drain(void *state);
enum err_code worker_ready(void *state, struct err *e);

#endif
