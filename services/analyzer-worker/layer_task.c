#include "services/analyzer-worker/layer_task.h"

#include "common/clock.h"
#include "common/log.h"
#include "proto/store_flight.h"
#include "proto/store_io.h"
#include "services/analyzer-worker/assemble.h"
#include "services/analyzer-worker/parser/child.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (256 * KIB)
#define CHECK_EVERY_MS 250 /* how often scratch space is looked at */

/* A layer on its way. The feeder is the thread that runs layer_task_run; the watcher waits for the child. */
struct task {
	struct job *job;
	struct job_layer *layer;
	int files_fd, summary_fd, spill_fd;
	struct layer_child child;
	struct hasher *hasher;
	struct layer_visit visit;
	bool child_deaf; /* it stopped reading; layer_child_finish says why */

	pthread_t watcher;
	struct layer_result result; /* the watcher's, until it is joined */
	struct layer_result first;  /* of a layer that has to be read twice (layer_child_setup.may_repeat) */
	enum err_code code;
	struct err error;
	_Atomic int64_t checked_at;
	_Atomic bool exhausted; /* the child was killed because scratch space ran out */
};

/* ---- feeding ---- */

static enum err_code write_to_child(struct task *t, const char *bytes, size_t len, struct err *e)
{
	while (len && !t->child_deaf) {
		ssize_t n = write(t->child.blob_fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			t->child_deaf = true;
			break;
		}
		struct pollfd ready = {.fd = t->child.blob_fd, .events = POLLOUT};

		(void)poll(&ready, 1, 500);
		TRY(patience_check(&t->job->patience, "the parser", e));
	}
	return ERR_OK;
}

/* Where every piece of the blob goes. When the child has given up, the rest is still hashed: a blob that is not what
 * its digest says is at fault itself, whatever the child made of it. */
static enum err_code take_piece(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct task *t = arg;

	hasher_add(t->hasher, bytes, len);
	if (t->visit.fd < 0)
		layer_cache_write(&t->visit, bytes, len);
	atomic_fetch_add(&t->job->bytes_done, (int64_t)len);
	if (atomic_load(&t->exhausted))
		return ERR(e, ERR_EXHAUSTED, "scratch space ran out while the layer was parsed");
	return write_to_child(t, bytes, len, e);
}

static enum err_code feed_from_cache(struct task *t, struct err *e)
{
	SCRATCH_CTX(ctx);
	char *piece = talloc_size(ctx, READ_SIZE);
	int64_t total = 0;
	ssize_t n;

	ASSERT(piece);
	while ((n = read(t->visit.fd, piece, READ_SIZE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* a cached file that cannot be read is as good as damaged: its digest will not match */
		TRY(patience_check(&t->job->patience, "the layer cache", e));
		TRY(take_piece(t, piece, (size_t)n, e));
		total += n;
	}
	atomic_fetch_add(&t->job->cached, total);
	return ERR_OK;
}

static enum err_code feed(struct task *t, struct err *e)
{
	const struct descriptor *blob = &t->layer->about->blob;

	if (t->visit.fd >= 0)
		return feed_from_cache(t, e);
	atomic_fetch_add(&t->job->downloaded, (int64_t)blob->size);
	return source_stream(t->job->source, blob, take_piece, t, &t->job->patience, e);
}

/* ---- watching ---- */

static void on_progress(void *arg, const struct layer_progress *progress)
{
	struct task *t = arg;
	int64_t now = clock_monotonic_ms();
	struct err e;

	(void)progress;
	if (now - atomic_load(&t->checked_at) < CHECK_EVERY_MS)
		return;
	atomic_store(&t->checked_at, now);
	if (scratch_check(t->job->env->scratch, &e) == ERR_OK)
		return;
	atomic_store(&t->exhausted, true);
	layer_child_kill(&t->child);
}

static void *watch(void *arg)
{
	struct task *t = arg;

	t->code = layer_child_finish(&t->child, on_progress, t, &t->result, &t->error);
	return NULL;
}

static enum err_code start_child(struct task *t, struct err *e)
{
	struct layer_child_setup setup = {
	    .limits = &t->job->env->limits,
	    .codec = t->layer->about->codec,
	    .files_fd = t->files_fd,
	    .summary_fd = t->summary_fd,
	    .spill_fd = t->spill_fd,
	    .nonblocking = true,
	    .may_repeat = true,
	    .again = t->first.wants_len ? &t->first : NULL,
	};

	TRY(layer_child_start(&setup, &t->child, e));
	if (pthread_create(&t->watcher, NULL, watch, t) == 0)
		return ERR_OK;
	layer_child_kill(&t->child);
	watch(t);
	layer_child_release(&t->child);
	return ERR(e, ERR_EXHAUSTED, "no thread for a layer");
}

/* Ends the child, if it has not ended, and hears what it says. */
static void join_child(struct task *t, bool whole)
{
	if (whole)
		layer_child_eof(&t->child);
	else
		layer_child_kill(&t->child);
	pthread_join(t->watcher, NULL);
	layer_child_release(&t->child);
}

/* ---- one try ---- */

static enum err_code child_verdict(struct task *t, struct err *e)
{
	if (t->code == ERR_OK)
		return ERR_OK;
	if (atomic_load(&t->exhausted))
		return ERR(e, ERR_EXHAUSTED, "scratch space ran out while the layer was parsed");
	if (t->code == ERR_INTERNAL)
		atomic_store(&t->job->child_died, true);
	*e = t->error;
	return t->code;
}

/* damaged: the cached blob was not what its name says; it is evicted, and another try downloads it. */
static enum err_code pass_once(struct task *t, bool *damaged, struct err *e)
{
	const struct descriptor *blob = &t->layer->about->blob;
	struct digest found;
	enum err_code code;

	hasher_reset(t->hasher);
	t->child_deaf = false;
	TRY(start_child(t, e));
	code = feed(t, e);
	join_child(t, code == ERR_OK);
	found = hasher_finish(t->hasher);
	TRY(code);
	if (!digest_equal(&found, &blob->digest)) {
		*damaged = t->visit.fd >= 0;
		return ERR(e, ERR_CORRUPT, "the blob has digest %s", digest_text(&found).text);
	}
	layer_cache_keep(&t->visit);
	TRY(child_verdict(t, e));
	return scratch_check(t->job->env->scratch, e); /* a quick child may have ended between two looks */
}

static enum err_code check_diff_id(const struct task *t, struct err *e)
{
	if (digest_equal(&t->result.diff_id, &t->layer->diff_id))
		return ERR_OK;
	return ERR(e, ERR_CORRUPT, "its content has digest %s, the image's configuration says %s",
	           digest_text(&t->result.diff_id).text, digest_text(&t->layer->diff_id).text);
}

static enum err_code open_file(struct task *t, int *fd, struct err *e)
{
	return *fd >= 0 ? ERR_OK : scratch_file(t->job->scratch, fd, e);
}

static enum err_code open_files(struct task *t, struct err *e)
{
	TRY(open_file(t, &t->files_fd, e));
	TRY(open_file(t, &t->summary_fd, e));
	return open_file(t, &t->spill_fd, e);
}

static void close_files(struct task *t, bool keep_files)
{
	if (!keep_files && t->files_fd >= 0)
		scratch_file_close(t->job->scratch, t->files_fd);
	if (t->summary_fd >= 0)
		scratch_file_close(t->job->scratch, t->summary_fd);
	if (t->spill_fd >= 0)
		scratch_file_close(t->job->scratch, t->spill_fd);
	if (!keep_files)
		t->files_fd = -1;
	t->summary_fd = t->spill_fd = -1;
}

/* The layer has hard links to files that nobody looked at: once more, with what the first reading left in the spill
 * file. */
static enum err_code prepare_again(struct task *t, struct err *e)
{
	t->first = t->result;
	if (ftruncate(t->files_fd, 0) != 0 || lseek(t->files_fd, 0, SEEK_SET) != 0 ||
	    ftruncate(t->summary_fd, 0) != 0 || lseek(t->summary_fd, 0, SEEK_SET) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "emptying scratch files");
	return ERR_OK;
}

/* From the cache, or by download; a second time when the cached blob turned out damaged. */
static enum err_code parse_blob(struct task *t, struct err *e)
{
	const struct descriptor *blob = &t->layer->about->blob;
	enum err_code code;
	bool damaged, again;

	do {
		damaged = again = false;
		TRY(open_files(t, e));
		TRY(layer_cache_enter(t->job->env->cache, t->job->lease->account, &blob->digest, blob->size,
		                      job_must_stop, t->job, &t->visit, e));
		code = pass_once(t, &damaged, e);
		if (damaged) {
			LOG_WARN("cached layer is damaged", LOG_TEXT("layer", digest_text(&blob->digest).text));
			layer_cache_damaged(&t->visit);
			close_files(t, false);
			t->first.wants_len = 0;
		}
		layer_cache_leave(&t->visit);
		if (code == ERR_OK && t->result.wants_len > 0) {
			again = true;
			TRY(prepare_again(t, e));
		}
	} while (damaged || again);
	TRY(code);
	return check_diff_id(t, e);
}

/* ---- documents ---- */

struct document {
	struct store_task task; /* first: put_document gets its address */
	const struct task *of;
	const char *name;
	int fd;
	uint64_t size;
};

static enum err_code put_document(struct store_task *task, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct document *d = (const struct document *)task;
	struct job *job = d->of->job;
	struct store_object to = {job->lease->account, "object_store", "layers", NULL};
	struct store_stored stored;

	to.key = talloc_asprintf(ctx, ANALYZER_REVISION "/%s/%s", digest_hex(&d->of->layer->about->blob.digest).text,
	                         d->name);
	TRY(store_put_fd(job->env->gateway, &to, d->fd, d->size, &stored, e));
	atomic_fetch_add(&job->stored, (int64_t)stored.stored_bytes);
	return ERR_OK;
}

/* Side by side, since each waits for a disk. */
static enum err_code put_documents(const struct task *t, struct err *e)
{
	struct document documents[] = {
	    {{.run = put_document}, t, "files", t->files_fd, t->result.files_bytes},
	    {{.run = put_document}, t, "summary", t->summary_fd, t->result.summary_bytes},
	};
	SCRATCH_CTX(ctx); /* ends the flight, before the documents go */
	struct store_flight *flight = store_flight_new(ctx, ARRAY_SIZE(documents));

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
		store_flight_push(flight, &documents[i].task);
	while (store_flight_count(flight)) {
		struct store_task *task = store_flight_pop(flight);

		if (task->code != ERR_OK)
			return *e = task->error, task->code;
	}
	return ERR_OK;
}

static enum err_code tell_begin(struct task *t, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = job_call(t->job);
	struct layer_begin_reply reply;

	return call_layer_begin(t->job->env->catalog, &call, ctx,
	                        &(struct layer_begin_request){
				    .job = t->job->lease->job,
				    .token = t->job->lease->token,
				    .revision = ANALYZER_REVISION,
				    .layer = t->layer->about->blob.digest,
				},
	                        &reply, e);
}

static enum err_code tell_commit(struct task *t, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct proto_call call = job_call(t->job);
	struct layer_commit_reply reply;

	return call_layer_commit(t->job->env->catalog, &call, ctx,
	                         &(struct layer_commit_request){
				     .job = t->job->lease->job,
				     .token = t->job->lease->token,
				     .revision = ANALYZER_REVISION,
				     .layer = t->layer->about->blob.digest,
				     .diff_id = t->result.diff_id,
				     .size = (int64_t)t->layer->about->blob.size,
				     .content_bytes = (int64_t)t->result.tar_bytes,
				     .entries = (int64_t)t->result.entries,
				 },
	                         &reply, e);
}

static enum err_code read_summary(struct task *t, TALLOC_CTX *ctx, struct err *e)
{
	SCRATCH_CTX(scratch);
	size_t size = t->result.summary_bytes;
	struct summary *summary;
	char *bytes;

	if (size > SUMMARY_BYTES_MAX)
		return ERR(e, ERR_TOO_LARGE, "its summary has %zu bytes, at most %zu are allowed", size,
		           (size_t)SUMMARY_BYTES_MAX);
	bytes = talloc_size(scratch, size + 1);
	ASSERT(bytes);
	for (size_t at = 0; at < size;) {
		ssize_t n = pread(t->summary_fd, bytes + at, size - at, (off_t)at);

		if (n <= 0)
			return ERR_SYS(e, ERR_INTERNAL, "its summary cannot be read back");
		at += (size_t)n;
	}
	TRY(summary_decode(NULL, bytes, size, &summary, e));
	t->layer->summary = assemble_keep(t->job, ctx, t->layer, summary);
	return ERR_OK;
}

static enum err_code store_documents(struct task *t, TALLOC_CTX *ctx, struct err *e)
{
	TRY(read_summary(t, ctx, e));
	TRY(tell_begin(t, e));
	TRY(put_documents(t, e));
	return tell_commit(t, e);
}

enum err_code layer_task_run(struct job *job, struct job_layer *layer, TALLOC_CTX *ctx, struct err *e)
{
	struct task t = {.job = job, .layer = layer, .files_fd = -1, .summary_fd = -1, .spill_fd = -1};
	int64_t started = clock_monotonic_ms();
	enum err_code code;

	t.hasher = hasher_new(NULL);
	code = parse_blob(&t, e);
	if (code == ERR_OK)
		code = store_documents(&t, ctx, e);
	talloc_free(t.hasher);
	close_files(&t, code == ERR_OK);
	if (code != ERR_OK)
		return err_wrap(e, "layer %s", digest_text(&layer->about->blob.digest).text);
	layer->files_fd = t.files_fd;
	layer->files_bytes = t.result.files_bytes;
	layer->content_bytes = t.result.tar_bytes;
	layer->entries = t.result.entries;
	atomic_fetch_add(&job->analysed, (int64_t)t.result.tar_bytes);
	LOG_INFO("layer analysed", LOG_TEXT("layer", digest_text(&layer->about->blob.digest).text),
	         LOG_NUMBER("blob_bytes", layer->about->blob.size), LOG_NUMBER("tar_bytes", t.result.tar_bytes),
	         LOG_NUMBER("entries", t.result.entries), LOG_NUMBER("ms", clock_monotonic_ms() - started),
	         LOG_NUMBER("child_cpu_us", t.result.cpu_us), LOG_NUMBER("child_peak_bytes", t.result.peak_rss_bytes));
	return ERR_OK;
}
