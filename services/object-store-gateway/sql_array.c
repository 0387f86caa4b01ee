#include "services/object-store-gateway/sql_array.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_SIZE 21                         /* a sign, 19 digits, a comma */
#define DIGEST_SIZE (5 + 2 * DIGEST_BYTES + 1) /* "\\x<hex>", with quotes and comma */

char *sql_numbers(TALLOC_CTX *ctx, const int64_t *numbers, size_t count)
{
	size_t size;
	char *text, *at;

	ASSERT(size_mul(count, NUMBER_SIZE, &size) && size_add(size, 3, &size));
	text = at = talloc_size(ctx, size);
	ASSERT(text);
	*at++ = '{';
	for (size_t i = 0; i < count; i++)
		at += snprintf(at, NUMBER_SIZE + 1, "%s%" PRId64, i ? "," : "", numbers[i]);
	memcpy(at, "}", 2);
	return text;
}

char *sql_digests(TALLOC_CTX *ctx, const struct digest *digests, size_t count)
{
	size_t size;
	char *text, *at;

	ASSERT(size_mul(count, DIGEST_SIZE + 1, &size) && size_add(size, 3, &size));
	text = at = talloc_size(ctx, size);
	ASSERT(text);
	*at++ = '{';
	for (size_t i = 0; i < count; i++)
		at += snprintf(at, DIGEST_SIZE + 2, "%s\"\\\\x%s\"", i ? "," : "", digest_hex(&digests[i]).text);
	memcpy(at, "}", 2);
	return text;
}
