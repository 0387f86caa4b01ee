#include "services/analyzer-worker/worker.h"

#include "common/clock.h"
#include "common/log.h"
#include "services/analyzer-worker/job.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_WAIT_MS 5000  /* a request for work is held this long */
#define LEAVE_MS 1000       /* for the catalog to hear that nobody waits for work any more */
#define WORKERS_LISTED 1000 /* the catalog names no more than that */
#define STACKS_PART 8       /* of the memory for documents is for what is known of stacks */
#define BACKOFF_BASE_MS 200
#define BACKOFF_CAP_MS 5000

struct slot {
	struct worker *worker;
	pthread_t thread;
	bool running;
};

struct worker {
	struct process *process;
	struct job_env env;
	struct slot *slots;
	size_t slot_count;
	atomic_bool known; /* the catalog has heard of it */
};

static bool draining(void *arg)
{
	const struct worker *w = arg;

	return process_draining(w->process);
}

static enum err_code lease_job(struct worker *w, TALLOC_CTX *ctx, struct job_lease_reply *lease, struct err *e)
{
	struct proto_call call = {.deadline_ms = LEASE_WAIT_MS + 10000, .attempt_ms = LEASE_WAIT_MS + 5000};

	return call_job_lease(
	    w->env.catalog, &call, ctx,
	    &(struct job_lease_request){.worker = process_instance(w->process), .wait_ms = LEASE_WAIT_MS}, lease, e);
}

static void *serve(void *arg)
{
	struct slot *slot = arg;
	struct worker *w = slot->worker;
	unsigned failures = 0;

	while (!process_draining(w->process)) {
		SCRATCH_CTX(ctx);
		struct job_lease_reply lease;
		struct err e;

		if (lease_job(w, ctx, &lease, &e) != ERR_OK) {
			if (failures++ == 0 && !process_draining(w->process))
				LOG_WARN("no work to be had", LOG_ERR(&e));
			process_sleep(w->process, backoff_ms(MIN(failures, 16U), BACKOFF_BASE_MS, BACKOFF_CAP_MS) + 50);
			continue;
		}
		failures = 0;
		if (lease.job)
			job_run(&w->env, &lease);
	}
	return NULL;
}

static enum err_code open_disk(struct worker *w, const struct settings *s, struct err *e)
{
	TALLOC_CTX *ctx = process_ctx(w->process);
	const char *scratch_dir = *s->scratch_dir ? s->scratch_dir : talloc_asprintf(ctx, "%s/scratch", s->tmp_dir);
	uint64_t scratch_max, cache_max;

	TRY(settings_gigabytes("analyzer_worker.scratch_max_gigabytes", s->scratch_max_gigabytes, &scratch_max, e));
	TRY(settings_gigabytes("analyzer_worker.layer_cache_max_gigabytes", s->layer_cache_max_gigabytes, &cache_max,
	                       e));
	TRY(scratch_open(ctx,
	                 &(struct scratch_options){
			     .dir = scratch_dir,
			     .bytes_max = scratch_max,
			     .reserve_bytes = (uint64_t)s->scratch_reserve_megabytes * MIB,
			     .owner = process_instance(w->process),
			 },
	                 &w->env.scratch, e));
	return layer_cache_open(ctx, talloc_asprintf(ctx, "%s/layer_cache", s->tmp_dir),
	                        s->layer_cache_enable ? cache_max : 0, &w->env.cache, e);
}

static enum err_code start_slots(struct worker *w, size_t count, struct err *e)
{
	w->slots = talloc_zero_array(w, struct slot, count);
	ASSERT(w->slots);
	w->slot_count = count;
	for (size_t i = 0; i < count; i++) {
		w->slots[i].worker = w;
		if (pthread_create(&w->slots[i].thread, NULL, serve, &w->slots[i]) != 0)
			return ERR(e, ERR_EXHAUSTED, "no thread for job slot %zu", i);
		w->slots[i].running = true;
	}
	return ERR_OK;
}

enum err_code worker_start(struct process *process, void *state, struct err *e)
{
	const struct settings *s = process_configuration(process);
	struct worker *w = talloc_zero(process_ctx(process), struct worker);
	size_t memory = (size_t)s->document_cache_megabytes * MIB;

	ASSERT(w);
	((struct worker_state *)state)->worker = w;
	w->process = process;
	w->env = (struct job_env){
	    .settings = s,
	    .limits = settings_limits(s),
	    .sources = source_pool_new(w),
	    .documents = document_cache_new(w, memory - memory / STACKS_PART),
	    .stacks = stack_cache_new(w, memory / STACKS_PART),
	    .draining = draining,
	    .draining_arg = w,
	};
	TRY(open_disk(w, s, e));
	TRY(process_client(process, "catalog", &w->env.catalog, e));
	TRY(process_client(process, "gateway", &w->env.gateway, e));
	return start_slots(w, (size_t)s->jobs, e);
}

/* A request for work that waits is not abandoned, because the catalog may be answering it with a job: it is told to
 * answer at once. Without a catalog the slots wait until their requests give up. */
static void leave(struct worker *w)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = {.deadline_ms = LEAVE_MS};
	struct worker_leave_reply reply;
	struct err e;

	if (call_worker_leave(w->env.catalog, &call, ctx,
	                      &(struct worker_leave_request){.worker = process_instance(w->process)}, &reply,
	                      &e) != ERR_OK)
		LOG_WARN("the catalog was not told that this worker leaves", LOG_ERR(&e));
}

void worker_drain(void *state)
{
	struct worker *w = ((struct worker_state *)state)->worker;

	leave(w);
	for (size_t i = 0; i < w->slot_count; i++) {
		if (w->slots[i].running)
			pthread_join(w->slots[i].thread, NULL);
		w->slots[i].running = false;
	}
}

/* A worker is up when its first request for work has arrived: from then on `status` shows it. */
static bool is_listed(const struct worker *w, const struct queue_stats_reply *stats)
{
	const char *name = process_instance(w->process);

	for (size_t i = 0; i < stats->workers_count; i++)
		if (strcmp(stats->workers[i].worker, name) == 0)
			return true;
	return stats->workers_count >= WORKERS_LISTED;
}

enum err_code worker_ready(void *state, struct err *e)
{
	struct worker *w = ((struct worker_state *)state)->worker;
	SCRATCH_CTX(ctx);
	struct queue_stats_reply stats;
	struct store_list_reply stores;
	static const struct queue_stats_request about_queue;
	static const struct store_list_request about_stores;

	if (call_queue_stats(w->env.catalog, NULL, ctx, &about_queue, &stats, e) != ERR_OK)
		return err_wrap(e, "catalog");
	if (call_store_list(w->env.gateway, NULL, ctx, &about_stores, &stores, e) != ERR_OK)
		return err_wrap(e, "object-store-gateway");
	if (!atomic_load(&w->known) && !is_listed(w, &stats))
		return ERR(e, ERR_UNAVAILABLE, "catalog: it has not heard of this worker yet");
	atomic_store(&w->known, true);
	return ERR_OK;
}
