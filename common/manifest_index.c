#include "common/json.h"
#include "common/manifest.h"

#include <string.h>
#include <strings.h>

static bool is_attestation(const cJSON *json, const struct platform *platform)
{
	const cJSON *annotations = json_object(json, "annotations");

	return (annotations && json_text(annotations, "vnd.docker.reference.type")) ||
	       (strcmp(platform->os, "unknown") == 0 && strcmp(platform->architecture, "unknown") == 0);
}

static enum err_code read_entry(TALLOC_CTX *ctx, const cJSON *json, struct manifest_entry *entry, struct err *e)
{
	const cJSON *platform = json_object(json, "platform");
	const char *digest = json_text(json, "digest"), *media_type = json_text(json, "mediaType");
	struct descriptor *d = &entry->manifest;

	if (!digest || !digest_parse(digest, &d->digest) || digest_is_none(&d->digest))
		return ERR(e, ERR_CORRUPT, "an entry of the index has no sha256 digest");
	if (!json_size(json, "size", &d->size) || d->size > MANIFEST_BLOB_SIZE_MAX)
		return ERR(e, ERR_CORRUPT, "entry %s of the index has no valid size", digest);
	d->media_type = talloc_strdup(ctx, media_type ? media_type : "");
	if (platform && (!json_copy_text(platform, "os", entry->platform.os, PLATFORM_PART_SIZE) ||
	                 !json_copy_text(platform, "architecture", entry->platform.architecture, PLATFORM_PART_SIZE) ||
	                 !json_copy_text(platform, "variant", entry->platform.variant, PLATFORM_PART_SIZE)))
		return ERR(e, ERR_CORRUPT, "entry %s of the index has a malformed platform", digest);
	entry->attestation = is_attestation(json, &entry->platform);
	return ERR_OK;
}

enum err_code manifest_index_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, struct manifest_index *index,
                                   struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *list, *item;
	const char *media_type;
	enum manifest_kind kind;
	size_t count;

	*index = (struct manifest_index){0};
	TRY(manifest_kind_of(bytes, len, NULL, &kind, e));
	if (kind != MANIFEST_KIND_INDEX)
		return ERR(e, ERR_INVALID, "an image manifest stands where an index is due");
	TRY(json_parse(bytes, len, MANIFEST_SIZE_MAX, "index", &json, e));
	list = json_array(json, "manifests");
	count = (size_t)cJSON_GetArraySize(list);
	if (count > MANIFEST_ENTRIES_MAX)
		return ERR(e, ERR_TOO_LARGE, "index has %zu entries, more than %d", count, MANIFEST_ENTRIES_MAX);
	media_type = json_text(json, "mediaType");
	index->media_type =
	    media_type && strcasecmp(media_type, MEDIA_DOCKER_LIST) == 0 ? MEDIA_DOCKER_LIST : MEDIA_OCI_INDEX;
	index->entries = talloc_zero_array(ctx, struct manifest_entry, count);
	cJSON_ArrayForEach (item, list) {
		TRY(read_entry(ctx, item, &index->entries[index->count++], e));
	}
	return ERR_OK;
}

/* "linux/amd64, linux/arm64/v8 and 3 more": as much as an error's text can hold. */
static char *list_platforms(TALLOC_CTX *ctx, const struct manifest_index *index)
{
	char *text = talloc_strdup(ctx, "");
	size_t left = 0;

	for (size_t i = 0; i < index->count; i++) {
		const struct manifest_entry *entry = &index->entries[i];

		if (entry->attestation)
			continue;
		if (talloc_get_size(text) > 240) {
			left++;
			continue;
		}
		text =
		    talloc_asprintf_append(text, "%s%s", text[0] ? ", " : "",
		                           entry->platform.os[0] ? platform_print(ctx, &entry->platform) : "unnamed");
	}
	if (left)
		text = talloc_asprintf_append(text, " and %zu more", left);
	return text[0] ? text : talloc_strdup(ctx, "none");
}

/* The index's only image when it names no platform, else NULL. */
static const struct manifest_entry *only_unnamed(const struct manifest_index *index)
{
	const struct manifest_entry *only = NULL;

	for (size_t i = 0; i < index->count; i++) {
		if (index->entries[i].attestation)
			continue;
		if (only)
			return NULL;
		only = &index->entries[i];
	}
	return only && !only->platform.os[0] && !only->platform.architecture[0] ? only : NULL;
}

enum err_code manifest_index_choose(const struct manifest_index *index, const struct platform *wish,
                                    const struct manifest_entry **chosen, struct err *e)
{
	const struct manifest_entry *found = NULL;
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < index->count; i++) {
		const struct manifest_entry *entry = &index->entries[i];

		if (entry->attestation || !platform_matches(&entry->platform, wish))
			continue;
		if (!found || (strcmp(entry->platform.variant, wish->variant) == 0 &&
		               strcmp(found->platform.variant, wish->variant) != 0))
			found = entry;
	}
	if (!found)
		found = only_unnamed(index);
	if (!found)
		return ERR(e, ERR_NOT_FOUND, "no image for platform %s; there is: %s", platform_print(ctx, wish),
		           list_platforms(ctx, index));
	*chosen = found;
	return ERR_OK;
}
