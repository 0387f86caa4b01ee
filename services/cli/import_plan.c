#include "services/cli/import.h"

#include <string.h>

/* What an index says, if there is one, need not be so, and mostly it says nothing about an only image. */
static enum err_code check_platform(TALLOC_CTX *ctx, const char *wished, const struct import_plan *plan, struct err *e)
{
	struct image_config config;
	struct platform wish;

	TRY(platform_parse(wished, &wish, e));
	TRY(image_config_parse(ctx, plan->config_text, plan->config_len, plan->layer_count, &config, e));
	return platform_check(&config.platform, &wish, e);
}

enum err_code import_plan_make(TALLOC_CTX *ctx, struct import_source *source, const struct import_wish *wish,
                               struct import_plan *plan, struct err *e)
{
	*plan = (struct import_plan){.source = source};
	if (import_source_has_text(source, "index.json"))
		TRY(import_plan_oci(ctx, wish, plan, e));
	else if (import_source_has_text(source, "manifest.json"))
		TRY(import_plan_docker(ctx, wish, plan, e));
	else
		return ERR(e, ERR_UNSUPPORTED,
		           "neither a docker-archive nor an OCI layout: it has no manifest.json and no index.json");
	return wish->platform ? check_platform(ctx, wish->platform, plan, e) : ERR_OK;
}

enum err_code import_add_layer(TALLOC_CTX *ctx, struct import_plan *plan, const char *member,
                               const struct digest *digest, uint64_t size, struct err *e)
{
	const char *resolved = import_source_resolve(plan->source, member);
	size_t i = 0;

	if (!resolved)
		return ERR(e, ERR_CORRUPT, "the layer's name \"%s\" leads out of the archive", member);
	if (plan->layer_count == MANIFEST_LAYERS_MAX)
		return ERR(e, ERR_TOO_LARGE, "an image of more than %d layers", MANIFEST_LAYERS_MAX);
	while (i < plan->blob_count && strcmp(plan->blobs[i].member, resolved) != 0)
		i++;
	if (i == plan->blob_count) {
		plan->blobs = talloc_realloc(ctx, plan->blobs, struct import_blob, i + 1);
		ASSERT(plan->blobs);
		plan->blobs[plan->blob_count++] =
		    (struct import_blob){.member = resolved, .digest = *digest, .size = size};
	}
	plan->layers = talloc_realloc(ctx, plan->layers, size_t, plan->layer_count + 1);
	ASSERT(plan->layers);
	plan->layers[plan->layer_count++] = i;
	return ERR_OK;
}

static void add_descriptor(cJSON *into, const char *media_type, const struct import_blob *blob)
{
	ASSERT(cJSON_AddStringToObject(into, "mediaType", media_type));
	ASSERT(cJSON_AddStringToObject(into, "digest", digest_text(&blob->digest).text));
	ASSERT(cJSON_AddNumberToObject(into, "size", (double)blob->size));
}

static const char *layer_type(enum codec codec)
{
	switch (codec) {
	case CODEC_GZIP:
		return "application/vnd.oci.image.layer.v1.tar+gzip";
	case CODEC_ZSTD:
		return "application/vnd.oci.image.layer.v1.tar+zstd";
	case CODEC_NONE:
		break;
	}
	return "application/vnd.oci.image.layer.v1.tar";
}

static void make_manifest(TALLOC_CTX *ctx, struct import_plan *plan)
{
	cJSON *manifest = cJSON_CreateObject(), *layers;
	char *text;

	ASSERT(manifest && cJSON_AddNumberToObject(manifest, "schemaVersion", 2));
	ASSERT(cJSON_AddStringToObject(manifest, "mediaType", MEDIA_OCI_MANIFEST));
	add_descriptor(cJSON_AddObjectToObject(manifest, "config"), "application/vnd.oci.image.config.v1+json",
	               &plan->config);
	layers = cJSON_AddArrayToObject(manifest, "layers");
	ASSERT(layers);
	for (size_t i = 0; i < plan->layer_count; i++) {
		const struct import_blob *blob = &plan->blobs[plan->layers[i]];
		cJSON *layer = cJSON_CreateObject();

		ASSERT(layer && cJSON_AddItemToArray(layers, layer));
		add_descriptor(layer, layer_type(blob->codec), blob);
	}
	text = cJSON_PrintUnformatted(manifest);
	ASSERT(text);
	plan->manifest = talloc_strdup(ctx, text);
	plan->manifest_len = strlen(text);
	ASSERT(plan->manifest);
	cJSON_free(text);
	cJSON_Delete(manifest);
}

enum err_code import_manifest(TALLOC_CTX *ctx, struct import_plan *plan, struct err *e)
{
	struct manifest parsed;

	if (!plan->manifest)
		make_manifest(ctx, plan);
	plan->digest = digest_of(plan->manifest, plan->manifest_len);
	return manifest_parse(ctx, plan->manifest, plan->manifest_len, &parsed, e);
}
