#include "common/manifest.h"

#include "common/json.h"

#include <string.h>
#include <strings.h>

#define MEDIA_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+json"
#define MEDIA_DOCKER_SCHEMA1_SIGNED "application/vnd.docker.distribution.manifest.v1+prettyjws"

const char manifest_accept[] =
    MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST ", " MEDIA_OCI_MANIFEST ", " MEDIA_OCI_INDEX;

static const struct {
	const char *media_type;
	enum manifest_kind kind;
} kinds[] = {
    {MEDIA_DOCKER_MANIFEST, MANIFEST_KIND_IMAGE},
    {MEDIA_OCI_MANIFEST, MANIFEST_KIND_IMAGE},
    {MEDIA_DOCKER_LIST, MANIFEST_KIND_INDEX},
    {MEDIA_OCI_INDEX, MANIFEST_KIND_INDEX},
};

/* Old Docker clients pushed configurations as application/octet-stream. */
static const char *const config_types[] = {
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
};

static const struct {
	const char *media_type;
	enum codec codec;
	bool foreign;
} layer_types[] = {
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", CODEC_GZIP, false},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", CODEC_ZSTD, false},
    {"application/vnd.docker.image.rootfs.diff.tar", CODEC_NONE, false},
    {"application/vnd.oci.image.layer.v1.tar+gzip", CODEC_GZIP, false},
    {"application/vnd.oci.image.layer.v1.tar+zstd", CODEC_ZSTD, false},
    {"application/vnd.oci.image.layer.v1.tar", CODEC_NONE, false},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", CODEC_GZIP, true},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar", CODEC_NONE, true},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", CODEC_GZIP, true},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", CODEC_ZSTD, true},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", CODEC_NONE, true},
};

static bool kind_of_media_type(const char *media_type, size_t len, enum manifest_kind *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].media_type) == len && strncasecmp(kinds[i].media_type, media_type, len) == 0) {
			*kind = kinds[i].kind;
			return true;
		}
	}
	return false;
}

/* Before anything else is believed: no schema 1, and not both an image and an index. */
static enum err_code check_shape(const cJSON *json, const char *media_type, struct err *e)
{
	uint64_t version = 2;

	if (json_has(json, "schemaVersion") && !json_size(json, "schemaVersion", &version))
		return ERR(e, ERR_CORRUPT, "schemaVersion of the manifest is not a number");
	if (version == 1 || json_has(json, "fsLayers") ||
	    (media_type &&
	     (strcmp(media_type, MEDIA_DOCKER_SCHEMA1) == 0 || strcmp(media_type, MEDIA_DOCKER_SCHEMA1_SIGNED) == 0)))
		return ERR(
		    e, ERR_UNSUPPORTED,
		    "manifest has Docker schema 1, which is not supported: push the image again with a newer tool");
	if (version != 2)
		return ERR(e, ERR_UNSUPPORTED, "manifest has schema version %llu, not 2", (unsigned long long)version);
	if (json_has(json, "manifests") && (json_has(json, "layers") || json_has(json, "config")))
		return ERR(e, ERR_CORRUPT, "manifest claims to be both an image and an index");
	return ERR_OK;
}

/* content_type may have parameters behind a semicolon, and is only asked when the body does not say. */
static enum err_code decide_kind(const cJSON *json, const char *content_type, enum manifest_kind *kind, struct err *e)
{
	const char *media_type = json_text(json, "mediaType");
	size_t len = content_type ? strcspn(content_type, "; \t") : 0;
	enum manifest_kind announced;
	bool known = content_type && kind_of_media_type(content_type, len, &announced);

	if (media_type) {
		if (!kind_of_media_type(media_type, strlen(media_type), kind))
			return ERR(e, ERR_UNSUPPORTED, "manifest has media type '%.100s', which is not supported",
			           media_type);
		if (known && strncasecmp(media_type, content_type, MAX(strlen(media_type), len)) != 0)
			return ERR(e, ERR_CORRUPT, "manifest of media type '%.100s' is served as '%.*s'", media_type,
			           (int)len, content_type);
		return ERR_OK;
	}
	if (known)
		*kind = announced;
	else
		*kind = json_has(json, "manifests") ? MANIFEST_KIND_INDEX : MANIFEST_KIND_IMAGE;
	return ERR_OK;
}

static enum err_code read_kind(const cJSON *json, const char *content_type, enum manifest_kind *kind, struct err *e)
{
	TRY(check_shape(json, json_text(json, "mediaType"), e));
	TRY(decide_kind(json, content_type, kind, e));
	if (*kind == MANIFEST_KIND_INDEX && !json_array(json, "manifests"))
		return ERR(e, ERR_CORRUPT, "index has no list of manifests");
	if (*kind == MANIFEST_KIND_IMAGE && !json_object(json, "config"))
		return ERR(e, ERR_CORRUPT, "manifest names no configuration");
	return ERR_OK;
}

enum err_code manifest_kind_of(const void *bytes, size_t len, const char *content_type, enum manifest_kind *kind,
                               struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;

	TRY(json_parse(bytes, len, MANIFEST_SIZE_MAX, "manifest", &json, e));
	return read_kind(json, content_type, kind, e);
}

static enum err_code read_descriptor(TALLOC_CTX *ctx, const cJSON *json, const char *what, struct descriptor *d,
                                     struct err *e)
{
	const char *digest = json_text(json, "digest"), *media_type = json_text(json, "mediaType");

	if (!digest)
		return ERR(e, ERR_CORRUPT, "%s has no digest", what);
	if (strncmp(digest, "sha256:", 7) != 0)
		return ERR(e, ERR_UNSUPPORTED, "%s has digest '%.100s', which is not sha256", what, digest);
	if (!digest_parse(digest, &d->digest) || digest_is_none(&d->digest))
		return ERR(e, ERR_CORRUPT, "%s has the malformed digest '%.100s'", what, digest);
	if (!json_size(json, "size", &d->size))
		return ERR(e, ERR_CORRUPT, "%s %s has no valid size", what, digest);
	if (d->size > MANIFEST_BLOB_SIZE_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s %s claims %llu bytes", what, digest, (unsigned long long)d->size);
	d->media_type = talloc_strdup(ctx, media_type ? media_type : "");
	return ERR_OK;
}

static enum err_code read_config(TALLOC_CTX *ctx, const cJSON *json, struct descriptor *config, struct err *e)
{
	TRY(read_descriptor(ctx, json_object(json, "config"), "configuration", config, e));
	for (size_t i = 0; i < ARRAY_SIZE(config_types); i++)
		if (strcasecmp(config->media_type, config_types[i]) == 0)
			return ERR_OK;
	return ERR(e, ERR_UNSUPPORTED, "not a container image: its configuration has media type '%.100s'",
	           config->media_type);
}

static enum err_code read_layer(TALLOC_CTX *ctx, const cJSON *json, struct manifest_layer *layer, struct err *e)
{
	TRY(read_descriptor(ctx, json, "layer", &layer->blob, e));
	for (size_t i = 0; i < ARRAY_SIZE(layer_types); i++) {
		if (strcasecmp(layer->blob.media_type, layer_types[i].media_type) != 0)
			continue;
		if (layer_types[i].foreign)
			return ERR(e, ERR_UNSUPPORTED, "layer %s is foreign (media type '%s') and is not fetched",
			           digest_text(&layer->blob.digest).text, layer_types[i].media_type);
		layer->codec = layer_types[i].codec;
		return ERR_OK;
	}
	return ERR(e, ERR_UNSUPPORTED, "layer %s has media type '%.100s', which is not supported",
	           digest_text(&layer->blob.digest).text, layer->blob.media_type);
}

static enum err_code read_layers(TALLOC_CTX *ctx, const cJSON *json, struct manifest *m, struct err *e)
{
	const cJSON *list = json_array(json, "layers"), *item;
	size_t count = list ? (size_t)cJSON_GetArraySize(list) : 0;

	if (json_has(json, "layers") && !list)
		return ERR(e, ERR_CORRUPT, "layers of the manifest are not a list");
	if (count == 0)
		return ERR(e, ERR_INVALID, "image has no layers");
	if (count > MANIFEST_LAYERS_MAX)
		return ERR(e, ERR_TOO_LARGE, "image has %zu layers, more than %d", count, MANIFEST_LAYERS_MAX);
	m->layers = talloc_zero_array(ctx, struct manifest_layer, count);
	cJSON_ArrayForEach (item, list) {
		struct manifest_layer *layer = &m->layers[m->layer_count++];

		TRY(read_layer(ctx, item, layer, e));
		m->layers_size += layer->blob.size;
		if (m->layers_size > MANIFEST_BLOB_SIZE_MAX)
			return ERR(e, ERR_TOO_LARGE, "layers of the image claim more than %llu bytes together",
			           (unsigned long long)MANIFEST_BLOB_SIZE_MAX);
	}
	return ERR_OK;
}

enum err_code manifest_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, struct manifest *m, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	enum manifest_kind kind;
	const char *media_type;

	*m = (struct manifest){0};
	TRY(json_parse(bytes, len, MANIFEST_SIZE_MAX, "manifest", &json, e));
	TRY(read_kind(json, NULL, &kind, e));
	if (kind != MANIFEST_KIND_IMAGE)
		return ERR(e, ERR_INVALID, "an index stands where an image manifest is due");
	/* Only OCI manifests may leave their media type out. */
	media_type = json_text(json, "mediaType");
	m->media_type = media_type && strcasecmp(media_type, MEDIA_DOCKER_MANIFEST) == 0 ? MEDIA_DOCKER_MANIFEST
	                                                                                 : MEDIA_OCI_MANIFEST;
	TRY(read_config(ctx, json, &m->config, e));
	return read_layers(ctx, json, m, e);
}
