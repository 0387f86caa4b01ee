/*
 * manifest: what a registry, a docker-archive or an OCI layout says an image consists of: Docker schema 2 and OCI image
 * manifests, Docker manifest lists and OCI indexes, and the image's configuration.
 *
 *     TRY(manifest_kind_of(bytes, len, content_type, &kind, e));
 *     if (kind == MANIFEST_KIND_INDEX) {
 *             TRY(manifest_index_parse(ctx, bytes, len, &index, e));
 *             TRY(manifest_index_choose(&index, &platform, &chosen, e));
 *             ... fetch chosen->digest and look again
 *     }
 *     TRY(manifest_parse(ctx, bytes, len, &manifest, e));
 *     ... fetch manifest.config.digest
 *     TRY(image_config_parse(ctx, bytes, len, manifest.layer_count, &config, e));
 *
 * The bytes are a stranger's. They are measured (size, nesting, number of values) before they are parsed, and nothing
 * that leaves here is beyond the limits below. Whether bytes have the digest under which they were asked for is the
 * fetcher's business. Everything parsed hangs on ctx.
 *
 * Errors, all of them final: ERR_CORRUPT for what is not JSON or contradicts itself, ERR_UNSUPPORTED for a media type
 * or schema that is not analysed (named in the text), ERR_INVALID for an image without layers, ERR_TOO_LARGE beyond a
 * limit. Texts do not name the image; the caller wraps.
 */
#ifndef COMMON_MANIFEST_H
#define COMMON_MANIFEST_H

#include "common/codec.h"
#include "common/digest.h"
#include "common/platform.h"

#define MANIFEST_SIZE_MAX (4 * MIB)
#define MANIFEST_LAYERS_MAX 512
#define MANIFEST_ENTRIES_MAX 1024 /* of an index */
#define IMAGE_CONFIG_SIZE_MAX (8 * MIB)
#define MANIFEST_BLOB_SIZE_MAX ((uint64_t)1 << 44) /* bytes a descriptor may claim, and all layers together */

#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"

enum manifest_kind { MANIFEST_KIND_IMAGE, MANIFEST_KIND_INDEX };

struct descriptor {
	const char *media_type;
	struct digest digest;
	uint64_t size;
};

struct manifest_layer {
	struct descriptor blob;
	enum codec codec; /* as the media type says; the bytes may say otherwise */
};

struct manifest {
	const char *media_type; /* one of the MEDIA_*_MANIFEST */
	struct descriptor config;
	struct manifest_layer *layers; /* lowest first; at least one */
	size_t layer_count;
	uint64_t layers_size; /* sum of the layers' sizes, compressed */
};

struct manifest_entry {
	struct descriptor manifest;
	struct platform platform; /* all empty: the index does not say */
	bool attestation;         /* describes another entry; no image */
};

struct manifest_index {
	const char *media_type;
	struct manifest_entry *entries;
	size_t count;
};

struct image_history {
	const char *created, *created_by, *comment; /* "" where the image does not say */
	bool empty_layer;
};

struct image_config {
	struct platform platform;
	const char *created; /* RFC 3339 as it stands there; "" if it does not */
	struct digest *diff_ids;
	size_t diff_id_count;
	struct image_history *history;
	size_t history_count;
};

/* The media types that a manifest request accepts, comma separated: the value of its Accept header. */
extern const char manifest_accept[];

/* Image or index? The body's mediaType says, else content_type (a header's value; may be NULL), else what is in it. A
 * body that says one thing and has the content of another is refused, and so is one that claims to be both: two
 * readers must not see two images in the same bytes. */
enum err_code manifest_kind_of(const void *bytes, size_t len, const char *content_type, enum manifest_kind *kind,
                               struct err *e) MUST_CHECK;

enum err_code manifest_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, struct manifest *m,
                             struct err *e) MUST_CHECK;
enum err_code manifest_index_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, struct manifest_index *index,
                                   struct err *e) MUST_CHECK;

/* The first entry for the platform, one of exactly that variant before others; attestations are never chosen. An index
 * whose only image names no platform gives that one. ERR_NOT_FOUND lists what there is. */
enum err_code manifest_index_choose(const struct manifest_index *index, const struct platform *wish,
                                    const struct manifest_entry **chosen, struct err *e) MUST_CHECK;

/* layer_count is the manifest's: as many DiffIDs there must be, else ERR_CORRUPT. */
enum err_code image_config_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, size_t layer_count,
                                 struct image_config *config, struct err *e) MUST_CHECK;

#endif
