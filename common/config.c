#include "common/config.h"

#include "common/config_node.h"
#include "common/config_value.h"

#include <string.h>

const char *const config_sections[] = {
    "catalog", "object_store_gateway", "analyzer_worker",  "archive_manager",
    "cli",     "object_store",         "analysis_archive", "analyzer",
    NULL,
};

/* What people bring along with the object store's sections from elsewhere, and what becomes of it. */
static const struct {
	const char *key, *instead;
} strangers[] = {
    {"services", "object_store and analysis_archive stand at the top of the file, not below services.catalog"},
    {"archive", "the section is called object_store"},
    {"archive_driver", "write it as object_store.storage_driver.name"},
    {"use_db", "write \"name: db\" below object_store.storage_driver"},
    {"archive_data_dir", "write it below object_store.storage_driver.config, beside \"name: localfs\""},
};

static const struct config_node *find_path(const struct config_node *node, const char *path)
{
	while (node) {
		size_t len = strcspn(path, ".");

		node = config_find(node, path, len);
		if (path[len] == '\0')
			break;
		path += len + 1;
	}
	return node;
}

/* Where a required value is missing: its section is the best place there is. */
static enum err_code missing(const struct config_node *root, const char *path, struct err *e)
{
	if (root && root->file)
		return ERR(e, ERR_INVALID, "%s: %s is required", root->file, path);
	return ERR(e, ERR_INVALID, "%s is required, and no configuration file was given", path);
}

static bool is_given(const struct config_option *option, const struct config_node *node, const void *into)
{
	const char *field = (const char *)into + option->offset;
	const char *text;
	struct config_list list;

	switch (option->type) {
	case CONFIG_TEXT:
		memcpy(&text, field, sizeof(text));
		return text && *text;
	case CONFIG_LIST:
		memcpy(&list, field, sizeof(list));
		return list.count > 0;
	case CONFIG_NUMBER:
	case CONFIG_FLAG:
	case CONFIG_DURATION:
	case CONFIG_TREE:
	case CONFIG_REFUSED:
		break;
	}
	return node && node->kind != CONFIG_NULL;
}

static enum err_code refuse(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                            struct err *e)
{
	const char *text = NULL;

	if (!node || node->kind == CONFIG_NULL)
		return ERR_OK;
	if (node->kind == CONFIG_SCALAR)
		TRY(config_text(ctx, node, &text, e));
	if (node->kind == CONFIG_SCALAR &&
	    (!text || (option->default_value && strcasecmp(text, option->default_value) == 0)))
		return ERR_OK;
	return ERR(e, ERR_INVALID, "%s: %s is no key of this program: %s", config_place(ctx, node), option->path,
	           option->help);
}

static enum err_code read_option(TALLOC_CTX *ctx, const struct config_node *root, const struct config_option *option,
                                 void *into, struct err *e)
{
	const struct config_node *node = find_path(root, option->path), *from_file = NULL;
	char *file_path = talloc_asprintf(ctx, "%s_file", option->path);

	ASSERT(file_path);
	if (option->type == CONFIG_REFUSED)
		return refuse(ctx, node, option, e);
	if (option->secret && option->type == CONFIG_TEXT)
		from_file = find_path(root, file_path);
	config_set_default(ctx, option, into);
	if (node && node->kind != CONFIG_NULL && from_file && from_file->kind != CONFIG_NULL)
		return ERR(e, ERR_INVALID, "%s: %s and %s_file are both given", config_place(ctx, from_file),
		           option->path, option->path);
	if (node)
		TRY(config_set(ctx, node, option, into, e));
	if (from_file)
		TRY(config_set_from_file(ctx, from_file, option, into, e));
	if (option->required && !is_given(option, node, into))
		return missing(root, option->path, e);
	return ERR_OK;
}

static enum err_code unknown_key(TALLOC_CTX *ctx, const struct config_node *node, const char *path, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
		if (strcmp(strangers[i].key, path) == 0)
			return ERR(e, ERR_INVALID, "%s: unknown key %s: %s", config_place(ctx, node), path,
			           strangers[i].instead);
	return ERR(e, ERR_INVALID, "%s: unknown key %s", config_place(ctx, node), path);
}

enum key_kind { KEY_UNKNOWN, KEY_VALUE, KEY_SECTION };

static enum key_kind kind_of_key(const struct config_option *options, const char *path)
{
	size_t len = strlen(path);

	for (const struct config_option *o = options; o->path; o++) {
		if (strncmp(o->path, path, len) == 0 && o->path[len] == '\0')
			return KEY_VALUE;
		if (strncmp(o->path, path, len) == 0 && o->path[len] == '.')
			return KEY_SECTION;
		if (o->secret && strncmp(path, o->path, strlen(o->path)) == 0 &&
		    strcmp(path + strlen(o->path), "_file") == 0)
			return KEY_VALUE;
	}
	return KEY_UNKNOWN;
}

static bool is_foreign_section(const char *key)
{
	for (const char *const *s = config_sections; *s; s++)
		if (strcmp(*s, key) == 0)
			return true;
	return false;
}

/* prefix: where the mapping stands, "" for the top. foreign: sections of other services may stand here. */
static enum err_code check_keys(TALLOC_CTX *ctx, const struct config_node *mapping, const char *prefix, bool foreign,
                                const struct config_option *options, struct err *e)
{
	for (size_t i = 0; i < mapping->count; i++) {
		const struct config_entry *entry = &mapping->entries[i];
		const struct config_node *node = entry->node;
		char *path = talloc_asprintf(ctx, "%s%s%s", prefix, *prefix ? "." : "", entry->key);
		enum key_kind kind;

		ASSERT(path);
		kind = strchr(entry->key, '.') ? KEY_UNKNOWN : kind_of_key(options, path);
		if (kind == KEY_VALUE || (kind == KEY_SECTION && node->kind == CONFIG_NULL))
			continue;
		if (kind == KEY_SECTION && node->kind == CONFIG_MAPPING)
			TRY(check_keys(ctx, node, path, false, options, e));
		else if (kind == KEY_SECTION)
			return ERR(e, ERR_INVALID, "%s: %s must be a section of its own", config_place(ctx, node),
			           path);
		else if (!foreign || !is_foreign_section(entry->key))
			return unknown_key(ctx, node, path, e);
	}
	return ERR_OK;
}

static enum err_code read_options(TALLOC_CTX *ctx, const struct config_node *root, bool foreign,
                                  const struct config_option *options, void *into, struct err *e)
{
	if (root)
		TRY(check_keys(ctx, root, "", foreign, options, e));
	for (const struct config_option *o = options; o->path; o++)
		TRY(read_option(ctx, root, o, into, e));
	return ERR_OK;
}

enum err_code config_load(TALLOC_CTX *ctx, const char *const *files, size_t count, const struct config_option *options,
                          void *into, struct err *e)
{
	struct config_node *root = NULL;

	for (size_t i = 0; i < count; i++) {
		struct config_node *node;

		TRY(config_parse_file(ctx, files[i], &node, e));
		if (root)
			config_merge(ctx, root, node);
		else
			root = node;
	}
	return read_options(ctx, root, true, options, into, e);
}

enum err_code config_read_tree(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *options,
                               void *into, struct err *e)
{
	if (node && node->kind != CONFIG_MAPPING && node->kind != CONFIG_NULL)
		return ERR(e, ERR_INVALID, "%s: this must be a section of its own", config_place(ctx, node));
	return read_options(ctx, node, false, options, into, e);
}

bool config_is_empty(const struct config_node *node)
{
	return !node || node->kind == CONFIG_NULL || (node->kind == CONFIG_MAPPING && node->count == 0);
}
