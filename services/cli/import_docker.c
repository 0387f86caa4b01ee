#include "common/json.h"
#include "services/cli/import.h"

#include <string.h>

#define IMAGES_MAX 1000

/* manifest.json is an array; json_parse takes objects. */
static enum err_code parse_list(TALLOC_CTX *ctx, const char *text, size_t len, cJSON **out, struct err *e)
{
	char *wrapped = talloc_asprintf(ctx, "{\"images\":%.*s}", (int)len, text);

	ASSERT(wrapped);
	TRY(json_parse(wrapped, strlen(wrapped), IMPORT_TEXT_MAX + 64, "manifest.json", out, e));
	if (!json_array(*out, "images"))
		return ERR(e, ERR_CORRUPT, "manifest.json is no list of images");
	return ERR_OK;
}

static bool is_named(const cJSON *image, const char *name)
{
	const cJSON *tag;

	cJSON_ArrayForEach (tag, json_array(image, "RepoTags"))
		if (cJSON_IsString(tag) && strcmp(tag->valuestring, name) == 0)
			return true;
	return false;
}

/* The names of all images, for an error. */
static const char *names_of(TALLOC_CTX *ctx, const cJSON *images)
{
	char *text = talloc_strdup(ctx, "");
	const cJSON *image, *tag;

	cJSON_ArrayForEach (image, images)
		cJSON_ArrayForEach (tag, json_array(image, "RepoTags"))
			if (cJSON_IsString(tag) && strlen(text) < 300)
				text = talloc_asprintf_append(text, "%s%.100s", *text ? ", " : "", tag->valuestring);
	ASSERT(text);
	return *text ? text : "(none has a name)";
}

static enum err_code choose(TALLOC_CTX *ctx, const cJSON *images, const char *name, const cJSON **chosen, struct err *e)
{
	const cJSON *image;
	int count = cJSON_GetArraySize(images);

	*chosen = NULL;
	if (count < 1 || count > IMAGES_MAX)
		return ERR(e, ERR_CORRUPT, "manifest.json lists %d images", count);
	if (!name && count > 1)
		return ERR(e, ERR_INVALID, "there are %d images, --name chooses one: %s", count, names_of(ctx, images));
	cJSON_ArrayForEach (image, images)
		if (!name || is_named(image, name)) {
			*chosen = image;
			return ERR_OK;
		}
	return ERR(e, ERR_NOT_FOUND, "no image is named \"%s\"; there are: %s", name, names_of(ctx, images));
}

static void take_tags(TALLOC_CTX *ctx, const cJSON *image, struct import_plan *plan)
{
	const cJSON *tag;
	int count = cJSON_GetArraySize(json_array(image, "RepoTags"));

	plan->tags.items = talloc_zero_array(ctx, const char *, (size_t)MAX(count, 0) + 1);
	ASSERT(plan->tags.items);
	cJSON_ArrayForEach (tag, json_array(image, "RepoTags"))
		if (cJSON_IsString(tag))
			plan->tags.items[plan->tags.count++] = talloc_strdup(ctx, tag->valuestring);
}

static enum err_code take_config(TALLOC_CTX *ctx, const cJSON *image, struct import_plan *plan, struct err *e)
{
	const char *name = json_text(image, "Config");
	struct image_config parsed;

	if (!name)
		return ERR(e, ERR_CORRUPT, "manifest.json names no config");
	TRY(import_source_text(plan->source, name, IMAGE_CONFIG_SIZE_MAX, &plan->config_text, &plan->config_len, e));
	plan->config = (struct import_blob){.member = talloc_strdup(ctx, name),
	                                    .digest = digest_of(plan->config_text, plan->config_len),
	                                    .size = plan->config_len};
	return image_config_parse(ctx, plan->config_text, plan->config_len, plan->layer_count, &parsed, e);
}

static enum err_code take_layers(TALLOC_CTX *ctx, const cJSON *image, struct import_plan *plan, struct err *e)
{
	const struct digest unknown = {{0}};
	const cJSON *layer;

	if (!json_array(image, "Layers") || !cJSON_GetArraySize(json_array(image, "Layers")))
		return ERR(e, ERR_INVALID, "an image with no layers");
	cJSON_ArrayForEach (layer, json_array(image, "Layers")) {
		if (!cJSON_IsString(layer))
			return ERR(e, ERR_CORRUPT, "manifest.json names a layer by something that is no text");
		TRY(import_add_layer(ctx, plan, layer->valuestring, &unknown, 0, e));
	}
	return ERR_OK;
}

enum err_code import_plan_docker(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan,
                                 struct err *e)
{
	CLEANUP(json_cleanup) cJSON *list = NULL;
	const cJSON *image;
	const char *text;
	size_t len;

	TRY(import_source_text(plan->source, "manifest.json", IMPORT_TEXT_MAX, &text, &len, e));
	TRY(parse_list(ctx, text, len, &list, e));
	TRY(choose(ctx, json_array(list, "images"), wish->name, &image, e));
	take_tags(ctx, image, plan);
	TRY(take_layers(ctx, image, plan, e));
	return take_config(ctx, image, plan, e);
}
