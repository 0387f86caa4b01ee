#include "services/archive-manager/archive_manifest.h"

#include "common/json.h"

#include <string.h>

char *archive_manifest_key(TALLOC_CTX *ctx, const struct digest *image)
{
	char *key = talloc_asprintf(ctx, "%s/manifest", digest_hex(image).text);

	ASSERT(key);
	return key;
}

static void print_objects(cJSON *manifest, const struct object_list *objects)
{
	cJSON *array = cJSON_AddArrayToObject(manifest, "objects");

	ASSERT(array);
	for (size_t i = 0; i < objects->count; i++) {
		const struct object *o = &objects->items[i];
		cJSON *item = cJSON_CreateObject();

		ASSERT(item && cJSON_AddItemToArray(array, item));
		cJSON_AddStringToObject(item, "bucket", o->bucket);
		cJSON_AddStringToObject(item, "key", o->key);
		cJSON_AddNumberToObject(item, "size", (double)o->size);
		cJSON_AddStringToObject(item, "sha256", digest_text(&o->sha256).text);
	}
}

char *archive_manifest_print(TALLOC_CTX *ctx, const struct archive_manifest *m)
{
	CLEANUP(json_cleanup) cJSON *manifest = cJSON_CreateObject();
	cJSON *tags;
	char *text, *copy;

	ASSERT(manifest);
	cJSON_AddNumberToObject(manifest, "format", ARCHIVE_MANIFEST_FORMAT);
	cJSON_AddStringToObject(manifest, "digest", digest_text(&m->digest).text);
	cJSON_AddNumberToObject(manifest, "analysed_at", (double)m->analysed_at);
	tags = cJSON_AddArrayToObject(manifest, "tags");
	for (size_t i = 0; i < m->tags.count; i++)
		ASSERT(cJSON_AddItemToArray(tags, cJSON_CreateString(m->tags.items[i])));
	cJSON_AddStringToObject(manifest, "record", m->record);
	print_objects(manifest, &m->objects);
	text = cJSON_PrintUnformatted(manifest);
	ASSERT(text);
	copy = talloc_strdup(ctx, text);
	ASSERT(copy);
	cJSON_free(text);
	return copy;
}

static const char *copy_text(TALLOC_CTX *ctx, const char *text)
{
	char *copy = text ? talloc_strdup(ctx, text) : NULL;

	ASSERT(copy || !text);
	return copy;
}

static enum err_code parse_object(TALLOC_CTX *ctx, const cJSON *from, struct object *o, struct err *e)
{
	const char *sha256 = json_text(from, "sha256");

	o->bucket = copy_text(ctx, json_text(from, "bucket"));
	o->key = copy_text(ctx, json_text(from, "key"));
	if (!o->bucket || !o->key || !sha256 || !digest_parse(sha256, &o->sha256) || !json_size(from, "size", &o->size))
		return ERR(e, ERR_CORRUPT, "the archive's manifest has an object without bucket, key, size or sha256");
	return ERR_OK;
}

static enum err_code parse_objects(TALLOC_CTX *ctx, const cJSON *manifest, struct object_list *list, struct err *e)
{
	const cJSON *array = json_array(manifest, "objects"), *item;
	int count = array ? cJSON_GetArraySize(array) : 0;

	if (count < 1 || count > ARCHIVE_MANIFEST_OBJECTS_MAX)
		return ERR(e, ERR_CORRUPT, "the archive's manifest has %d objects", count);
	list->items = talloc_zero_array(ctx, struct object, (size_t)count);
	ASSERT(list->items);
	list->count = 0;
	cJSON_ArrayForEach (item, array)
		TRY(parse_object(ctx, item, &list->items[list->count++], e));
	return ERR_OK;
}

static enum err_code parse_tags(TALLOC_CTX *ctx, const cJSON *manifest, struct proto_texts *tags, struct err *e)
{
	const cJSON *array = json_array(manifest, "tags"), *item;

	if (!array)
		return ERR(e, ERR_CORRUPT, "the archive's manifest has no tags");
	tags->items = talloc_zero_array(ctx, const char *, (size_t)cJSON_GetArraySize(array) + 1);
	ASSERT(tags->items);
	cJSON_ArrayForEach (item, array) {
		if (!cJSON_IsString(item))
			return ERR(e, ERR_CORRUPT, "the archive's manifest has a tag that is no text");
		tags->items[tags->count++] = copy_text(ctx, item->valuestring);
	}
	return ERR_OK;
}

enum err_code archive_manifest_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, const struct digest *image,
                                     struct archive_manifest *m, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *manifest = NULL;
	uint64_t format, analysed_at;
	const char *digest;

	*m = (struct archive_manifest){0};
	TRY(json_parse(bytes, len, ARCHIVE_MANIFEST_BYTES_MAX, "the archive's manifest", &manifest, e));
	if (!json_size(manifest, "format", &format) || format != ARCHIVE_MANIFEST_FORMAT)
		return ERR(e, ERR_CORRUPT, "the archive's manifest is of another format than %d",
		           ARCHIVE_MANIFEST_FORMAT);
	digest = json_text(manifest, "digest");
	if (!digest || !digest_parse(digest, &m->digest) || !digest_equal(&m->digest, image))
		return ERR(e, ERR_CORRUPT, "the archive's manifest is of image %.80s", digest ? digest : "(none)");
	if (!json_size(manifest, "analysed_at", &analysed_at))
		return ERR(e, ERR_CORRUPT, "the archive's manifest has no time of analysis");
	m->analysed_at = (int64_t)analysed_at;
	m->record = copy_text(ctx, json_text(manifest, "record"));
	if (!m->record || strlen(m->record) > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_CORRUPT, "the archive's manifest has no usable record");
	TRY(parse_tags(ctx, manifest, &m->tags, e));
	return parse_objects(ctx, manifest, &m->objects, e);
}
