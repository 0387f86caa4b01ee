#include "common/json.h"
#include "common/manifest.h"

#include <string.h>

static enum err_code read_platform(const cJSON *json, struct platform *p, struct err *e)
{
	if (!json_copy_text(json, "os", p->os, PLATFORM_PART_SIZE) ||
	    !json_copy_text(json, "architecture", p->architecture, PLATFORM_PART_SIZE) ||
	    !json_copy_text(json, "variant", p->variant, PLATFORM_PART_SIZE))
		return ERR(e, ERR_CORRUPT, "image configuration has a malformed platform");
	return ERR_OK;
}

static enum err_code read_diff_ids(TALLOC_CTX *ctx, const cJSON *json, size_t layer_count, struct image_config *config,
                                   struct err *e)
{
	const cJSON *rootfs = json_object(json, "rootfs"), *list = rootfs ? json_array(rootfs, "diff_ids") : NULL,
		    *item;
	size_t count = list ? (size_t)cJSON_GetArraySize(list) : 0;

	if (count != layer_count)
		return ERR(e, ERR_CORRUPT, "image configuration has %zu DiffIDs for %zu layers", count, layer_count);
	config->diff_ids = talloc_zero_array(ctx, struct digest, count);
	cJSON_ArrayForEach (item, list) {
		const char *text = cJSON_GetStringValue(item);

		if (!text || !digest_parse(text, &config->diff_ids[config->diff_id_count]))
			return ERR(e, ERR_CORRUPT, "DiffID %zu of the image configuration is not a sha256 digest",
			           config->diff_id_count);
		config->diff_id_count++;
	}
	return ERR_OK;
}

static char *copy_text(TALLOC_CTX *ctx, const cJSON *json, const char *name)
{
	const char *text = json_text(json, name);

	return talloc_strdup(ctx, text ? text : "");
}

/* History is for people: a broken one is left out, it does not fail the image. */
static void read_history(TALLOC_CTX *ctx, const cJSON *json, struct image_config *config)
{
	const cJSON *list = json_array(json, "history"), *item;

	if (!list)
		return;
	config->history = talloc_zero_array(ctx, struct image_history, (size_t)cJSON_GetArraySize(list));
	cJSON_ArrayForEach (item, list) {
		struct image_history *h = &config->history[config->history_count++];

		h->created = copy_text(ctx, item, "created");
		h->created_by = copy_text(ctx, item, "created_by");
		h->comment = copy_text(ctx, item, "comment");
		h->empty_layer = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "empty_layer"));
	}
}

enum err_code image_config_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, size_t layer_count,
                                 struct image_config *config, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;

	*config = (struct image_config){0};
	TRY(json_parse(bytes, len, IMAGE_CONFIG_SIZE_MAX, "image configuration", &json, e));
	TRY(read_platform(json, &config->platform, e));
	TRY(read_diff_ids(ctx, json, layer_count, config, e));
	config->created = copy_text(ctx, json, "created");
	read_history(ctx, json, config);
	return ERR_OK;
}
