#include "services/analyzer-worker/source.h"

#include "proto/store_io.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define POOL_MAX 64
#define STREAM_WINDOW (1 * MIB)

/* Registries already talked to, each for one set of credentials. */
struct pooled {
	const char *host, *user, *password;
	bool insecure;
	struct registry *registry;
};

struct source_pool {
	pthread_mutex_t mutex; /* guards the rest; a registry, once in, stays */
	struct pooled items[POOL_MAX];
	size_t count;
};

struct source {
	enum image_source kind;
	struct digest digest;
	/* a registry's */
	struct registry *registry;
	struct reference reference;
	/* an upload's */
	struct rpc_client *gateway;
	const char *account, *upload;
};

static int pool_destroy(struct source_pool *pool)
{
	pthread_mutex_destroy(&pool->mutex);
	return 0;
}

struct source_pool *source_pool_new(TALLOC_CTX *ctx)
{
	struct source_pool *pool = talloc_zero(ctx, struct source_pool);

	ASSERT(pool && pthread_mutex_init(&pool->mutex, NULL) == 0);
	talloc_set_destructor(pool, pool_destroy);
	return pool;
}

static bool same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static struct registry *pool_find(struct source_pool *pool, const char *host, const struct job_lease_reply *lease)
{
	for (size_t i = 0; i < pool->count; i++) {
		const struct pooled *p = &pool->items[i];

		if (same(p->host, host) && same(p->user, lease->registry_user) &&
		    same(p->password, lease->registry_password) && p->insecure == lease->registry_insecure)
			return p->registry;
	}
	return NULL;
}

/* A full pool is no fault: the connection is then the job's own. */
static enum err_code registry_get(TALLOC_CTX *ctx, const struct source_env *env, const struct job_lease_reply *lease,
                                  const char *host, struct registry **out, struct err *e)
{
	struct source_pool *pool = env->pool;
	struct registry_options options = {
	    .user = lease->registry_user,
	    .password = lease->registry_password,
	    .ca_file = *env->registry_ca_file ? env->registry_ca_file : NULL,
	    .insecure = lease->registry_insecure,
	    .skip_verify = lease->registry_insecure,
	};
	enum err_code code = ERR_OK;
	bool pooled;

	pthread_mutex_lock(&pool->mutex);
	*out = pool_find(pool, host, lease);
	if (!*out) {
		pooled = pool->count < POOL_MAX;
		code = registry_new(pooled ? (TALLOC_CTX *)pool : ctx, host, &options, out, e);
		if (code == ERR_OK && pooled)
			pool->items[pool->count++] = (struct pooled){
			    .host = talloc_strdup(pool, host),
			    .user = talloc_strdup(pool, lease->registry_user ? lease->registry_user : ""),
			    .password = talloc_strdup(pool, lease->registry_password ? lease->registry_password : ""),
			    .insecure = lease->registry_insecure,
			    .registry = *out,
			};
	}
	pthread_mutex_unlock(&pool->mutex);
	return code;
}

enum err_code source_open(TALLOC_CTX *ctx, const struct source_env *env, const struct job_lease_reply *lease,
                          struct source **out, struct err *e)
{
	struct source *s = talloc_zero(ctx, struct source);

	ASSERT(s);
	s->kind = lease->source;
	s->digest = lease->digest;
	s->gateway = env->gateway;
	s->account = talloc_strdup(s, lease->account);
	if (s->kind == IMAGE_FROM_UPLOAD) {
		if (!lease->upload || !*lease->upload)
			return ERR(e, ERR_INVALID, "job %" PRId64 " names no upload", lease->job);
		s->upload = talloc_strdup(s, lease->upload);
	} else {
		if (!lease->reference)
			return ERR(e, ERR_INVALID, "job %" PRId64 " names no reference", lease->job);
		TRY(reference_parse(lease->reference, &s->reference, e));
		reference_pin(&s->reference, &lease->digest);
		TRY(registry_get(s, env, lease, s->reference.registry, &s->registry, e));
	}
	*out = s;
	return ERR_OK;
}

/* ---- uploads: objects uploads/<upload>/<hex> ---- */

static struct store_object upload_name(const struct source *s, TALLOC_CTX *ctx, const struct digest *digest)
{
	return (struct store_object){s->account, "object_store", "uploads",
	                             talloc_asprintf(ctx, "%s/%s", s->upload, digest_hex(digest).text)};
}

static enum err_code upload_get(const struct source *s, TALLOC_CTX *ctx, const struct digest *digest, size_t max,
                                const char **bytes, size_t *len, struct err *e)
{
	struct store_object name = upload_name(s, ctx, digest);
	struct digest found;
	void *content;

	if (store_get_bytes(s->gateway, ctx, &name, max, &content, len, e) != ERR_OK)
		return err_wrap(e, "blob %s of the upload", digest_text(digest).text);
	found = digest_of(content, *len);
	if (!digest_equal(&found, digest))
		return ERR(e, ERR_CORRUPT, "uploaded blob %s has digest %s", digest_text(digest).text,
		           digest_text(&found).text);
	*bytes = content;
	return ERR_OK;
}

static enum err_code upload_stream(const struct source *s, const struct descriptor *blob, registry_sink sink, void *arg,
                                   const struct patience *patience, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct store_object name = upload_name(s, ctx, &blob->digest);
	struct store_reader *reader = store_reader_new(ctx, s->gateway, &name, STREAM_WINDOW);
	char *piece = talloc_size(ctx, 256 * KIB);
	uint64_t total = 0;
	size_t got;

	ASSERT(piece);
	for (;;) {
		TRY(patience_check(patience, name.key, e));
		if (store_reader_read(reader, piece, 256 * KIB, &got, e) != ERR_OK)
			return err_wrap(e, "layer %s of the upload", digest_text(&blob->digest).text);
		if (!got)
			break;
		total += got;
		TRY(sink(arg, piece, got, e));
	}
	if (total != blob->size)
		return ERR(e, ERR_CORRUPT, "uploaded layer %s has %" PRIu64 " bytes, the manifest says %" PRIu64,
		           digest_text(&blob->digest).text, total, blob->size);
	return ERR_OK;
}

/* ---- both ---- */

static enum err_code read_upload(struct source *s, TALLOC_CTX *ctx, struct source_image *image, struct err *e)
{
	TRY(upload_get(s, ctx, &s->digest, MANIFEST_SIZE_MAX, &image->manifest_bytes, &image->manifest_len, e));
	if (manifest_parse(ctx, image->manifest_bytes, image->manifest_len, &image->manifest, e) != ERR_OK)
		return err_wrap(e, "manifest %s", digest_text(&s->digest).text);
	return upload_get(s, ctx, &image->manifest.config.digest, IMAGE_CONFIG_SIZE_MAX, &image->config_bytes,
	                  &image->config_len, e);
}

static enum err_code read_registry(struct source *s, TALLOC_CTX *ctx, const struct patience *patience,
                                   struct source_image *image, struct err *e)
{
	struct registry_image found;
	struct buf config;

	TRY(registry_resolve(s->registry, ctx, &s->reference, NULL, patience, &found, e));
	if (!digest_equal(&found.manifest_digest, &s->digest))
		return ERR(e, ERR_CORRUPT, "%s is an index, a manifest was expected", digest_text(&s->digest).text);
	image->manifest_bytes = found.manifest_bytes;
	image->manifest_len = found.manifest_len;
	image->manifest = found.manifest;
	TRY(registry_get_blob(s->registry, &s->reference, &image->manifest.config, IMAGE_CONFIG_SIZE_MAX, patience,
	                      &config, e));
	image->config_bytes = talloc_memdup(ctx, config.bytes, config.len);
	image->config_len = config.len;
	buf_release(&config);
	return ERR_OK;
}

enum err_code source_read_image(struct source *s, TALLOC_CTX *ctx, const struct patience *patience,
                                struct source_image *image, struct err *e)
{
	*image = (struct source_image){0};
	if (s->kind == IMAGE_FROM_UPLOAD)
		TRY(read_upload(s, ctx, image, e));
	else
		TRY(read_registry(s, ctx, patience, image, e));
	if (image_config_parse(ctx, image->config_bytes, image->config_len, image->manifest.layer_count, &image->config,
	                       e) != ERR_OK)
		return err_wrap(e, "image configuration %s", digest_text(&image->manifest.config.digest).text);
	return ERR_OK;
}

enum err_code source_stream(struct source *s, const struct descriptor *blob, registry_sink sink, void *arg,
                            const struct patience *patience, struct err *e)
{
	if (s->kind == IMAGE_FROM_UPLOAD)
		return upload_stream(s, blob, sink, arg, patience, e);
	return registry_stream_blob(s->registry, &s->reference, blob, sink, arg, patience, e);
}
