/*
 * sql_array: lists as PostgreSQL array literals, for statements with `= ANY ($1::bigint[])`. The texts hang on ctx.
 */
#ifndef GATEWAY_SQL_ARRAY_H
#define GATEWAY_SQL_ARRAY_H

#include "common/digest.h"

char *sql_numbers(TALLOC_CTX *ctx, const int64_t *numbers, size_t count);       /* bigint[] */
char *sql_digests(TALLOC_CTX *ctx, const struct digest *digests, size_t count); /* bytea[] */

#endif
