/*
 * job: one image, from lease to commit.
 *
 *     job_run       read manifest and configuration, ask which layers are known, analyse the others side by side
 *                   (layer_task.h), assemble the whole (assemble.h), store and commit it (commit.h)
 *
 * A job is one thread's, plus one thread for each layer that is parsed at the same time and one that renews the lease
 * (keeper.h). What they share stands in struct job with its guard. A job ends early when its stop flag is set: by the
 * keeper (lease lost, cancelled), by draining, or by the job's own failure.
 */
#ifndef ANALYZER_JOB_H
#define ANALYZER_JOB_H

#include "proto/document/files.h"
#include "proto/document/summary.h"
#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/document_cache.h"
#include "services/analyzer-worker/layer_cache.h"
#include "services/analyzer-worker/scratch.h"
#include "services/analyzer-worker/settings.h"
#include "services/analyzer-worker/source.h"
#include "services/analyzer-worker/stack_cache.h"

#include <pthread.h>
#include <stdatomic.h>

/* What all jobs of a worker share. Set up once, then only read. */
struct job_env {
	const struct settings *settings;
	struct layer_limits limits;
	struct scratch *scratch;
	struct layer_cache *cache;
	struct document_cache *documents;
	struct stack_cache *stacks;
	struct rpc_client *catalog, *gateway;
	struct source_pool *sources;
	bool (*draining)(void *arg);
	void *draining_arg;
};

enum job_stop {
	JOB_RUNS,
	JOB_STALE,     /* somebody else has the lease now */
	JOB_CANCEL,    /* by a user */
	JOB_GIVE_BACK, /* this worker is stopping */
	JOB_FAILING,   /* a layer failed: the others need not go on */
};

/* One layer of the image. Written by the one thread that works on it, read by others after that has ended. */
struct job_layer {
	const struct manifest_layer *about;
	struct digest diff_id; /* as the configuration says */
	size_t same_as;        /* index of the first layer with this digest: usually its own */
	bool known;            /* documents are in the object store already */
	uint64_t content_bytes, entries;
	uint64_t size; /* of the blob */

	const struct summary *summary;
	struct files_source files; /* scratch file or object, for the assembly */
	int files_fd;              /* -1 if the document is in the object store only */
	uint64_t files_bytes;
};

struct job {
	const struct job_env *env;
	const struct job_lease_reply *lease;
	TALLOC_CTX *ctx; /* of the job's own thread */
	struct source *source;
	struct source_image image;
	struct scratch_job *scratch;
	struct patience patience; /* of everything the job waits for; stop looks at stop below */

	struct job_layer *layers; /* bottom first */
	size_t layer_count;

	/* Any thread. */
	_Atomic int stop;            /* enum job_stop; goes from JOB_RUNS to another value once */
	_Atomic(const char *) stage; /* static text */
	_Atomic int64_t layers_done, layers_to_do;
	_Atomic int64_t bytes_done, bytes_to_do;
	_Atomic int64_t downloaded, cached, analysed, stored;
	_Atomic bool child_died;

	/* Guards failure, which is the first one. */
	pthread_mutex_t mutex;
	struct err failure;
};

/* Runs the job and tells the catalog how it ended. Nothing is left on this machine afterwards but the cache. */
void job_run(const struct job_env *env, const struct job_lease_reply *lease);

/* Sets the stop flag unless it is set. */
void job_stop(struct job *job, enum job_stop why);

/* For `patience.stop` and layer_cache_enter: true when the job must end. arg is the job. */
bool job_must_stop(void *arg);

/* What goes with a call on behalf of the job's account. */
struct proto_call job_call(const struct job *job);

#endif
