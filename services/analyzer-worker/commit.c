#include "services/analyzer-worker/commit.h"

#include "common/buf.h"
#include "common/clock.h"
#include "proto/document/package_set.h"
#include "proto/store_flight.h"
#include "proto/store_io.h"

#include <string.h>

#define PART_PACKAGES 500
#define DOCUMENT_MAX (256 * MIB)
#define SETS_MAX 64

enum image_document { MANIFEST, CONFIG, PACKAGES, DOCUMENTS };

static const char *const document_names[DOCUMENTS] = {"manifest", "config", "packages"};

/* On its way to the object store. */
struct document {
	struct store_task task; /* first: put_document gets its address */
	struct job *job;
	const char *name;
	const char *bytes;
	size_t len;
};

struct commit {
	struct job *job;
	TALLOC_CTX *ctx;
	const struct assembled *image;
	struct image_set sets[SETS_MAX];
	const struct package *first[SETS_MAX]; /* of each set, in image->packages */
	size_t set_count;
	struct document documents[DOCUMENTS];
	struct store_flight *flight;
};

/* ---- documents of the image: put side by side, since each waits for a disk ---- */

static enum err_code put_document(struct store_task *task, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct document *d = (const struct document *)task;
	struct job *job = d->job;
	struct store_object to = {job->lease->account, "object_store", "images", NULL};
	struct store_stored stored;

	to.key = talloc_asprintf(ctx, "%s/%s", digest_hex(&job->lease->digest).text, d->name);
	TRY(store_put_bytes(job->env->gateway, &to, d->bytes, d->len, &stored, e));
	atomic_fetch_add(&job->stored, (int64_t)stored.stored_bytes);
	return ERR_OK;
}

static void start_document(struct commit *c, enum image_document which, const char *bytes, size_t len)
{
	struct document *d = &c->documents[which];

	*d = (struct document){
	    .task.run = put_document, .job = c->job, .name = document_names[which], .bytes = bytes, .len = len};
	store_flight_push(c->flight, &d->task);
}

/* One line of JSON a package: all that an archive needs to make the sets again. */
static enum err_code print_packages(const struct assembled *image, struct buf *lines, struct err *e)
{
	for (size_t i = 0; i < image->package_count; i++) {
		cJSON *json;
		char *text;

		TRY(proto_encode(record_package(), &image->packages[i], &json, e));
		text = cJSON_PrintUnformatted(json);
		cJSON_Delete(json);
		ASSERT(text);
		buf_add_text(lines, text);
		buf_add_char(lines, '\n');
		cJSON_free(text);
	}
	if (buf_failed(lines))
		return ERR(e, ERR_TOO_LARGE, "the image's packages take more than %zu bytes", (size_t)DOCUMENT_MAX);
	return ERR_OK;
}

static enum err_code start_documents(struct commit *c, struct buf *lines, struct err *e)
{
	const struct source_image *image = &c->job->image;

	start_document(c, MANIFEST, image->manifest_bytes, image->manifest_len);
	start_document(c, CONFIG, image->config_bytes, image->config_len);
	TRY(print_packages(c->image, lines, e));
	start_document(c, PACKAGES, lines->bytes ? lines->bytes : "", lines->len);
	return ERR_OK;
}

static enum err_code await_documents(struct commit *c, struct err *e)
{
	while (store_flight_count(c->flight)) {
		struct store_task *task = store_flight_pop(c->flight);

		if (task->code != ERR_OK)
			return *e = task->error, task->code;
	}
	return ERR_OK;
}

/* ---- package sets: a run of equal types in the sorted packages each ---- */

static enum err_code cut_sets(struct commit *c, struct err *e)
{
	const struct package *packages = c->image->packages;
	size_t start = 0;

	for (size_t i = 1; i <= c->image->package_count; i++) {
		struct image_set *set = &c->sets[c->set_count];

		if (i < c->image->package_count && strcmp(packages[i].type, packages[start].type) == 0)
			continue;
		if (c->set_count == SETS_MAX)
			return ERR(e, ERR_TOO_LARGE, "more than %d package ecosystems", SETS_MAX);
		set->type = packages[start].type;
		set->packages = (int64_t)(i - start);
		set->digest = package_set_digest(&packages[start], i - start);
		c->first[c->set_count++] = &packages[start];
		start = i;
	}
	return ERR_OK;
}

static enum err_code put_set(struct commit *c, size_t index, struct err *e)
{
	const struct image_set *set = &c->sets[index];
	int64_t parts = (set->packages + PART_PACKAGES - 1) / PART_PACKAGES;

	for (int64_t part = 0; part < parts; part++) {
		SCRATCH_CTX(ctx);
		struct proto_call call = job_call(c->job);
		struct package items[PART_PACKAGES];
		size_t count = (size_t)MIN((int64_t)PART_PACKAGES, set->packages - part * PART_PACKAGES);
		struct set_put_reply reply;

		memcpy(items, c->first[index] + part * PART_PACKAGES, count * sizeof(*items));
		TRY(call_set_put(c->job->env->catalog, &call, ctx,
		                 &(struct set_put_request){
				     .type = set->type,
				     .digest = set->digest,
				     .part = part,
				     .parts = parts,
				     .packages = items,
				     .packages_count = count,
				 },
		                 &reply, e));
	}
	return ERR_OK;
}

static enum err_code put_sets(struct commit *c, struct err *e)
{
	struct proto_call call = job_call(c->job);
	struct digest digests[SETS_MAX];
	struct set_need_reply need;

	if (!c->set_count)
		return ERR_OK;
	for (size_t i = 0; i < c->set_count; i++)
		digests[i] = c->sets[i].digest;
	TRY(call_set_need(c->job->env->catalog, &call, c->ctx,
	                  &(struct set_need_request){.sets = {digests, c->set_count}}, &need, e));
	for (size_t i = 0; i < c->set_count; i++)
		for (size_t j = 0; j < need.missing.count; j++)
			if (digest_equal(&digests[i], &need.missing.items[j]))
				TRY(put_set(c, i, e));
	return ERR_OK;
}

/* ---- the result ---- */

static void fill_layers(const struct commit *c, struct layer_item *items, struct analysis_cost *cost)
{
	const struct job *job = c->job;

	for (size_t i = 0; i < job->layer_count; i++) {
		const struct job_layer *layer = &job->layers[i], *first = &job->layers[layer->same_as];

		items[i] = (struct layer_item){
		    .digest = layer->about->blob.digest,
		    .diff_id = layer->diff_id,
		    .media_type = layer->about->blob.media_type,
		    .size = (int64_t)layer->about->blob.size,
		    .content_bytes = (int64_t)first->content_bytes,
		    .entries = (int64_t)first->entries,
		    .known = first->known,
		    .revision = ANALYZER_REVISION,
		};
		if (first->known) {
			cost->layers_known++;
			cost->known_bytes += (int64_t)layer->about->blob.size;
		} else {
			cost->layers_analysed++;
		}
	}
}

static int64_t whole_size(const struct job *job)
{
	return (int64_t)(job->image.manifest.layers_size + job->image.manifest.config.size + job->image.manifest_len);
}

static enum err_code tell_commit(struct commit *c, int64_t elapsed_ms, struct err *e)
{
	const char *documents[DOCUMENTS];
	struct job *job = c->job;
	struct proto_call call = job_call(job);
	struct layer_item *layers = talloc_zero_array(c->ctx, struct layer_item, job->layer_count);
	struct distribution distribution = c->image->distribution;
	struct analysis_cost cost = {
	    .elapsed_ms = elapsed_ms,
	    .downloaded_bytes = atomic_load(&job->downloaded),
	    .cached_bytes = atomic_load(&job->cached),
	    .analysed_bytes = atomic_load(&job->analysed),
	    .stored_bytes = atomic_load(&job->stored),
	};
	struct job_commit_request request = {
	    .job = job->lease->job,
	    .token = job->lease->token,
	    .platform = platform_print(c->ctx, &job->image.config.platform),
	    .created_at = MAX((int64_t)0, clock_parse(job->image.config.created)),
	    .size = whole_size(job),
	    .distribution = &distribution,
	    .layers = layers,
	    .layers_count = job->layer_count,
	    .sets = c->sets,
	    .sets_count = c->set_count,
	    .cost = &cost,
	    .incomplete = c->image->incomplete,
	    .documents = {documents, ARRAY_SIZE(documents)},
	};
	struct job_commit_reply reply;

	ASSERT(layers);
	memcpy(documents, document_names, sizeof(documents));
	fill_layers(c, layers, &cost);
	return call_job_commit(job->env->catalog, &call, c->ctx, &request, &reply, e);
}

enum err_code commit_image(struct job *job, const struct assembled *image, int64_t elapsed_ms, struct err *e)
{
	CLEANUP(buf_release) struct buf lines;
	SCRATCH_CTX(ctx); /* ends the flight, before lines go */
	struct commit *c = talloc_zero(ctx, struct commit);

	ASSERT(c);
	buf_init(&lines, DOCUMENT_MAX);
	*c = (struct commit){.job = job, .ctx = ctx, .image = image, .flight = store_flight_new(ctx, DOCUMENTS)};
	TRY(start_documents(c, &lines, e));
	TRY(cut_sets(c, e));
	TRY(put_sets(c, e));
	TRY(await_documents(c, e));
	return tell_commit(c, elapsed_ms, e);
}
