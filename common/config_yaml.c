#include "common/config_node.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

/* One file on its way from libyaml's document to our tree. */
struct reading {
	TALLOC_CTX *ctx;
	const char *file;
	yaml_document_t *document;
	size_t nodes;
};

static struct config_node *new_node(struct reading *r, enum config_kind kind, const yaml_mark_t *mark)
{
	struct config_node *node = talloc_zero(r->ctx, struct config_node);

	ASSERT(node);
	node->kind = kind;
	node->file = r->file;
	node->line = (unsigned)mark->line + 1;
	return node;
}

static enum err_code convert(struct reading *r, int id, unsigned depth, struct config_node **out, struct err *e);

static enum err_code scalar_text(struct reading *r, const yaml_node_t *node, const char **out, struct err *e)
{
	const char *text = (const char *)node->data.scalar.value;

	if (strlen(text) != node->data.scalar.length)
		return ERR(e, ERR_INVALID, "%s:%zu: a NUL character in a value", r->file, node->start_mark.line + 1);
	*out = talloc_strdup(r->ctx, text);
	ASSERT(*out);
	return ERR_OK;
}

static enum err_code convert_scalar(struct reading *r, const yaml_node_t *node, struct config_node **out, struct err *e)
{
	struct config_node *scalar = new_node(r, CONFIG_SCALAR, &node->start_mark);

	scalar->plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	TRY(scalar_text(r, node, &scalar->text, e));
	if (scalar->plain && (!*scalar->text || strcmp(scalar->text, "~") == 0 || strcmp(scalar->text, "null") == 0))
		scalar->kind = CONFIG_NULL;
	*out = scalar;
	return ERR_OK;
}

static enum err_code convert_sequence(struct reading *r, const yaml_node_t *node, unsigned depth,
                                      struct config_node **out, struct err *e)
{
	*out = new_node(r, CONFIG_SEQUENCE, &node->start_mark);
	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		struct config_node *child;

		TRY(convert(r, *item, depth + 1, &child, e));
		config_append(r->ctx, *out, NULL, child);
	}
	return ERR_OK;
}

static enum err_code convert_pair(struct reading *r, const yaml_node_pair_t *pair, unsigned depth,
                                  struct config_node *mapping, struct err *e)
{
	const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
	struct config_node *child;
	const char *name;

	if (key->type != YAML_SCALAR_NODE)
		return ERR(e, ERR_INVALID, "%s:%zu: a key must be a word", r->file, key->start_mark.line + 1);
	TRY(scalar_text(r, key, &name, e));
	if (config_find(mapping, name, strlen(name)))
		return ERR(e, ERR_INVALID, "%s:%zu: %s stands here a second time", r->file, key->start_mark.line + 1,
		           name);
	TRY(convert(r, pair->value, depth + 1, &child, e));
	child->line = (unsigned)key->start_mark.line + 1;
	config_append(r->ctx, mapping, name, child);
	return ERR_OK;
}

static enum err_code convert_mapping(struct reading *r, const yaml_node_t *node, unsigned depth,
                                     struct config_node **out, struct err *e)
{
	*out = new_node(r, CONFIG_MAPPING, &node->start_mark);
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++)
		TRY(convert_pair(r, pair, depth, *out, e));
	return ERR_OK;
}

/* Follows aliases too, each time anew: it is the count that bounds them. */
static enum err_code convert(struct reading *r, int id, unsigned depth, struct config_node **out, struct err *e)
{
	const yaml_node_t *node = yaml_document_get_node(r->document, id);

	if (depth > CONFIG_DEPTH_MAX)
		return ERR(e, ERR_INVALID, "%s:%zu: more than %d levels", r->file, node->start_mark.line + 1,
		           CONFIG_DEPTH_MAX);
	if (++r->nodes > CONFIG_NODES_MAX)
		return ERR(e, ERR_INVALID, "%s:%zu: more than %d values", r->file, node->start_mark.line + 1,
		           CONFIG_NODES_MAX);
	switch (node->type) {
	case YAML_SCALAR_NODE:
		return convert_scalar(r, node, out, e);
	case YAML_SEQUENCE_NODE:
		return convert_sequence(r, node, depth, out, e);
	case YAML_MAPPING_NODE:
		return convert_mapping(r, node, depth, out, e);
	case YAML_NO_NODE:
	default:
		return ERR(e, ERR_INVALID, "%s: not a YAML value", r->file);
	}
}

static enum err_code load_next(yaml_parser_t *parser, const char *file, yaml_document_t *document, struct err *e)
{
	if (yaml_parser_load(parser, document))
		return ERR_OK;
	return ERR(e, ERR_INVALID, "%s:%zu: %s", file, parser->problem_mark.line + 1,
	           parser->problem ? parser->problem : "not YAML");
}

static enum err_code read_document(struct reading *r, yaml_parser_t *parser, struct config_node **out, struct err *e)
{
	yaml_document_t document;
	const yaml_node_t *root;
	enum err_code code = ERR_OK;

	TRY(load_next(parser, r->file, &document, e));
	r->document = &document;
	root = yaml_document_get_root_node(&document);
	if (root)
		code = convert(r, 1, 0, out, e);
	else
		*out = new_node(r, CONFIG_NULL, &document.start_mark);
	yaml_document_delete(&document);
	r->document = NULL;
	if (code != ERR_OK || !root)
		return code;
	TRY(load_next(parser, r->file, &document, e));
	if (yaml_document_get_root_node(&document))
		code = ERR(e, ERR_INVALID, "%s:%zu: a second document", r->file, document.start_mark.line + 1);
	yaml_document_delete(&document);
	return code;
}

enum err_code config_parse_text(TALLOC_CTX *ctx, const char *name, const char *text, size_t len,
                                struct config_node **out, struct err *e)
{
	struct reading r = {.ctx = ctx, .file = talloc_strdup(ctx, name)};
	yaml_parser_t parser;
	enum err_code code;

	ASSERT(r.file && yaml_parser_initialize(&parser));
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	code = read_document(&r, &parser, out, e);
	yaml_parser_delete(&parser);
	return code;
}

enum err_code config_read_file(TALLOC_CTX *ctx, const char *path, size_t max, char **text, size_t *len, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	*text = talloc_size(ctx, max + 2);
	ASSERT(*text);
	for (*len = 0; got > 0 && *len <= max; *len += (size_t)MAX(got, 0))
		got = read(fd, *text + *len, max + 1 - *len);
	if (got < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	if (*len > max)
		return ERR(e, ERR_INVALID, "%s is larger than %zu bytes", path, max);
	(*text)[*len] = '\0';
	return ERR_OK;
}

enum err_code config_parse_file(TALLOC_CTX *ctx, const char *path, struct config_node **out, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *text;
	size_t len;

	TRY(config_read_file(scratch, path, CONFIG_FILE_MAX, &text, &len, e));
	TRY(config_parse_text(ctx, path, text, len, out, e));
	if ((*out)->kind == CONFIG_NULL)
		(*out)->kind = CONFIG_MAPPING;
	if ((*out)->kind != CONFIG_MAPPING)
		return ERR(e, ERR_INVALID, "%s:%u: a configuration file is a mapping", path, (*out)->line);
	return ERR_OK;
}
