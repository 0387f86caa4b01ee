#include "common/config_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_FILE_MAX (64 * KIB)

/* The largest first: config_add_duration takes the first that divides. */
static const struct {
	const char *name;
	int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

static void *field_of(const struct config_option *option, void *into)
{
	return (char *)into + option->offset;
}

const char *config_type_name(enum config_type type)
{
	static const char *const names[] = {
	    [CONFIG_TEXT] = "text",         [CONFIG_NUMBER] = "number", [CONFIG_FLAG] = "flag",
	    [CONFIG_DURATION] = "duration", [CONFIG_LIST] = "list",     [CONFIG_TREE] = "section",
	    [CONFIG_REFUSED] = "refused",
	};

	return names[type];
}

void config_add_duration(struct buf *out, int64_t ms)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms % units[i].ms == 0 && (ms != 0 || units[i].ms == 1000)) {
			buf_add_format(out, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
			return;
		}
	}
}

static bool parse_integer(const char *text, int64_t *number, const char **end)
{
	char *stop;

	if (*text != '-' && (*text < '0' || *text > '9'))
		return false;
	errno = 0;
	*number = strtoll(text, &stop, 10);
	*end = stop;
	return stop != text && errno == 0;
}

static bool parse_number(const char *text, int64_t *number)
{
	const char *end;

	return parse_integer(text, number, &end) && *end == '\0';
}

static bool parse_duration(const char *text, int64_t *ms)
{
	const char *end;
	int64_t count;

	if (!parse_integer(text, &count, &end) || count < 0)
		return false;
	if (count == 0 && *end == '\0') {
		*ms = 0;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcmp(end, units[i].name) == 0)
			return !__builtin_mul_overflow(count, units[i].ms, ms);
	return false;
}

static bool parse_flag(const char *text, bool *flag)
{
	static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int j = 0; j < 2; j++) {
			if (strcasecmp(text, words[i][j]) == 0) {
				*flag = j;
				return true;
			}
		}
	}
	return false;
}

static enum err_code wrong(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                           const char *text, const char *expected, struct err *e)
{
	if (option->secret || !text)
		return ERR(e, ERR_INVALID, "%s: %s must be %s", config_place(ctx, node), option->path, expected);
	return ERR(e, ERR_INVALID, "%s: %s must be %s, not \"%.100s\"", config_place(ctx, node), option->path, expected,
	           text);
}

static enum err_code check_range(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                                 int64_t number, const char *text, struct err *e)
{
	CLEANUP(buf_release) struct buf range = {.max = 256};

	if ((option->least == 0 && option->most == 0) || (number >= option->least && number <= option->most))
		return ERR_OK;
	buf_add_text(&range, "from ");
	if (option->type == CONFIG_DURATION) {
		config_add_duration(&range, option->least);
		buf_add_text(&range, " to ");
		config_add_duration(&range, option->most);
	} else {
		buf_add_format(&range, "%" PRId64 " to %" PRId64, option->least, option->most);
	}
	return wrong(ctx, node, option, text, range.bytes, e);
}

static enum err_code set_number(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                                const char *text, void *into, struct err *e)
{
	bool duration = option->type == CONFIG_DURATION;
	int64_t number;

	if (duration ? !parse_duration(text, &number) : !parse_number(text, &number))
		return wrong(ctx, node, option, text,
		             duration ? "a duration such as 250ms, 10s, 5m, 2h or 1d" : "a number", e);
	TRY(check_range(ctx, node, option, number, text, e));
	*(int64_t *)field_of(option, into) = number;
	return ERR_OK;
}

static enum err_code set_scalar(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                                const char *text, void *into, struct err *e)
{
	switch (option->type) {
	case CONFIG_TEXT:
		*(const char **)field_of(option, into) = text;
		return ERR_OK;
	case CONFIG_NUMBER:
	case CONFIG_DURATION:
		return set_number(ctx, node, option, text, into, e);
	case CONFIG_FLAG:
		if (!parse_flag(text, field_of(option, into)))
			return wrong(ctx, node, option, text, "true or false", e);
		return ERR_OK;
	case CONFIG_LIST:
	case CONFIG_TREE:
	case CONFIG_REFUSED:
		break;
	}
	ASSERT(!"a scalar option");
}

static enum err_code add_item(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                              struct config_list *list, struct err *e)
{
	const char *text = NULL;

	if (node->kind == CONFIG_SCALAR)
		TRY(config_text(ctx, node, &text, e));
	else if (node->kind != CONFIG_NULL)
		return wrong(ctx, node, option, NULL, "a list of words", e);
	if (text)
		list->items[list->count++] = text;
	return ERR_OK;
}

/* Items that are empty, as ${NAME:-} may be, are left out. */
static enum err_code set_list(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                              void *into, struct err *e)
{
	struct config_list list = {.items = talloc_zero_array(ctx, const char *, node->count + 2)};

	ASSERT(list.items);
	if (node->kind != CONFIG_SEQUENCE)
		TRY(add_item(ctx, node, option, &list, e));
	for (size_t i = 0; node->kind == CONFIG_SEQUENCE && i < node->count; i++)
		TRY(add_item(ctx, node->entries[i].node, option, &list, e));
	*(struct config_list *)field_of(option, into) = list;
	return ERR_OK;
}

enum err_code config_set(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                         void *into, struct err *e)
{
	const char *text = NULL;

	if (option->type == CONFIG_TREE) {
		*(const struct config_node **)field_of(option, into) = node->kind == CONFIG_NULL ? NULL : node;
		return ERR_OK;
	}
	if (node->kind == CONFIG_NULL)
		return ERR_OK;
	if (option->type == CONFIG_LIST)
		return set_list(ctx, node, option, into, e);
	if (node->kind != CONFIG_SCALAR)
		return wrong(ctx, node, option, NULL, "a single value", e);
	TRY(config_text(ctx, node, &text, e));
	if (!text)
		return ERR_OK;
	return set_scalar(ctx, node, option, text, into, e);
}

enum err_code config_set_from_file(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                                   void *into, struct err *e)
{
	const char *path = NULL;
	char *text;
	size_t len;

	if (node->kind == CONFIG_NULL)
		return ERR_OK;
	if (node->kind != CONFIG_SCALAR)
		return ERR(e, ERR_INVALID, "%s: %s_file must be the path of a file", config_place(ctx, node),
		           option->path);
	TRY(config_text(ctx, node, &path, e));
	if (!path)
		return ERR_OK;
	if (config_read_file(ctx, path, SECRET_FILE_MAX, &text, &len, e) != ERR_OK)
		return err_wrap(e, "%s: %s_file", config_place(ctx, node), option->path);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (strlen(text) != len)
		return ERR(e, ERR_INVALID, "%s: %s_file: a NUL character in %s", config_place(ctx, node), option->path,
		           path);
	*(const char **)field_of(option, into) = text;
	return ERR_OK;
}

void config_set_default(TALLOC_CTX *ctx, const struct config_option *option, void *into)
{
	struct config_node node = {.kind = CONFIG_SCALAR, .file = "default", .line = 1, .text = option->default_value};
	struct config_node *list = &node;
	struct err failure = {.text = ""};

	if (!option->default_value)
		return;
	ASSERT(option->type != CONFIG_TREE);
	if (option->type == CONFIG_LIST)
		ASSERT(config_parse_text(ctx, "default", node.text, strlen(node.text), &list, &failure) == ERR_OK);
	ASSERT(config_set(ctx, list, option, into, &failure) == ERR_OK);
}
