/*
 * config_value: one option's value between its node, its field in the struct and its text.
 */
#ifndef COMMON_CONFIG_VALUE_H
#define COMMON_CONFIG_VALUE_H

#include "common/config_node.h"

/* Reads node (of the option's type, within its range) into the struct. The error names place, path and value; the value
 * of a secret stays out of it. */
enum err_code config_set(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                         void *into, struct err *e) MUST_CHECK;

/* Sets a secret text from the file that node names, without the newline at its end. */
enum err_code config_set_from_file(TALLOC_CTX *ctx, const struct config_node *node, const struct config_option *option,
                                   void *into, struct err *e) MUST_CHECK;

/* Sets the default. A default that does not fit its own option is a broken invariant. */
void config_set_default(TALLOC_CTX *ctx, const struct config_option *option, void *into);

/* "text", "number", ... */
const char *config_type_name(enum config_type type);

/* Milliseconds in the largest unit that holds them without a rest: "90s", "5m", "1500ms". */
void config_add_duration(struct buf *out, int64_t ms);

#endif
