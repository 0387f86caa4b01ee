#include "common/config.h"
#include "common/config_node.h"
#include "common/config_value.h"

#include <inttypes.h>
#include <string.h>

#define HELP_INDENT 6
#define HELP_WIDTH 80
#define MASK "\"********\""

static void describe_facts(const struct config_option *o, struct buf *out)
{
	buf_add_text(out, config_type_name(o->type));
	if (o->least != 0 || o->most != 0) {
		buf_add_text(out, ", ");
		if (o->type == CONFIG_DURATION) {
			config_add_duration(out, o->least);
			buf_add_text(out, " to ");
			config_add_duration(out, o->most);
		} else {
			buf_add_format(out, "%" PRId64 " to %" PRId64, o->least, o->most);
		}
	}
	if (o->required)
		buf_add_text(out, ", required");
	else if (o->default_value && *o->default_value)
		buf_add_format(out, ", default %s", o->default_value);
	if (o->secret)
		buf_add_text(out, ", secret");
}

static void add_wrapped(const char *text, struct buf *out)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column == 0 || column + 1 + len > HELP_WIDTH) {
			buf_add_format(out, "%s%*s", column ? "\n" : "", HELP_INDENT, "");
			column = HELP_INDENT;
		} else {
			buf_add_char(out, ' ');
			column++;
		}
		buf_add(out, text, len);
		column += len;
		text += len + strspn(text + len, " ");
	}
	buf_add_char(out, '\n');
}

void config_describe(const struct config_option *options, struct buf *out)
{
	for (const struct config_option *o = options; o->path; o++) {
		if (o->type == CONFIG_REFUSED)
			continue;
		buf_add_format(out, "  %s (", o->path);
		describe_facts(o, out);
		buf_add_text(out, ")\n");
		if (o->help)
			add_wrapped(o->help, out);
	}
}

/* In double quotes, so that nothing but a text can be read from it; $ doubled, so that nothing is replaced. */
static void add_quoted(const char *text, bool escape_dollar, struct buf *out)
{
	buf_add_char(out, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f) {
			buf_add_format(out, "\\x%02x", c);
			continue;
		}
		if (c == '"' || c == '\\')
			buf_add_char(out, '\\');
		else if (c == '$' && escape_dollar)
			buf_add_char(out, '$');
		buf_add_char(out, *text);
	}
	buf_add_char(out, '"');
}

static bool names_a_secret(const char *key)
{
	size_t len = strlen(key);

	return strstr(key, "secret") || strstr(key, "password") || strstr(key, "token") ||
	       (len >= 3 && strcmp(key + len - 3, "key") == 0) || (len >= 4 && strcmp(key + len - 4, "keys") == 0);
}

static void print_tree(const struct config_node *node, const char *key, int depth, struct buf *out)
{
	if (node->kind == CONFIG_NULL) {
		buf_add_char(out, '\n');
	} else if (node->kind == CONFIG_SCALAR && key && names_a_secret(key)) {
		buf_add_text(out, " " MASK "\n");
	} else if (node->kind == CONFIG_SCALAR) {
		buf_add_char(out, ' ');
		if (node->plain && !strchr(node->text, '\n'))
			buf_add_text(out, node->text);
		else
			add_quoted(node->text, false, out);
		buf_add_char(out, '\n');
	} else if (node->count == 0) {
		buf_add_text(out, node->kind == CONFIG_MAPPING ? " {}\n" : " []\n");
	} else {
		buf_add_char(out, '\n');
		for (size_t i = 0; i < node->count; i++) {
			const struct config_entry *entry = &node->entries[i];

			buf_add_format(out, "%*s", 2 * depth, "");
			if (entry->key) {
				add_quoted(entry->key, false, out);
				buf_add_char(out, ':');
			} else {
				buf_add_char(out, '-');
			}
			print_tree(entry->node, entry->key ? entry->key : key, depth + 1, out);
		}
	}
}

static void print_list(const struct config_list *list, bool secret, struct buf *out)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			buf_add_text(out, ", ");
		if (secret)
			buf_add_text(out, MASK);
		else
			add_quoted(list->items[i], true, out);
	}
	buf_add_text(out, "]\n");
}

static void print_text(const char *text, bool secret, struct buf *out)
{
	if (text && *text && secret)
		buf_add_text(out, MASK);
	else if (text)
		add_quoted(text, true, out);
	buf_add_char(out, '\n');
}

/* The value after "key:", with the end of its line. */
static void print_value(const struct config_option *o, const void *from, int depth, struct buf *out)
{
	const char *field = (const char *)from + o->offset;
	const struct config_node *tree;
	const char *text;
	int64_t number;

	if (o->type != CONFIG_TREE)
		buf_add_char(out, ' ');
	switch (o->type) {
	case CONFIG_TEXT:
		memcpy(&text, field, sizeof(text));
		print_text(text, o->secret, out);
		break;
	case CONFIG_FLAG:
		buf_add_text(out, *(const bool *)field ? "true\n" : "false\n");
		break;
	case CONFIG_NUMBER:
		memcpy(&number, field, sizeof(number));
		buf_add_format(out, "%" PRId64 "\n", number);
		break;
	case CONFIG_DURATION:
		memcpy(&number, field, sizeof(number));
		config_add_duration(out, number);
		buf_add_char(out, '\n');
		break;
	case CONFIG_LIST:
		print_list((const struct config_list *)(const void *)field, o->secret, out);
		break;
	case CONFIG_TREE:
		memcpy(&tree, field, sizeof(tree));
		if (tree)
			print_tree(tree, NULL, depth, out);
		else
			buf_add_char(out, '\n');
		break;
	case CONFIG_REFUSED:
		break;
	}
}

/* Whether two paths agree in their first len bytes and a component ends there. */
static bool same_start(const char *a, const char *b, size_t len)
{
	return strncmp(a, b, len) == 0 && (b[len] == '.' || b[len] == '\0');
}

/* Prints everything whose path starts with the len bytes at prefix. Options of one section need not stand together. */
static void print_level(const struct config_option *options, const char *prefix, size_t len, const void *from,
                        int depth, struct buf *out)
{
	for (const struct config_option *o = options; o->path; o++) {
		const char *name = o->path + len;
		const struct config_option *earlier = options;
		size_t name_len;

		if (strncmp(o->path, prefix, len) != 0 || o->type == CONFIG_REFUSED)
			continue;
		name_len = strcspn(name, ".");
		while (!same_start(o->path, earlier->path, len + name_len))
			earlier++;
		if (earlier != o)
			continue; /* the section was printed when it came first */
		buf_add_format(out, "%*s%.*s:", 2 * depth, "", (int)name_len, name);
		if (name[name_len] == '\0') {
			print_value(o, from, depth + 1, out);
		} else {
			buf_add_char(out, '\n');
			print_level(options, o->path, len + name_len + 1, from, depth + 1, out);
		}
	}
}

void config_print(const struct config_option *options, const void *from, struct buf *out)
{
	print_level(options, "", 0, from, 0, out);
}
