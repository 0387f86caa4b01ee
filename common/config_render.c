#include "common/config.h"
#include "common/config_node.h"
#include "common/json.h"

#include <string.h>

/* $ is doubled: whoever reads the text replaces ${...} once more. */
static cJSON *escaped(const char *text)
{
	SCRATCH_CTX(ctx);
	char *doubled = talloc_array(ctx, char, 2 * strlen(text) + 1), *to = doubled;
	cJSON *item;

	ASSERT(doubled);
	for (; *text; text++) {
		*to++ = *text;
		if (*text == '$')
			*to++ = '$';
	}
	*to = '\0';
	item = cJSON_CreateString(doubled);
	ASSERT(item);
	return item;
}

static enum err_code to_json(TALLOC_CTX *ctx, const struct config_node *node, cJSON **out, struct err *e)
{
	const char *text = NULL;

	if (node->kind == CONFIG_SCALAR || node->kind == CONFIG_NULL) {
		if (node->kind == CONFIG_SCALAR)
			TRY(config_text(ctx, node, &text, e));
		*out = text ? escaped(text) : cJSON_CreateNull();
		return ERR_OK;
	}
	*out = node->kind == CONFIG_MAPPING ? cJSON_CreateObject() : cJSON_CreateArray();
	ASSERT(*out);
	for (size_t i = 0; i < node->count; i++) {
		cJSON *child = NULL;
		enum err_code code;

		code = to_json(ctx, node->entries[i].node, &child, e);
		if (child)
			ASSERT(node->kind == CONFIG_MAPPING ? cJSON_AddItemToObject(*out, node->entries[i].key, child)
			                                    : cJSON_AddItemToArray(*out, child));
		TRY(code);
	}
	return ERR_OK;
}

enum err_code config_render(TALLOC_CTX *ctx, const struct config_node *node, char **text, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	char *printed;

	*text = talloc_strdup(ctx, "null");
	ASSERT(*text);
	if (!node)
		return ERR_OK;
	TRY(to_json(ctx, node, &json, e));
	printed = cJSON_PrintUnformatted(json);
	ASSERT(printed);
	*text = talloc_strdup(ctx, printed);
	cJSON_free(printed);
	ASSERT(*text);
	return ERR_OK;
}

enum err_code config_from_text(TALLOC_CTX *ctx, const char *name, const char *text, const struct config_node **out,
                               struct err *e)
{
	struct config_node *node;

	TRY(config_parse_text(ctx, name, text, strlen(text), &node, e));
	*out = node->kind == CONFIG_NULL ? NULL : node;
	return ERR_OK;
}
