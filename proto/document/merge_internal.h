/*
 * merge_internal: shared by merge.c and merge_links.c.
 *
 * merge_links knows, for each layer, what its hard links to lower layers' files are. It is filled from the bottom up:
 * the links of layer i are looked up in the merge of the layers under i, for which the table is already complete.
 */
#ifndef PROTO_DOCUMENT_MERGE_INTERNAL_H
#define PROTO_DOCUMENT_MERGE_INTERNAL_H

#include "proto/document/merge.h"

struct merge_links;

/* *out is NULL when no layer has such links. */
enum err_code merge_links_find(TALLOC_CTX *ctx, const struct merge_layer *layers, size_t count,
                               struct merge_links **out, struct err *e) MUST_CHECK;

/* What the hard link of layer at path stands for, or NULL. links may be NULL. */
const struct files_entry *merge_links_get(const struct merge_links *links, size_t layer, const char *path,
                                          size_t path_len);

/* merge_run with a table that already holds what the given layers need. */
enum err_code merge_stack(const struct merge_layer *layers, size_t count, const struct merge_links *links,
                          merge_emit emit, void *arg, struct err *e) MUST_CHECK;

#endif
