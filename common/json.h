/*
 * json: JSON from strangers, measured before it is parsed, and read without trusting its shape.
 *
 * cJSON recurses once a nesting level and takes some sixty bytes for each value, so four megabytes of "[[],[],..." cost
 * a hundred. json_parse counts nesting and values in the raw text first, then lets cJSON parse it.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/err.h"

#include <cjson/cJSON.h>

#define JSON_DEPTH_MAX 32
#define JSON_VALUES_MAX 100000

/* One JSON object, whole: nothing but white space may follow. The result is cJSON's and freed with cJSON_Delete (or
 * CLEANUP(json_cleanup)). ERR_CORRUPT: no JSON object; ERR_TOO_LARGE: longer than max or beyond the limits above. what
 * names it in the text. */
enum err_code json_parse(const void *bytes, size_t len, size_t max, const char *what, cJSON **out,
                         struct err *e) MUST_CHECK;
void json_cleanup(cJSON **json);

/* The text of a member, or NULL when there is none or it is no text. Lives as long as the object. */
const char *json_text(const cJSON *object, const char *name);

/* Copies the text of a member into size bytes, "" when there is none; false when it does not fit. */
bool json_copy_text(const cJSON *object, const char *name, char *into, size_t size) MUST_CHECK;

/* A member that is a whole number from 0 to 2^53; false for everything else. */
bool json_size(const cJSON *object, const char *name, uint64_t *value);

/* A member that is an array or an object, or NULL. */
const cJSON *json_array(const cJSON *object, const char *name);
const cJSON *json_object(const cJSON *object, const char *name);

/* True when the member is there and not null. */
bool json_has(const cJSON *object, const char *name);

#endif
