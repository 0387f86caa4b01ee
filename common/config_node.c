#include "common/config_node.h"

#include <stdlib.h>
#include <string.h>

const char *config_place(TALLOC_CTX *ctx, const struct config_node *node)
{
	char *place = talloc_asprintf(ctx, "%s:%u", node->file, node->line);

	ASSERT(place);
	return place;
}

const struct config_node *config_find(const struct config_node *mapping, const char *key, size_t key_len)
{
	if (!mapping || mapping->kind != CONFIG_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->count; i++) {
		const struct config_entry *entry = &mapping->entries[i];

		if (strlen(entry->key) == key_len && memcmp(entry->key, key, key_len) == 0)
			return entry->node;
	}
	return NULL;
}

void config_append(TALLOC_CTX *ctx, struct config_node *parent, const char *key, struct config_node *child)
{
	if (parent->count == parent->size) {
		parent->size = parent->size ? 2 * parent->size : 8;
		parent->entries = talloc_realloc(ctx, parent->entries, struct config_entry, parent->size);
		ASSERT(parent->entries);
	}
	parent->entries[parent->count++] = (struct config_entry){.key = key, .node = child};
}

static struct config_entry *entry_of(struct config_node *mapping, const char *key)
{
	for (size_t i = 0; i < mapping->count; i++)
		if (strcmp(mapping->entries[i].key, key) == 0)
			return &mapping->entries[i];
	return NULL;
}

void config_merge(TALLOC_CTX *ctx, struct config_node *base, const struct config_node *over)
{
	for (size_t i = 0; i < over->count; i++) {
		struct config_entry *old = entry_of(base, over->entries[i].key);
		struct config_node *node = over->entries[i].node;

		if (!old)
			config_append(ctx, base, over->entries[i].key, node);
		else if (old->node->kind == CONFIG_MAPPING && node->kind == CONFIG_MAPPING)
			config_merge(ctx, old->node, node);
		else
			old->node = node;
	}
	if (over->count) {
		base->file = over->file;
		base->line = over->line;
	}
}

/* What stands between "${" and "}": NAME or NAME:-default. */
static enum err_code add_variable(TALLOC_CTX *ctx, const struct config_node *node, const char *inner, size_t len,
                                  struct buf *out, struct err *e)
{
	size_t name_len = strspn(inner, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
	bool has_default;
	const char *value;
	char *name;

	name_len = MIN(name_len, len);
	has_default = len - name_len >= 2 && memcmp(inner + name_len, ":-", 2) == 0;
	if (name_len == 0 || (name_len != len && !has_default))
		return ERR(e, ERR_INVALID, "%s: ${%.*s} is neither ${NAME} nor ${NAME:-default}",
		           config_place(ctx, node), (int)len, inner);
	name = talloc_strndup(ctx, inner, name_len);
	ASSERT(name);
	value = getenv(name);
	if (value && (*value || !has_default))
		buf_add_text(out, value);
	else if (has_default)
		buf_add(out, inner + name_len + 2, len - name_len - 2);
	else
		return ERR(e, ERR_INVALID, "%s: environment variable %s is not set", config_place(ctx, node), name);
	return ERR_OK;
}

static enum err_code expand(TALLOC_CTX *ctx, const struct config_node *node, struct buf *out, struct err *e)
{
	const char *at = node->text;

	while (*at) {
		size_t len = strcspn(at, "$");

		buf_add(out, at, len);
		at += len;
		if (at[0] == '$' && at[1] == '{') {
			const char *inner = at + 2, *end = strchr(inner, '}');

			if (!end)
				return ERR(e, ERR_INVALID, "%s: ${ without }", config_place(ctx, node));
			TRY(add_variable(ctx, node, inner, (size_t)(end - inner), out, e));
			at = end + 1;
		} else if (at[0] == '$') {
			buf_add_char(out, '$');
			at += at[1] == '$' ? 2 : 1;
		}
	}
	if (buf_failed(out))
		return ERR(e, ERR_INVALID, "%s: value is longer than %llu bytes", config_place(ctx, node),
		           (unsigned long long)out->max);
	return ERR_OK;
}

enum err_code config_text(TALLOC_CTX *ctx, const struct config_node *scalar, const char **out, struct err *e)
{
	CLEANUP(buf_release) struct buf text;

	buf_init(&text, 64 * KIB);
	buf_add_text(&text, "");
	TRY(expand(ctx, scalar, &text, e));
	*out = NULL;
	if (scalar->plain && text.len == 0)
		return ERR_OK;
	*out = talloc_strdup(ctx, text.bytes);
	ASSERT(*out);
	return ERR_OK;
}
