/*
 * rpc_job: one request on its way through a server, from the frame that came in to the frame that goes out.
 *
 *     job = rpc_job_new(&message, &route);
 *     verdict = rpc_job_open(desk, job);
 *     RPC_JOB_RUN:     rpc_job_run(desk, job) or rpc_job_refuse(...), then send job->reply to job->routes
 *     RPC_JOB_ANSWER:  send job->reply to job->routes
 *     RPC_JOB_NOTHING: dropped and counted, or joined to the request that runs already
 *     talloc_free(job)
 *
 * The desk is what all jobs of one server share; it is safe on several threads. A job is one thread's at a time, and
 * its memory context is its own.
 */
#ifndef COMMON_RPC_JOB_H
#define COMMON_RPC_JOB_H

#include "common/frame.h"
#include "common/replay.h"
#include "common/rpc_replies.h"
#include "common/rpc_workers.h"

struct rpc_desk {
	const char *name; /* of the service */
	struct frame_ring *ring;
	struct replay *replay;
	struct rpc_replies *replies;
	int64_t window_ms;
	rpc_dispatch dispatch;
	void *service;
};

struct rpc_job {
	struct rpc_work work;
	bool opened;
	struct transport_message frame; /* the call's payload lies in it */
	struct rpc_call call;           /* its ctx is the job */
	cJSON *body;
	const char *key;                /* for rpc_replies */
	struct transport_message reply; /* empty: nothing to send */
	struct rpc_routes routes;       /* that the reply goes to */
};

enum rpc_job_verdict {
	RPC_JOB_RUN,
	RPC_JOB_ANSWER,
	RPC_JOB_NOTHING,
};

/* Takes the message over. Freed with talloc_free, on any thread. */
struct rpc_job *rpc_job_new(struct transport_message *frame, const struct transport_route *route);

enum rpc_job_verdict rpc_job_open(struct rpc_desk *desk, struct rpc_job *job);

/* Calls the handler, unless the deadline passed, and seals what it says. Blocks as long as the handler does. */
void rpc_job_run(struct rpc_desk *desk, struct rpc_job *job);

/* Answers `unavailable` instead: why, and when to come back. */
void rpc_job_refuse(struct rpc_desk *desk, struct rpc_job *job, const char *why, unsigned retry_ms);

#endif
