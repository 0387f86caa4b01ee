#include "services/catalog/stored.h"

#include "common/json.h"

#include <string.h>

char *stored_print(TALLOC_CTX *ctx, const cJSON *json)
{
	char *printed = cJSON_PrintUnformatted(json), *text;

	ASSERT(printed);
	text = talloc_strdup(ctx, printed);
	ASSERT(text);
	cJSON_free(printed);
	return text;
}

enum err_code stored_record_write(TALLOC_CTX *ctx, const struct proto_record *record, const void *from,
                                  const char **text, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;

	*text = NULL;
	if (!from)
		return ERR_OK;
	TRY(proto_encode(record, from, &json, e));
	*text = stored_print(ctx, json);
	return ERR_OK;
}

static enum err_code parse(const char *text, cJSON **json, struct err *e)
{
	*json = cJSON_Parse(text);
	if (!*json)
		return ERR(e, ERR_CORRUPT, "a stored value is not json: %.60s", text);
	return ERR_OK;
}

enum err_code stored_record_read(TALLOC_CTX *ctx, const struct proto_record *record, const char *text, void **into,
                                 struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;

	*into = NULL;
	if (!text)
		return ERR_OK;
	TRY(parse(text, &json, e));
	*into = talloc_zero_size(ctx, record->size);
	ASSERT(*into);
	if (proto_decode(record, ctx, json, PROTO_IGNORE_UNKNOWN, *into, e) != ERR_OK)
		return ERR(e, ERR_CORRUPT, "a stored value is no %s", record->name);
	return ERR_OK;
}

const char *stored_map_write(TALLOC_CTX *ctx, const struct proto_map *map)
{
	CLEANUP(json_cleanup) cJSON *json = cJSON_CreateObject();

	ASSERT(json);
	for (size_t i = 0; i < map->count; i++)
		ASSERT(cJSON_AddStringToObject(json, map->items[i].key, map->items[i].value));
	return map->count ? stored_print(ctx, json) : NULL;
}

enum err_code stored_map_read(TALLOC_CTX *ctx, const char *text, struct proto_map *map, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *item;

	*map = (struct proto_map){0};
	if (!text)
		return ERR_OK;
	TRY(parse(text, &json, e));
	map->items = talloc_zero_array(ctx, struct proto_pair, (size_t)cJSON_GetArraySize(json) + 1);
	ASSERT(map->items);
	cJSON_ArrayForEach (item, json) {
		if (!cJSON_IsString(item) || !item->string)
			return ERR(e, ERR_CORRUPT, "a stored value is no map of texts: %.60s", text);
		map->items[map->count++] = (struct proto_pair){talloc_strdup(map->items, item->string),
		                                               talloc_strdup(map->items, item->valuestring)};
	}
	return ERR_OK;
}

const char *stored_texts_write(TALLOC_CTX *ctx, const struct proto_texts *texts)
{
	CLEANUP(json_cleanup) cJSON *json = cJSON_CreateArray();

	ASSERT(json);
	for (size_t i = 0; i < texts->count; i++)
		ASSERT(cJSON_AddItemToArray(json, cJSON_CreateString(texts->items[i])));
	return texts->count ? stored_print(ctx, json) : NULL;
}

enum err_code stored_texts_read(TALLOC_CTX *ctx, const char *text, struct proto_texts *texts, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *item;

	*texts = (struct proto_texts){0};
	if (!text)
		return ERR_OK;
	TRY(parse(text, &json, e));
	texts->items = talloc_zero_array(ctx, const char *, (size_t)cJSON_GetArraySize(json) + 1);
	ASSERT(texts->items);
	cJSON_ArrayForEach (item, json) {
		if (!cJSON_IsString(item))
			return ERR(e, ERR_CORRUPT, "a stored value is no list of texts: %.60s", text);
		texts->items[texts->count++] = talloc_strdup(texts->items, item->valuestring);
	}
	return ERR_OK;
}
