/*
 * config_node: the tree that a YAML file becomes, every node with its place.
 *
 * Bounded before anything is believed: a file of at most 1 MiB, CONFIG_DEPTH_MAX levels, CONFIG_NODES_MAX nodes after
 * aliases were followed. One document a file; the top is a mapping, or nothing at all. Keys are plain scalars, a key
 * that stands twice in a mapping is an error.
 *
 * Scalars keep the text of the file; config_text replaces ${...} when a value is read, so that a variable which only
 * another service needs may be missing. Everything hangs on the context given.
 */
#ifndef COMMON_CONFIG_NODE_H
#define COMMON_CONFIG_NODE_H

#include "common/config.h"

#define CONFIG_FILE_MAX MIB
#define CONFIG_DEPTH_MAX 32
#define CONFIG_NODES_MAX 50000

enum config_kind { CONFIG_NULL, CONFIG_SCALAR, CONFIG_SEQUENCE, CONFIG_MAPPING };

struct config_entry {
	const char *key; /* NULL in sequences */
	struct config_node *node;
};

struct config_node {
	enum config_kind kind;
	const char *file;
	unsigned line;    /* of the key where there is one, from 1 */
	bool plain;       /* a scalar without quotes: ~, null and nothing at all mean "not given" */
	const char *text; /* scalar */
	struct config_entry *entries;
	size_t count, size;
};

/* ERR_NOT_FOUND: no such file; ERR_INVALID: everything that is wrong with it, with file:line. */
enum err_code config_parse_file(TALLOC_CTX *ctx, const char *path, struct config_node **out, struct err *e) MUST_CHECK;
/* name stands for the file in places. The top may be any node here. */
enum err_code config_parse_text(TALLOC_CTX *ctx, const char *name, const char *text, size_t len,
                                struct config_node **out, struct err *e) MUST_CHECK;

/* A whole file of at most max bytes, with a NUL after them. */
enum err_code config_read_file(TALLOC_CTX *ctx, const char *path, size_t max, char **text, size_t *len,
                               struct err *e) MUST_CHECK;

/* key is NULL in sequences. */
void config_append(TALLOC_CTX *ctx, struct config_node *parent, const char *key, struct config_node *child);

/* The node below a mapping, or NULL. */
const struct config_node *config_find(const struct config_node *mapping, const char *key, size_t key_len);

/* over's entries into base, mapping by mapping; anything else replaces. over may end up inside base. */
void config_merge(TALLOC_CTX *ctx, struct config_node *base, const struct config_node *over);

/* A scalar's text with ${...} replaced; NULL where the file says nothing (~, null, or plain and empty). */
enum err_code config_text(TALLOC_CTX *ctx, const struct config_node *scalar, const char **out,
                          struct err *e) MUST_CHECK;

#endif
