#include "common/json.h"
#include "services/cli/import.h"

#include <string.h>

#define INDEX_DEPTH_MAX 3
#define ANNOTATION_NAME "org.opencontainers.image.ref.name"
#define ANNOTATION_FULL_NAME "io.containerd.image.name"

static char *blob_name(TALLOC_CTX *ctx, const struct digest *d)
{
	char *name = talloc_asprintf(ctx, "blobs/sha256/%s", digest_hex(d).text);

	ASSERT(name);
	return name;
}

/* A blob that is JSON, with the digest it should have. */
static enum err_code blob_text(TALLOC_CTX *ctx, struct import_plan *plan, const struct digest *d, size_t max,
                               const char **text, size_t *len, struct err *e)
{
	struct digest got;

	TRY(import_source_text(plan->source, blob_name(ctx, d), max, text, len, e));
	got = digest_of(*text, *len);
	if (!digest_equal(&got, d))
		return ERR(e, ERR_CORRUPT, "blob %s has content of %s", digest_text(d).text, digest_text(&got).text);
	return ERR_OK;
}

static const cJSON *entry_at(const cJSON *index, size_t i)
{
	return cJSON_GetArrayItem(json_array(index, "manifests"), (int)i);
}

static const char *annotation(const cJSON *entry, const char *name)
{
	const cJSON *annotations = json_object(entry, "annotations");

	return annotations ? json_text(annotations, name) : NULL;
}

static bool is_named(const cJSON *entry, const char *name)
{
	const char *short_name = annotation(entry, ANNOTATION_NAME), *full = annotation(entry, ANNOTATION_FULL_NAME);

	return (short_name && strcmp(short_name, name) == 0) || (full && strcmp(full, name) == 0);
}

static const char *names_of(TALLOC_CTX *ctx, const cJSON *index, size_t count)
{
	char *text = talloc_strdup(ctx, "");

	for (size_t i = 0; i < count && strlen(text) < 300; i++) {
		const char *name = annotation(entry_at(index, i), ANNOTATION_NAME);

		if (name)
			text = talloc_asprintf_append(text, "%s%.100s", *text ? ", " : "", name);
	}
	ASSERT(text);
	return *text ? text : "(none has a name)";
}

static bool has_other_name(const cJSON *a, const cJSON *b)
{
	const char *first = annotation(a, ANNOTATION_NAME), *second = annotation(b, ANNOTATION_NAME);

	return first && second && strcmp(first, second) != 0;
}

/* Leaves in the index what the name fits. Names tell images apart, platforms what one image is made of. */
static enum err_code narrow(TALLOC_CTX *ctx, const cJSON *json, struct manifest_index *index, const char *name,
                            const cJSON **named, struct err *e)
{
	size_t kept = 0, whole = index->count;

	*named = NULL;
	for (size_t i = 0; i < whole; i++) {
		const cJSON *entry = entry_at(json, i);

		if (name && !is_named(entry, name))
			continue;
		if (!name && *named && has_other_name(*named, entry))
			return ERR(e, ERR_INVALID, "there are several images, --name chooses one: %s",
			           names_of(ctx, json, whole));
		*named = entry;
		index->entries[kept++] = index->entries[i];
	}
	index->count = kept;
	if (!kept && name)
		return ERR(e, ERR_NOT_FOUND, "no image is named \"%s\"; there are: %s", name,
		           names_of(ctx, json, whole));
	return kept ? ERR_OK : ERR(e, ERR_INVALID, "index.json lists no image");
}

static enum err_code choose(const struct manifest_index *index, const struct import_wish *wish, struct digest *digest,
                            struct err *e)
{
	struct platform platform = platform_default();
	const struct manifest_entry *entry;

	if (wish->platform)
		TRY(platform_parse(wish->platform, &platform, e));
	if (index->count == 1 && !wish->platform) {
		*digest = index->entries[0].manifest.digest;
		return ERR_OK;
	}
	TRY(manifest_index_choose(index, &platform, &entry, e));
	*digest = entry->manifest.digest;
	return ERR_OK;
}

/* From index.json to the digest of what it leads to, and the name it has there. */
static enum err_code read_index(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan,
                                struct digest *digest, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	struct manifest_index index;
	const cJSON *named;
	const char *text, *full;
	size_t len;

	TRY(import_source_text(plan->source, "index.json", MANIFEST_SIZE_MAX, &text, &len, e));
	TRY(manifest_index_parse(ctx, text, len, &index, e));
	TRY(json_parse(text, len, MANIFEST_SIZE_MAX, "index.json", &json, e));
	TRY(narrow(ctx, json, &index, wish->name, &named, e));
	full = annotation(named, ANNOTATION_FULL_NAME);
	if (full) {
		plan->tags.items = talloc_array(ctx, const char *, 1);
		ASSERT(plan->tags.items);
		plan->tags.items[plan->tags.count++] = talloc_strdup(ctx, full);
	}
	return choose(&index, wish, digest, e);
}

/* An index within the index is one image for several platforms. */
static enum err_code read_manifest(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan,
                                   struct digest *digest, struct err *e)
{
	for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
		struct manifest_index index;
		enum manifest_kind kind;

		TRY(blob_text(ctx, plan, digest, MANIFEST_SIZE_MAX, &plan->manifest, &plan->manifest_len, e));
		TRY(manifest_kind_of(plan->manifest, plan->manifest_len, NULL, &kind, e));
		if (kind == MANIFEST_KIND_IMAGE)
			return ERR_OK;
		TRY(manifest_index_parse(ctx, plan->manifest, plan->manifest_len, &index, e));
		TRY(choose(&index, wish, digest, e));
	}
	return ERR(e, ERR_UNSUPPORTED, "indexes within indexes, %d deep", INDEX_DEPTH_MAX);
}

enum err_code import_plan_oci(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan, struct err *e)
{
	struct manifest m;
	struct image_config config;

	TRY(read_index(ctx, wish, plan, &plan->digest, e));
	TRY(read_manifest(ctx, wish, plan, &plan->digest, e));
	TRY(manifest_parse(ctx, plan->manifest, plan->manifest_len, &m, e));
	plan->config = (struct import_blob){.member = blob_name(ctx, &m.config.digest), .digest = m.config.digest};
	TRY(blob_text(ctx, plan, &m.config.digest, IMAGE_CONFIG_SIZE_MAX, &plan->config_text, &plan->config_len, e));
	plan->config.size = plan->config_len;
	for (size_t i = 0; i < m.layer_count; i++)
		TRY(import_add_layer(ctx, plan, blob_name(ctx, &m.layers[i].blob.digest), &m.layers[i].blob.digest,
		                     m.layers[i].blob.size, e));
	return image_config_parse(ctx, plan->config_text, plan->config_len, plan->layer_count, &config, e);
}
