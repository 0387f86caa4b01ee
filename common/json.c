#include "common/json.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Position after the string that starts at the quotation mark at i. */
static size_t skip_string(const char *text, size_t len, size_t i)
{
	for (i++; i < len && text[i] != '"'; i++)
		if (text[i] == '\\')
			i++;
	return i + 1;
}

/* Every value but the first follows a bracket, a colon or a comma, so counting those bounds the number of values. */
static enum err_code measure(const char *text, size_t len, const char *what, struct err *e)
{
	size_t depth = 0, values = 1, i = 0;

	while (i < len) {
		char c = text[i];

		if (c == '"') {
			i = skip_string(text, len, i);
			continue;
		}
		if (c == '{' || c == '[') {
			values++;
			if (++depth > JSON_DEPTH_MAX)
				return ERR(e, ERR_TOO_LARGE, "%s is nested deeper than %d levels", what,
				           JSON_DEPTH_MAX);
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		} else if (c == ',') {
			values++;
		}
		if (values > JSON_VALUES_MAX)
			return ERR(e, ERR_TOO_LARGE, "%s has more than %d values", what, JSON_VALUES_MAX);
		i++;
	}
	return ERR_OK;
}

enum err_code json_parse(const void *bytes, size_t len, size_t max, const char *what, cJSON **out, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *text = bytes, *end = NULL;

	if (len > max)
		return ERR(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", what, max);
	if (len == 0)
		return ERR(e, ERR_CORRUPT, "%s is empty", what);
	TRY(measure(text, len, what, e));
	json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (!json)
		return ERR(e, ERR_CORRUPT, "%s is not JSON", what);
	while (end < text + len && is_space(*end))
		end++;
	if (end != text + len)
		return ERR(e, ERR_CORRUPT, "%s has something after its end", what);
	if (!cJSON_IsObject(json))
		return ERR(e, ERR_CORRUPT, "%s is not a JSON object", what);
	*out = json;
	json = NULL;
	return ERR_OK;
}

void json_cleanup(cJSON **json)
{
	cJSON_Delete(*json);
}

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *json_text(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue((cJSON *)(uintptr_t)member(object, name));
}

bool json_copy_text(const cJSON *object, const char *name, char *into, size_t size)
{
	const char *text = json_text(object, name);
	size_t len = text ? strlen(text) : 0;

	if (len >= size)
		return false;
	memcpy(into, text ? text : "", len + 1);
	return true;
}

bool json_size(const cJSON *object, const char *name, uint64_t *value)
{
	const double most = (double)((uint64_t)1 << 53);
	const cJSON *item = member(object, name);

	if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= most))
		return false;
	*value = (uint64_t)item->valuedouble;
	return (double)*value == item->valuedouble;
}

const cJSON *json_array(const cJSON *object, const char *name)
{
	const cJSON *item = member(object, name);

	return cJSON_IsArray(item) ? item : NULL;
}

const cJSON *json_object(const cJSON *object, const char *name)
{
	const cJSON *item = member(object, name);

	return cJSON_IsObject(item) ? item : NULL;
}

bool json_has(const cJSON *object, const char *name)
{
	const cJSON *item = member(object, name);

	return item && !cJSON_IsNull(item);
}
