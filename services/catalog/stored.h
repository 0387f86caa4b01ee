/*
 * stored: what the catalog keeps as JSON text in one column because it is only ever given back whole: records of the
 * protocol, annotations, lists of words.
 *
 * Writing gives NULL for what is absent or empty, reading takes NULL for that. Results hang on ctx. Reading fails with
 * ERR_CORRUPT: somebody else wrote into the column.
 */
#ifndef CATALOG_STORED_H
#define CATALOG_STORED_H

#include "proto/messages.h"

enum err_code stored_record_write(TALLOC_CTX *ctx, const struct proto_record *record, const void *from,
                                  const char **text, struct err *e) MUST_CHECK;
/* *into: a new struct of the record's, or NULL. */
enum err_code stored_record_read(TALLOC_CTX *ctx, const struct proto_record *record, const char *text, void **into,
                                 struct err *e) MUST_CHECK;

const char *stored_map_write(TALLOC_CTX *ctx, const struct proto_map *map);
enum err_code stored_map_read(TALLOC_CTX *ctx, const char *text, struct proto_map *map, struct err *e) MUST_CHECK;

const char *stored_texts_write(TALLOC_CTX *ctx, const struct proto_texts *texts);
enum err_code stored_texts_read(TALLOC_CTX *ctx, const char *text, struct proto_texts *texts, struct err *e) MUST_CHECK;

/* The text of a JSON value on ctx; the value stays the caller's. */
char *stored_print(TALLOC_CTX *ctx, const cJSON *json);

#endif
