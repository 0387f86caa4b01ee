#include "services/catalog/portable.h"

#include "common/json.h"
#include "proto/document/package_set.h"
#include "services/catalog/layer.h"
#include "services/catalog/stored.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (4 * MIB)

/* ---- the record ---- */

static int compare_members(const void *a, const void *b)
{
	const cJSON *const *x = a, *const *y = b;

	return strcmp((*x)->string, (*y)->string);
}

/* Members of every object by name. cJSON keeps them in a list, which is taken apart and put together again. */
static void sort_members(cJSON *json)
{
	size_t count = (size_t)cJSON_GetArraySize(json);
	cJSON **members, *item;

	cJSON_ArrayForEach (item, json)
		sort_members(item);
	if (!cJSON_IsObject(json) || count < 2)
		return;
	members = talloc_zero_array(NULL, cJSON *, count);
	ASSERT(members);
	for (size_t i = 0; i < count; i++)
		members[i] = cJSON_DetachItemViaPointer(json, json->child);
	qsort(members, count, sizeof(*members), compare_members);
	for (size_t i = 0; i < count; i++) {
		/* Adding as an array's element keeps the name that the item has. */
		ASSERT(cJSON_AddItemToArray(json, members[i]));
	}
	talloc_free(members);
}

enum err_code portable_write(TALLOC_CTX *ctx, const struct portable *p, char **text, size_t *len, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = cJSON_CreateObject();
	struct image_detail image = p->image;
	cJSON *encoded, *names = json ? cJSON_AddArrayToObject(json, "documents") : NULL;

	image.status = ANALYSIS_ANALYSED;
	image.residence = residence_none;
	image.job = 0;
	image.reason = NULL;
	ASSERT(names && cJSON_AddNumberToObject(json, "format", PORTABLE_FORMAT));
	for (size_t i = 0; i < p->documents.count; i++)
		ASSERT(cJSON_AddItemToArray(names, cJSON_CreateString(p->documents.items[i])));
	TRY(proto_encode(record_image_detail(), &image, &encoded, e));
	ASSERT(cJSON_AddItemToObject(json, "image", encoded));
	sort_members(json);
	*text = stored_print(ctx, json);
	*len = strlen(*text);
	if (*len > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_TOO_LARGE, "the record of image %s has %zu bytes", digest_text(&image.digest).text,
		           *len);
	return ERR_OK;
}

static enum err_code read_documents(TALLOC_CTX *ctx, const cJSON *json, struct proto_texts *documents, struct err *e)
{
	const cJSON *names = json_array(json, "documents"), *name;

	if (!names || cJSON_GetArraySize(names) > 32)
		return ERR(e, ERR_CORRUPT, "the record of an image has no list of documents");
	documents->items = talloc_zero_array(ctx, const char *, 33);
	ASSERT(documents->items);
	cJSON_ArrayForEach (name, names) {
		if (!cJSON_IsString(name) || !*name->valuestring || strlen(name->valuestring) > 64 ||
		    strchr(name->valuestring, '/'))
			return ERR(e, ERR_CORRUPT, "the record of an image has a document without a proper name");
		documents->items[documents->count++] = talloc_strdup(ctx, name->valuestring);
	}
	return ERR_OK;
}

enum err_code portable_read(TALLOC_CTX *ctx, const void *bytes, size_t len, const struct digest *digest,
                            struct portable *p, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	struct err inner;
	uint64_t format = 0;

	*p = (struct portable){0};
	TRY(json_parse(bytes, len, RPC_PAYLOAD_MAX, "the record of an image", &json, e));
	if (!json_size(json, "format", &format) || !json_object(json, "image"))
		return ERR(e, ERR_CORRUPT, "this is not the record of an image");
	if (format > PORTABLE_FORMAT)
		return ERR(e, ERR_UNSUPPORTED, "the record of an image has format %llu, known is %d",
		           (unsigned long long)format, PORTABLE_FORMAT);
	if (proto_decode(record_image_detail(), ctx, json_object(json, "image"), PROTO_IGNORE_UNKNOWN, &p->image,
	                 &inner) != ERR_OK)
		return ERR(e, ERR_CORRUPT, "the record of an image: %s", inner.text);
	TRY(read_documents(ctx, json, &p->documents, e));
	if (!digest_equal(&p->image.digest, digest))
		return ERR(e, ERR_INVALID, "the record is of image %s, not of %s", digest_text(&p->image.digest).text,
		           digest_text(digest).text);
	if (!p->image.layers_count || !p->image.analysed_at)
		return ERR(e, ERR_CORRUPT, "the record of image %s has no analysis", digest_text(digest).text);
	return ERR_OK;
}

/* ---- its objects ---- */

static void add_object(struct object_name **objects, size_t *count, const char *bucket, char *key)
{
	ASSERT(key);
	(*objects)[(*count)++] = (struct object_name){.bucket = bucket, .key = key};
}

/* An image may have the same layer twice. */
static bool came_before(const struct image_detail *image, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (digest_equal(&image->layers[i].digest, &image->layers[n].digest) &&
		    strcmp(image->layers[i].revision, image->layers[n].revision) == 0)
			return true;
	return false;
}

void portable_objects(TALLOC_CTX *ctx, const struct portable *p, const bool *skip, bool documents,
                      struct object_name **objects, size_t *count)
{
	const struct image_detail *image = &p->image;

	*count = 0;
	*objects = talloc_zero_array(ctx, struct object_name, 2 * image->layers_count + p->documents.count + 1);
	ASSERT(*objects);
	for (size_t i = 0; i < image->layers_count; i++) {
		char *prefix;

		if ((skip && skip[i]) || came_before(image, i))
			continue;
		prefix = layer_prefix(ctx, &image->layers[i].digest, image->layers[i].revision);
		add_object(objects, count, "layers", talloc_asprintf(ctx, "%sfiles", prefix));
		add_object(objects, count, "layers", talloc_asprintf(ctx, "%ssummary", prefix));
	}
	for (size_t i = 0; documents && i < p->documents.count; i++)
		add_object(objects, count, "images",
		           talloc_asprintf(ctx, "%s/%s", digest_hex(&image->digest).text, p->documents.items[i]));
}

/* ---- its packages ---- */

static enum err_code read_line(TALLOC_CTX *ctx, const char *line, size_t len, struct package *package, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	struct err inner;

	TRY(json_parse(line, len, LINE_MAX_BYTES, "a line of the packages document", &json, e));
	if (proto_decode(record_package(), ctx, json, PROTO_IGNORE_UNKNOWN, package, &inner) != ERR_OK)
		return ERR(e, ERR_CORRUPT, "a line of the packages document: %s", inner.text);
	return ERR_OK;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t lines = 0;

	for (const char *at = text; (at = memchr(at, '\n', len - (size_t)(at - text))); at++)
		lines++;
	return lines + 1;
}

static enum err_code read_lines(TALLOC_CTX *ctx, const char *text, size_t len, struct package *packages, size_t *count,
                                struct err *e)
{
	for (const char *end = text + len; text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = newline ? (size_t)(newline - text) : (size_t)(end - text);

		if (line > 0)
			TRY(read_line(ctx, text, line, &packages[(*count)++], e));
		text += line + 1;
	}
	package_set_sort(packages, count);
	return ERR_OK;
}

enum err_code portable_read_packages(TALLOC_CTX *ctx, const struct portable *p, const char *text, size_t len,
                                     struct portable_set **sets, struct err *e)
{
	struct package *packages = talloc_zero_array(ctx, struct package, count_lines(text, len));
	size_t count = 0;

	*sets = talloc_zero_array(ctx, struct portable_set, p->image.sets_count + 1);
	ASSERT(packages && *sets);
	TRY(read_lines(ctx, text, len, packages, &count, e));
	for (size_t i = 0; i < p->image.sets_count; i++) {
		struct portable_set *set = &(*sets)[i];
		struct digest digest;

		/* Sorted by type first, so those of one type stand together. */
		set->set = &p->image.sets[i];
		for (size_t n = 0; n < count; n++)
			if (strcmp(packages[n].type, set->set->type) == 0 && !set->count++)
				set->packages = &packages[n];
		digest = package_set_digest(set->packages, set->count);
		if (!digest_equal(&digest, &set->set->digest))
			return ERR(e, ERR_CORRUPT, "the packages document has other %s packages than set %s",
			           set->set->type, digest_text(&set->set->digest).text);
	}
	return ERR_OK;
}
