/*
 * array: many values as one SQL parameter, for `unnest($1::text[])` and `= ANY($1::bytea[])`.
 *
 *     struct array *names = array_new(ctx);
 *     for each: array_add_text(names, name);
 *     TRY(db_query(db, ctx, NULL, e, "... unnest($1::text[]) ...", array_param(names)));
 *
 * It is written as PostgreSQL's array literal; the cast in the SQL gives the type. It hangs on ctx.
 */
#ifndef CATALOG_ARRAY_H
#define CATALOG_ARRAY_H

#include "common/db.h"

struct array;

struct array *array_new(TALLOC_CTX *ctx);
void array_add_text(struct array *a, const char *text); /* NULL: SQL NULL */
void array_add_digest(struct array *a, const struct digest *digest);
void array_add_number(struct array *a, int64_t number);

/* Ends the array: nothing can be added any more. May be called again. More than 64 MiB is a broken invariant: messages
 * are smaller. */
struct db_param array_param(struct array *a);

size_t array_count(const struct array *a);

#endif
