#include "services/analyzer-worker/keeper.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <time.h>

#define RENEWALS_PER_LEASE 3
#define PROGRESS_MS 1000      /* users watch: progress goes along at least this often */
#define FIRST_PROGRESS_MS 300 /* and soon for the first time, since most jobs are short */

struct keeper {
	struct job *job;
	pthread_t thread;
	pthread_mutex_t mutex; /* guards ending */
	pthread_cond_t wake;
	bool ending;
};

/* True: time to end. */
static bool rest(struct keeper *k, int64_t ms)
{
	int64_t until = clock_monotonic_ms() + ms;
	struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
	bool ending;

	pthread_mutex_lock(&k->mutex);
	if (!k->ending)
		pthread_cond_timedwait(&k->wake, &k->mutex, &at);
	ending = k->ending;
	pthread_mutex_unlock(&k->mutex);
	return ending;
}

static enum err_code renew(struct job *job, int64_t *lease_ms, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = job_call(job);
	struct job_renew_reply reply;

	call.deadline_ms = *lease_ms / 2;
	TRY(call_job_renew(job->env->catalog, &call, ctx,
	                   &(struct job_renew_request){
			       .job = job->lease->job,
			       .token = job->lease->token,
			       .stage = atomic_load(&job->stage),
			       .layers_done = atomic_load(&job->layers_done),
			       .layers_total = atomic_load(&job->layers_to_do),
			       .bytes_done = atomic_load(&job->bytes_done),
			       .bytes_total = atomic_load(&job->bytes_to_do),
			   },
	                   &reply, e));
	if (reply.cancelled)
		job_stop(job, JOB_CANCEL);
	if (reply.lease_ms)
		*lease_ms = reply.lease_ms;
	return ERR_OK;
}

static void *keep(void *arg)
{
	struct keeper *k = arg;
	struct job *job = k->job;
	int64_t lease_ms = job->lease->lease_ms ? job->lease->lease_ms : 30000;
	int64_t good_until = clock_monotonic_ms() + lease_ms;
	int64_t pause_ms = FIRST_PROGRESS_MS;
	struct err e;

	log_context_set(NULL, NULL, job->lease->account, job->lease->job);
	for (; !rest(k, MIN(pause_ms, lease_ms / RENEWALS_PER_LEASE)); pause_ms = PROGRESS_MS) {
		int64_t before = clock_monotonic_ms();
		enum err_code code = renew(job, &lease_ms, &e);

		if (code == ERR_OK) {
			good_until = before + lease_ms;
			continue;
		}
		if (code == ERR_STALE_LEASE || code == ERR_NOT_FOUND || clock_monotonic_ms() > good_until) {
			LOG_WARN("lease lost", LOG_ERR(&e));
			job_stop(job, JOB_STALE);
		}
	}
	return NULL;
}

enum err_code keeper_start(struct job *job, struct keeper **out, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	pthread_condattr_t monotonic; /* a wall clock that is set back must not cost the lease */

	ASSERT(k && pthread_mutex_init(&k->mutex, NULL) == 0 && pthread_condattr_init(&monotonic) == 0);
	ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	       pthread_cond_init(&k->wake, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	k->job = job;
	if (pthread_create(&k->thread, NULL, keep, k) != 0) {
		free(k);
		return ERR(e, ERR_EXHAUSTED, "no thread to renew a lease");
	}
	*out = k;
	return ERR_OK;
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	pthread_mutex_lock(&k->mutex);
	k->ending = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->mutex);
	pthread_join(k->thread, NULL);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->mutex);
	free(k);
}
