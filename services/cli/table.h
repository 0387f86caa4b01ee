/*
 * table: aligned columns of text for people.
 *
 *     struct table *t = table_new(ctx, (const struct table_column[]){{"IMAGE"}, {"SIZE", .right = true}, {NULL}});
 *     table_row(t, digest, size);
 *     table_print(t, stdout, width);
 *
 * Width is counted in terminal cells: combining marks take none, wide characters two; control characters and what is
 * not UTF-8 are shown as "?", so no cell can move the cursor. When the whole is wider than the terminal, columns marked
 * elastic are cut, the widest first, and end in an ellipsis; width 0 means no limit. No column is padded at a line's
 * end.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "common/base.h"

#include <stdio.h>

#define TABLE_COLUMNS_MAX 16

struct table_column {
	const char *title;
	bool right;   /* aligned to the right: numbers */
	bool elastic; /* may be cut */
};

struct table;

struct table *table_new(TALLOC_CTX *ctx, const struct table_column *columns);

/* As many cells as columns; NULL is an empty cell. Copied. */
void table_add(struct table *t, const char *const *cells, size_t count);
#define table_row(t, ...)                                                                                              \
	table_add((t), (const char *const[]){__VA_ARGS__}, ARRAY_SIZE(((const char *const[]){__VA_ARGS__})))

size_t table_rows(const struct table *t);
void table_print(const struct table *t, FILE *out, size_t width);

/* Cells that a text takes. */
size_t text_width(const char *text);

/* The text as it may be shown: on ctx, control characters and bytes that are no UTF-8 replaced. */
char *text_clean(TALLOC_CTX *ctx, const char *text);

#endif
