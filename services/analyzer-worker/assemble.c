#include "services/analyzer-worker/assemble.h"

#include "common/buf.h"
#include "proto/document/image.h"
#include "proto/document/package_set.h"
#include "proto/store_io.h"

#include <string.h>

#define WINDOW (1 * MIB)
#define KEPT_MAX (8 * MIB) /* of a files document in the document cache */
#define LOCATION_MAX 4096
#define INCOMPLETE_MAX 100

/* A known layer's files document, opened only when it is read: from memory if it was read lately, else from the object
 * store, and then kept. */
struct stored_files {
	const struct job *job;
	const char *name; /* in the document cache */
	struct store_reader *reader;
	struct files_memory memory;
	struct files_source source; /* of memory; read is NULL while it comes from the reader */
	struct buf seen;            /* what the reader gave so far; failed: too much to be kept */
};

static int stored_destroy(struct stored_files *s)
{
	buf_release(&s->seen);
	return 0;
}

static const char *cache_name(TALLOC_CTX *ctx, const struct store_object *object)
{
	return talloc_asprintf(ctx, "%s/%s", object->account, object->key);
}

static enum err_code stored_read(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	struct stored_files *s = arg;

	if (s->source.read)
		return s->source.read(s->source.arg, into, size, got, e);
	TRY(store_reader_read(s->reader, into, size, got, e));
	if (*got)
		buf_add(&s->seen, into, *got);
	else if (!buf_failed(&s->seen))
		document_cache_put(s->job->env->documents, s->name, s->seen.bytes, s->seen.len);
	return ERR_OK;
}

static enum err_code stored_rewind(void *arg, struct err *e)
{
	struct stored_files *s = arg;
	char *bytes;
	size_t len;

	if (!s->source.read && document_cache_get(s->job->env->documents, s, s->name, &bytes, &len)) {
		s->memory = (struct files_memory){bytes, len, 0};
		s->source = files_memory_source(&s->memory);
	}
	if (s->source.read)
		return s->source.rewind(s->source.arg, e);
	buf_reset(&s->seen);
	store_reader_rewind(s->reader);
	return ERR_OK;
}

static struct files_source stored_source(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer)
{
	struct stored_files *s = talloc_zero(ctx, struct stored_files);
	struct store_object from = {job->lease->account, "object_store", "layers", NULL};

	ASSERT(s);
	from.key = talloc_asprintf(s, ANALYZER_REVISION "/%s/files", digest_hex(&layer->about->blob.digest).text);
	s->job = job;
	s->name = cache_name(s, &from);
	s->reader = store_reader_new(s, job->env->gateway, &from, WINDOW);
	buf_init(&s->seen, KEPT_MAX);
	talloc_set_destructor(s, stored_destroy);
	return (struct files_source){stored_read, stored_rewind, s};
}

void assemble_forgive(const struct job *job, struct summary *summary)
{
	for (size_t i = 0; job->env->settings->allow_incomplete && i < summary->unparsed_count; i++)
		summary->unparsed[i].fatal = false;
}

static enum err_code stored_summary(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                    const struct summary **out, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct store_object from = {job->lease->account, "object_store", "layers", NULL};
	struct summary *summary;
	void *bytes;
	size_t len;

	from.key =
	    talloc_asprintf(scratch, ANALYZER_REVISION "/%s/summary", digest_hex(&layer->about->blob.digest).text);
	TRY(store_get_bytes(job->env->gateway, scratch, &from, SUMMARY_BYTES_MAX, &bytes, &len, e));
	TRY(summary_decode(ctx, bytes, len, &summary, e));
	assemble_forgive(job, summary);
	*out = summary;
	return ERR_OK;
}

static enum err_code gather(struct job *job, TALLOC_CTX *ctx, struct image_layer *inputs, struct err *e)
{
	for (size_t i = 0; i < job->layer_count; i++) {
		const struct job_layer *layer = &job->layers[job->layers[i].same_as];
		struct files_file *file;

		inputs[i].summary = layer->summary;
		if (!layer->summary)
			TRY(stored_summary(job, ctx, layer, &inputs[i].summary, e));
		if (layer->files_fd < 0) {
			inputs[i].files = stored_source(job, ctx, layer);
			continue;
		}
		file = talloc_zero(ctx, struct files_file);
		ASSERT(file);
		file->fd = layer->files_fd;
		inputs[i].files = files_file_source(file);
	}
	return ERR_OK;
}

/* ---- from the documents' words to the protocol's ---- */

static const char *clean(TALLOC_CTX *ctx, const char *text, size_t max)
{
	return text && *text ? proto_clean_text(ctx, text, max) : NULL;
}

static const char *location(TALLOC_CTX *ctx, const char *path)
{
	CLEANUP(buf_release) struct buf b;

	buf_init(&b, 4 * LOCATION_MAX);
	files_escape(&b, path, strlen(path));
	return proto_clean_text(ctx, b.bytes, LOCATION_MAX);
}

static void fill_package(TALLOC_CTX *ctx, const struct image_package *from, struct package *to)
{
	const struct summary_package *about = &from->about;

	*to = (struct package){
	    .type = from->cataloger,
	    .name = clean(ctx, about->name, 512),
	    .version = clean(ctx, about->version, 512),
	    .arch = clean(ctx, about->arch, 64),
	    .purl = clean(ctx, from->purl, 2048),
	    .location = from->evidence_count ? location(ctx, from->evidence[0]) : NULL,
	};
	if (about->source)
		to->source =
		    clean(ctx,
		          about->source_version ? talloc_asprintf(ctx, "%s %s", about->source, about->source_version)
		                                : about->source,
		          512);
	if (about->license && *about->license) {
		to->licenses.items = talloc_array(ctx, const char *, 1);
		ASSERT(to->licenses.items);
		to->licenses.items[0] = clean(ctx, about->license, 1024);
		to->licenses.count = 1;
	}
}

static void fill_distribution(TALLOC_CTX *ctx, const struct image_distribution *from, struct distribution *to)
{
	*to = (struct distribution){
	    .id = clean(ctx, from->id, 128),
	    .version = clean(ctx, from->version_id, 128),
	    .name = clean(ctx, from->pretty_name ? from->pretty_name : from->name, 256),
	};
	if (from->id_like && *from->id_like) {
		to->like.items = talloc_array(ctx, const char *, 1);
		ASSERT(to->like.items);
		to->like.items[0] = clean(ctx, from->id_like, 128);
		to->like.count = 1;
	}
}

static void fill_incomplete(TALLOC_CTX *ctx, const struct image_result *from, struct proto_texts *to)
{
	size_t count = MIN(from->unparsed_count, (size_t)INCOMPLETE_MAX);

	to->items = talloc_zero_array(ctx, const char *, count + 1);
	ASSERT(to->items);
	for (size_t i = 0; i < count; i++) {
		const struct summary_unparsed *u = from->unparsed[i].about;

		to->items[to->count++] = clean(
		    ctx, talloc_asprintf(ctx, "%s: %s: %s", u->cataloger, location(ctx, u->evidence), u->reason), 1024);
	}
}

enum err_code assemble_image(struct job *job, TALLOC_CTX *ctx, struct assembled *out, struct err *e)
{
	struct image_layer *inputs = talloc_zero_array(ctx, struct image_layer, job->layer_count);
	struct image_result *result;

	ASSERT(inputs);
	TRY(gather(job, ctx, inputs, e));
	TRY(image_assemble(ctx, inputs, job->layer_count, &result, e));
	*out = (struct assembled){.package_count = result->package_count};
	out->packages = talloc_zero_array(ctx, struct package, MAX(result->package_count, (size_t)1));
	ASSERT(out->packages);
	for (size_t i = 0; i < result->package_count; i++)
		fill_package(ctx, &result->packages[i], &out->packages[i]);
	package_set_sort(out->packages, &out->package_count);
	fill_distribution(ctx, &result->distribution, &out->distribution);
	fill_incomplete(ctx, result, &out->incomplete);
	return ERR_OK;
}
