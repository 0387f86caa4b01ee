/*
 * keeper: renews a job's lease from a thread of its own, which parsing cannot starve, and tells the catalog how far the
 * job has come. A lease that is lost, or a job that is cancelled, stops the job.
 */
#ifndef ANALYZER_KEEPER_H
#define ANALYZER_KEEPER_H

#include "services/analyzer-worker/job.h"

struct keeper;

/* The job must outlive the keeper. ERR_EXHAUSTED: no thread. */
enum err_code keeper_start(struct job *job, struct keeper **out, struct err *e) MUST_CHECK;

/* Waits for the thread. NULL is fine. */
void keeper_stop(struct keeper *keeper);

#endif
