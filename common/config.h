/*
 * config: one YAML file for all services, one table of options for each.
 *
 * The file is a tree of mappings. A service gives a table of options, each with its place in the tree ("database.url"),
 * type, default, range and help; the table drives parsing, --help, --print-config and the reference pages.
 *
 *  - Several files may be given; a later one is merged over the earlier ones, mapping by mapping.
 *  - ${NAME} in a scalar is replaced from the environment, ${NAME:-text} has a default, $$ is a dollar sign. An unset
 *    name without a default is an error.
 *  - A key that no option names is an error with file and line, except in the section of another service (see
 *    config_sections): each service checks its own.
 *  - A value out of type or range is an error that names file, line, key and value (not the value of a secret).
 *  - A secret text `x` may instead be given as `x_file`, the path of a file that holds it; a newline at its end is
 *    dropped. Both at once are an error.
 *  - Nothing, ~ and null mean "not given": the default. So does ${NAME:-} that is empty; "" in quotes is an empty text.
 *  - A key that people bring along from elsewhere may be an option of type CONFIG_REFUSED: its help is what the error
 *    says, namely what to write instead. Its default_value, if any, is what happens anyway: that value is let pass.
 *
 * A file is at most 1 MiB, 32 levels deep, one document. Aliases work, within a limit of values.
 *
 * The filled struct hangs on ctx and is not changed afterwards.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include "common/buf.h"
#include "common/err.h"

enum config_type {
	CONFIG_TEXT,     /* const char * */
	CONFIG_NUMBER,   /* int64_t, within least..most */
	CONFIG_FLAG,     /* bool: true/false/yes/no/on/off */
	CONFIG_DURATION, /* int64_t milliseconds, written 250ms, 10s, 5m, 2h, 1d; least..most in milliseconds */
	CONFIG_LIST,     /* struct config_list: a sequence of scalars, or one scalar */
	CONFIG_TREE,     /* const struct config_node *: a subtree that somebody else reads; NULL if absent */
	CONFIG_REFUSED,  /* no field: a key that others have and that means nothing here */
};

struct config_list {
	const char **items;
	size_t count;
};

struct config_option {
	const char *path; /* "gateway.listen" */
	enum config_type type;
	size_t offset;             /* in the struct that config_load fills */
	const char *default_value; /* as it would stand in the file, "[a, b]"; NULL: 0, false, NULL or empty */
	int64_t least, most;       /* both 0: no limits */
	bool required, secret;
	const char *help;
};

#define CONFIG_END                                                                                                     \
	{                                                                                                              \
		.path = NULL                                                                                           \
	}

struct config_node;

/* The top-level sections of all services: unknown keys below those of others are not this service's business. */
extern const char *const config_sections[]; /* NULL-terminated */

/* files: paths, later over earlier; count may be 0 (defaults only). into: a zeroed struct that the options' offsets
 * fit. ERR_INVALID names file:line; ERR_NOT_FOUND the file. */
enum err_code config_load(TALLOC_CTX *ctx, const char *const *files, size_t count, const struct config_option *options,
                          void *into, struct err *e) MUST_CHECK;

/* Reads a subtree with a table of its own (paths relative to it); unknown keys are errors. node may be NULL. */
enum err_code config_read_tree(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *options,
                               void *into, struct err *e) MUST_CHECK;

/* Nothing is said there: no node, null or {}. */
bool config_is_empty(const struct config_node *node);

/* A subtree as text, for keeping it elsewhere: JSON, with what ${...} stands for now in place, and secrets. NULL reads
 * back as "not given". config_from_text gives a tree with the same values; name stands for the file in messages. */
enum err_code config_render(TALLOC_CTX *ctx, const struct config_node *node, char **text, struct err *e) MUST_CHECK;
enum err_code config_from_text(TALLOC_CTX *ctx, const char *name, const char *text, const struct config_node **out,
                               struct err *e) MUST_CHECK;

/* "file:line" of a node, for messages. */
const char *config_place(TALLOC_CTX *ctx, const struct config_node *node);

/* For --help and --print-config (YAML again; secrets as "********"). */
void config_describe(const struct config_option *options, struct buf *out);
void config_print(const struct config_option *options, const void *from, struct buf *out);

#endif
