#include "services/analyzer-worker/job.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/analyzer-worker/assemble.h"
#include "services/analyzer-worker/commit.h"
#include "services/analyzer-worker/keeper.h"
#include "services/analyzer-worker/layer_task.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct metric jobs_done = METRIC_COUNTER("stowage_jobs_done_total", "Images analysed by this worker.");
static struct metric jobs_failed =
    METRIC_COUNTER("stowage_jobs_failed_total", "Jobs that this worker could not finish.");

void job_stop(struct job *job, enum job_stop why)
{
	int runs = JOB_RUNS;

	atomic_compare_exchange_strong(&job->stop, &runs, (int)why);
}

bool job_must_stop(void *arg)
{
	struct job *job = arg;

	if (job->env->draining(job->env->draining_arg))
		job_stop(job, JOB_GIVE_BACK);
	return atomic_load(&job->stop) != JOB_RUNS;
}

struct proto_call job_call(const struct job *job)
{
	return (struct proto_call){.account = job->lease->account};
}

/* ---- layers ---- */

static void describe_layers(struct job *job)
{
	const struct manifest *m = &job->image.manifest;

	job->layer_count = m->layer_count;
	job->layers = talloc_zero_array(job->ctx, struct job_layer, m->layer_count);
	ASSERT(job->layers);
	for (size_t i = 0; i < m->layer_count; i++) {
		struct job_layer *layer = &job->layers[i];

		*layer = (struct job_layer){
		    .about = &m->layers[i], .diff_id = job->image.config.diff_ids[i], .same_as = i, .files_fd = -1};
		for (size_t j = 0; j < i; j++) {
			if (digest_equal(&m->layers[j].blob.digest, &m->layers[i].blob.digest)) {
				layer->same_as = j;
				break;
			}
		}
	}
}

/* A known layer whose content is not what this image's configuration says is analysed again, to fail on its own. */
static void mark_known(struct job *job, const struct known_layer *known)
{
	for (size_t i = 0; i < job->layer_count; i++) {
		struct job_layer *layer = &job->layers[i];

		if (!digest_equal(&layer->about->blob.digest, &known->digest) ||
		    !digest_equal(&layer->diff_id, &known->diff_id))
			continue;
		layer->known = true;
		layer->content_bytes = (uint64_t)known->content_bytes;
		layer->entries = (uint64_t)known->entries;
	}
}

static enum err_code look_up_layers(struct job *job, struct err *e)
{
	struct proto_call call = job_call(job);
	struct digest *digests = talloc_zero_array(job->ctx, struct digest, job->layer_count);
	struct layer_lookup_reply reply;

	ASSERT(digests);
	for (size_t i = 0; i < job->layer_count; i++)
		digests[i] = job->layers[i].about->blob.digest;
	TRY(call_layer_lookup(job->env->catalog, &call, job->ctx,
	                      &(struct layer_lookup_request){
				  .job = job->lease->job,
				  .token = job->lease->token,
				  .revision = ANALYZER_REVISION,
				  .layers = {digests, job->layer_count},
			      },
	                      &reply, e));
	for (size_t i = 0; i < reply.known_count; i++)
		mark_known(job, &reply.known[i]);
	return ERR_OK;
}

/* What the threads of analyse_layers share. */
struct crew {
	struct job *job;
	size_t *order; /* indexes of layers to analyse, the largest first */
	size_t count;
	_Atomic size_t next;
};

struct hand {
	struct crew *crew;
	TALLOC_CTX *ctx; /* summaries; lives as long as the job */
	pthread_t thread;
};

static void note_failure(struct job *job, const struct err *e)
{
	pthread_mutex_lock(&job->mutex);
	if (job->failure.code == ERR_OK && atomic_load(&job->stop) == JOB_RUNS)
		job->failure = *e;
	pthread_mutex_unlock(&job->mutex);
	job_stop(job, JOB_FAILING);
}

static void *work_on_layers(void *arg)
{
	struct hand *hand = arg;
	struct crew *crew = hand->crew;
	struct job *job = crew->job;
	struct err e;

	log_context_set(NULL, NULL, job->lease->account, job->lease->job);
	for (;;) {
		size_t at = atomic_fetch_add(&crew->next, 1);

		if (at >= crew->count || job_must_stop(job))
			break;
		if (layer_task_run(job, &job->layers[crew->order[at]], hand->ctx, &e) != ERR_OK) {
			note_failure(job, &e);
			break;
		}
		atomic_fetch_add(&job->layers_done, 1);
	}
	log_context_clear();
	return NULL;
}

static void choose_order(struct job *job, struct crew *crew)
{
	crew->order = talloc_zero_array(job->ctx, size_t, job->layer_count);
	ASSERT(crew->order);
	for (size_t i = 0; i < job->layer_count; i++) {
		uint64_t size = job->layers[i].about->blob.size;
		size_t at = crew->count;

		if (job->layers[i].known || job->layers[i].same_as != i)
			continue;
		atomic_fetch_add(&job->bytes_to_do, (int64_t)size);
		for (; at > 0 && job->layers[crew->order[at - 1]].about->blob.size < size; at--)
			crew->order[at] = crew->order[at - 1];
		crew->order[at] = i;
		crew->count++;
	}
	atomic_store(&job->layers_to_do, (int64_t)crew->count);
}

static enum err_code how_it_stopped(struct job *job, struct err *e)
{
	switch ((enum job_stop)atomic_load(&job->stop)) {
	case JOB_RUNS:
		return ERR_OK;
	case JOB_FAILING:
		*e = job->failure;
		return e->code;
	case JOB_STALE:
		return ERR(e, ERR_STALE_LEASE, "the lease of job %" PRId64 " is lost", job->lease->job);
	case JOB_CANCEL:
	case JOB_GIVE_BACK:
		break;
	}
	return ERR(e, ERR_CANCELLED, "job %" PRId64 " was stopped", job->lease->job);
}

static enum err_code analyse_layers(struct job *job, struct err *e)
{
	struct crew crew = {.job = job};
	struct hand *hands;
	size_t count, started = 0;

	choose_order(job, &crew);
	count = MIN(crew.count, (size_t)job->env->settings->parallel_layers);
	hands = talloc_zero_array(job->ctx, struct hand, count + 1);
	ASSERT(hands);
	for (; started < count; started++) {
		hands[started] = (struct hand){.crew = &crew, .ctx = talloc_new(NULL)};
		if (pthread_create(&hands[started].thread, NULL, work_on_layers, &hands[started]) != 0) {
			talloc_free(hands[started].ctx);
			break;
		}
	}
	if (count && !started)
		return ERR(e, ERR_EXHAUSTED, "no thread for a layer");
	for (size_t i = 0; i < started; i++) {
		pthread_join(hands[i].thread, NULL);
		talloc_steal(job->ctx, hands[i].ctx);
	}
	return how_it_stopped(job, e);
}

/* ---- the whole ---- */

/* Before anybody hears how the job ended: who knows that it is over finds nothing of it on the disk. */
static void leave_scratch(struct job *job)
{
	talloc_free(job->scratch);
	job->scratch = NULL;
}

static enum err_code work(struct job *job, int64_t started, struct err *e)
{
	struct source_env sources = {job->env->sources, job->env->gateway, job->env->settings->registry_ca_file};
	struct assembled image;

	atomic_store(&job->stage, "reading the manifest");
	TRY(scratch_job_new(job->ctx, job->env->scratch, job->lease->job, job->lease->token, &job->scratch, e));
	TRY(scratch_check(job->env->scratch, e));
	TRY(source_open(job->ctx, &sources, job->lease, &job->source, e));
	TRY(source_read_image(job->source, job->ctx, &job->patience, &job->image, e));
	describe_layers(job);
	TRY(look_up_layers(job, e));
	atomic_store(&job->stage, "analysing layers");
	TRY(analyse_layers(job, e));
	atomic_store(&job->stage, "assembling the result");
	TRY(assemble_image(job, job->ctx, &image, e));
	leave_scratch(job);
	TRY(how_it_stopped(job, e));
	atomic_store(&job->stage, "storing the result");
	return commit_image(job, &image, clock_monotonic_ms() - started, e);
}

static enum failure_kind kind_of(const struct job *job, enum err_code code)
{
	if (atomic_load(&job->child_died))
		return FAILURE_KILLED;
	if (code == ERR_INTERNAL)
		return FAILURE_TRANSIENT;
	return err_retry(code) == ERR_RETRY_NEVER && code != ERR_PRECONDITION ? FAILURE_DETERMINISTIC
	                                                                      : FAILURE_TRANSIENT;
}

static void tell_failure(struct job *job, const struct err *why)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = job_call(job);
	struct job_fail_reply reply;
	struct err e;

	if (call_job_fail(job->env->catalog, &call, ctx,
	                  &(struct job_fail_request){
			      .job = job->lease->job,
			      .token = job->lease->token,
			      .kind = kind_of(job, why->code),
			      .reason = proto_clean_text(
				  ctx, talloc_asprintf(ctx, "%s: %s", err_name(why->code), why->text), 1024),
			      .retry_ms = why->retry_ms,
			  },
	                  &reply, &e) != ERR_OK)
		LOG_WARN("failure not told", LOG_ERR(&e));
}

static void tell_release(struct job *job)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = job_call(job);
	struct job_release_reply reply;
	struct err e;

	if (call_job_release(job->env->catalog, &call, ctx,
	                     &(struct job_release_request){.job = job->lease->job, .token = job->lease->token}, &reply,
	                     &e) != ERR_OK)
		LOG_WARN("job not handed back", LOG_ERR(&e));
}

static void tell_end(struct job *job, enum err_code code, const struct err *e, int64_t ms)
{
	int stop = atomic_load(&job->stop);

	if (code == ERR_OK) {
		metric_add(&jobs_done, 1);
		LOG_INFO("image analysed", LOG_TEXT("digest", digest_text(&job->lease->digest).text),
		         LOG_NUMBER("layers", job->layer_count), LOG_NUMBER("ms", ms));
		return;
	}
	if (stop == JOB_GIVE_BACK) {
		LOG_INFO("job handed back", LOG_TEXT("digest", digest_text(&job->lease->digest).text));
		tell_release(job);
		return;
	}
	LOG_WARN("analysis ended early", LOG_TEXT("digest", digest_text(&job->lease->digest).text), LOG_ERR(e));
	if (stop == JOB_STALE || stop == JOB_CANCEL || code == ERR_STALE_LEASE)
		return;
	metric_add(&jobs_failed, 1);
	tell_failure(job, e);
}

void job_run(const struct job_env *env, const struct job_lease_reply *lease)
{
	SCRATCH_CTX(ctx);
	int64_t started = clock_monotonic_ms();
	struct job *job = talloc_zero(ctx, struct job);
	struct keeper *keeper = NULL;
	enum err_code code;
	struct err e = {0};

	ASSERT(job && pthread_mutex_init(&job->mutex, NULL) == 0);
	job->env = env;
	job->lease = lease;
	job->ctx = talloc_new(ctx);
	job->patience = (struct patience){started + env->settings->job_timeout_ms, job_must_stop, job};
	log_context_set(NULL, NULL, lease->account, lease->job);
	code = keeper_start(job, &keeper, &e);
	if (code == ERR_OK)
		code = work(job, started, &e);
	if (code == ERR_CANCELLED && atomic_load(&job->stop) == JOB_STALE)
		code = ERR_STALE_LEASE;
	keeper_stop(keeper);
	leave_scratch(job);
	tell_end(job, code, &e, clock_monotonic_ms() - started);
	log_context_clear();
	talloc_free(job->ctx);
	pthread_mutex_destroy(&job->mutex);
}
