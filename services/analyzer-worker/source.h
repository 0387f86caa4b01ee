/*
 * source: where an image's manifest, configuration and blobs come from: a registry, or an upload in the object store.
 *
 *     TRY(source_open(ctx, env, lease, &source, e));
 *     TRY(source_read_image(source, ctx, patience, &image, e));
 *     TRY(source_stream(source, &image.manifest.layers[i].blob, sink, arg, patience, e));
 *
 * Manifest and configuration have the digests they were asked for by. A stream has the promised length; its digest is
 * the sink's to compute. source_stream may be called by several threads at once.
 *
 * Connections to registries, and what was learnt about them, are kept in struct source_pool for the next job.
 */
#ifndef ANALYZER_SOURCE_H
#define ANALYZER_SOURCE_H

#include "common/registry.h"
#include "proto/messages.h"

struct source;
struct source_pool;

struct source_env {
	struct source_pool *pool;
	struct rpc_client *gateway;
	const char *registry_ca_file; /* "": the system's */
};

struct source_image {
	const char *manifest_bytes, *config_bytes; /* exactly as received; on the caller's ctx */
	size_t manifest_len, config_len;
	struct manifest manifest;
	struct image_config config;
};

struct source_pool *source_pool_new(TALLOC_CTX *ctx);

enum err_code source_open(TALLOC_CTX *ctx, const struct source_env *env, const struct job_lease_reply *lease,
                          struct source **out, struct err *e) MUST_CHECK;

enum err_code source_read_image(struct source *s, TALLOC_CTX *ctx, const struct patience *patience,
                                struct source_image *image, struct err *e) MUST_CHECK;

enum err_code source_stream(struct source *s, const struct descriptor *blob, registry_sink sink, void *arg,
                            const struct patience *patience, struct err *e) MUST_CHECK;

#endif
