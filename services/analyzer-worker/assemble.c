#include "services/analyzer-worker/assemble.h"

#include "common/buf.h"
#include "proto/document/image.h"
#include "proto/document/package_set.h"
#include "proto/store_io.h"

#include <string.h>

#define KEPT_MAX (8 * MIB) /* of a files document in the document cache */
#define LINE_USUAL 128     /* bytes of a line in a files document, to guess its size before it is asked for */
#define LOCATION_MAX 4096
#define INCOMPLETE_MAX 100
#define CHUNK_OVERHEAD 112 /* what talloc adds to each piece of memory */

static struct store_object object_name(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                       const char *document)
{
	return (struct store_object){
	    job->lease->account, "object_store", "layers",
	    talloc_asprintf(ctx, ANALYZER_REVISION "/%s/%s", digest_hex(&layer->about->blob.digest).text, document)};
}

static const char *cache_name(TALLOC_CTX *ctx, const struct store_object *object)
{
	const char *name = talloc_asprintf(ctx, "%s/%s", object->account, object->key);

	ASSERT(name);
	return name;
}

/* ---- files documents of known layers ---- */

/* In the document cache. */
struct whole_files {
	void *bytes;
	size_t len;
};

/* A known layer's files document. It is opened when it is read: from memory if it was read lately, else from the object
 * store; one that is not large is then kept. */
struct stored_files {
	const struct job *job;
	struct store_object from;
	bool small;                  /* by its number of lines */
	TALLOC_CTX **open;           /* shared by all documents of the image: what the one being read holds */
	struct store_reader *reader; /* NULL: it comes from memory */
	struct files_memory memory;
};

/* *out stays NULL if it is larger than it looked. */
static enum err_code fetch_whole(struct stored_files *s, const char *name, const struct whole_files **out,
                                 struct err *e)
{
	struct whole_files *whole = talloc_zero(NULL, struct whole_files);
	enum err_code code;

	ASSERT(whole);
	code = store_get_bytes(s->job->env->gateway, whole, &s->from, KEPT_MAX, &whole->bytes, &whole->len, e);
	if (code == ERR_OK)
		*out = document_cache_put(s->job->env->documents, *s->open, name, whole, whole->len + sizeof(*whole));
	else
		talloc_free(whole);
	return code == ERR_TOO_LARGE ? ERR_OK : code;
}

static enum err_code stored_rewind(void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct stored_files *s = arg;
	const char *name = cache_name(ctx, &s->from);
	const struct whole_files *whole;

	/* Documents are read one after the other, so memory for one is enough. */
	talloc_free(*s->open);
	*s->open = talloc_new(NULL);
	s->reader = NULL;
	whole = document_cache_get(s->job->env->documents, *s->open, name);
	if (!whole && s->small)
		TRY(fetch_whole(s, name, &whole, e));
	if (whole)
		s->memory = (struct files_memory){whole->bytes, whole->len, 0};
	else
		s->reader = store_reader_new(*s->open, s->job->env->gateway, &s->from, STORE_CHUNK_BYTES);
	return ERR_OK;
}

static enum err_code stored_read(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	struct stored_files *s = arg;
	struct files_source memory = files_memory_source(&s->memory);

	if (s->reader)
		return store_reader_read(s->reader, into, size, got, e);
	return memory.read(memory.arg, into, size, got, e);
}

static struct files_source stored_source(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                         TALLOC_CTX **open)
{
	struct stored_files *s = talloc_zero(ctx, struct stored_files);

	ASSERT(s);
	s->job = job;
	s->from = object_name(job, s, layer, "files");
	s->small = layer->entries <= KEPT_MAX / LINE_USUAL;
	s->open = open;
	return (struct files_source){stored_read, stored_rewind, s};
}

/* ---- summaries ---- */

const struct summary *assemble_keep(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                    struct summary *summary)
{
	SCRATCH_CTX(scratch);
	struct store_object object = object_name(job, scratch, layer, "summary");
	size_t bytes = talloc_total_size(summary) + talloc_total_blocks(summary) * CHUNK_OVERHEAD;

	for (size_t i = 0; job->env->settings->allow_incomplete && i < summary->unparsed_count; i++)
		summary->unparsed[i].fatal = false;
	return document_cache_put(job->env->documents, ctx, cache_name(scratch, &object), summary, bytes);
}

static enum err_code stored_summary(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                    const struct summary **out, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct store_object from = object_name(job, scratch, layer, "summary");
	struct summary *summary;
	void *bytes;
	size_t len;

	*out = document_cache_get(job->env->documents, ctx, cache_name(scratch, &from));
	if (*out)
		return ERR_OK;
	TRY(store_get_bytes(job->env->gateway, scratch, &from, SUMMARY_BYTES_MAX, &bytes, &len, e));
	TRY(summary_decode(NULL, bytes, len, &summary, e));
	*out = assemble_keep(job, ctx, layer, summary);
	return ERR_OK;
}

static enum err_code gather(struct job *job, TALLOC_CTX *ctx, TALLOC_CTX **open, struct image_layer *inputs,
                            struct err *e)
{
	for (size_t i = 0; i < job->layer_count; i++) {
		const struct job_layer *layer = &job->layers[job->layers[i].same_as];
		struct files_file *file;

		inputs[i].summary = layer->summary;
		if (!layer->summary)
			TRY(stored_summary(job, ctx, layer, &inputs[i].summary, e));
		if (layer->files_fd < 0) {
			inputs[i].files = stored_source(job, ctx, layer, open);
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

/* ---- the whole ---- */

/* Upon what is known of the stack; what is found out about it is kept. */
static enum err_code assemble_layers(struct job *job, TALLOC_CTX *ctx, const struct image_layer *inputs,
                                     struct image_result **out, struct err *e)
{
	struct stack_cache *stacks = job->env->stacks;
	struct digest *digests = talloc_array(ctx, struct digest, MAX(job->layer_count, (size_t)1));
	struct image_sight known;
	bool some;

	ASSERT(digests);
	for (size_t i = 0; i < job->layer_count; i++)
		digests[i] = job->layers[i].about->blob.digest;
	some = stack_cache_find(stacks, ctx, job->lease->account, digests, job->layer_count, &known);
	TRY(image_assemble_upon(ctx, inputs, job->layer_count, some ? &known : NULL, out, e));
	stack_cache_add(stacks, job->lease->account, digests, job->layer_count, &(*out)->sight);
	return ERR_OK;
}

enum err_code assemble_image(struct job *job, TALLOC_CTX *ctx, struct assembled *out, struct err *e)
{
	struct image_layer *inputs = talloc_zero_array(ctx, struct image_layer, MAX(job->layer_count, (size_t)1));
	CLEANUP(talloc_cleanup) TALLOC_CTX *open = NULL;
	struct image_result *result;

	ASSERT(inputs);
	TRY(gather(job, ctx, &open, inputs, e));
	TRY(assemble_layers(job, ctx, inputs, &result, e));
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
