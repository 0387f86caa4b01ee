#include "common/db_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct db_rows {
	PGresult *result;
	TALLOC_CTX *decoded; /* db_bytes of text results */
	bool binary;
};

static int rows_destroy(struct db_rows *rows)
{
	PQclear(rows->result);
	return 0;
}

struct db_rows *db_rows_new(TALLOC_CTX *ctx, PGresult *result, bool binary)
{
	struct db_rows *rows = talloc_zero(ctx, struct db_rows);

	ASSERT(rows);
	rows->result = result;
	rows->binary = binary;
	rows->decoded = rows;
	talloc_set_destructor(rows, rows_destroy);
	return rows;
}

size_t db_count(const struct db_rows *rows)
{
	return (size_t)PQntuples(rows->result);
}

size_t db_affected(const struct db_rows *rows)
{
	/* libpq's parameter is not const, though nothing is changed. */
	PGresult *result = rows->result;

	return (size_t)strtoull(PQcmdTuples(result), NULL, 10);
}

/* NULL for SQL NULL. A place outside the result is the caller's mistake. */
static const char *value_at(const struct db_rows *rows, size_t row, size_t column, size_t *len)
{
	ASSERT(row < db_count(rows) && column < (size_t)PQnfields(rows->result));
	*len = (size_t)PQgetlength(rows->result, (int)row, (int)column);
	if (PQgetisnull(rows->result, (int)row, (int)column))
		return NULL;
	return PQgetvalue(rows->result, (int)row, (int)column);
}

bool db_is_null(const struct db_rows *rows, size_t row, size_t column)
{
	size_t len;

	return !value_at(rows, row, column, &len);
}

const char *db_text(const struct db_rows *rows, size_t row, size_t column)
{
	size_t len;

	return value_at(rows, row, column, &len);
}

static int64_t binary_number(const char *value, size_t len)
{
	uint64_t eight;
	uint32_t four;
	uint16_t two;

	switch (len) {
	case sizeof(eight):
		memcpy(&eight, value, sizeof(eight));
		return (int64_t)be64toh(eight);
	case sizeof(four):
		memcpy(&four, value, sizeof(four));
		return (int32_t)be32toh(four);
	case sizeof(two):
		memcpy(&two, value, sizeof(two));
		return (int16_t)be16toh(two);
	default:
		ASSERT(!"an integer column");
	}
}

int64_t db_number(const struct db_rows *rows, size_t row, size_t column)
{
	size_t len;
	const char *value = value_at(rows, row, column, &len);
	char *end;
	int64_t number;

	if (!value)
		return 0;
	if (rows->binary)
		return binary_number(value, len);
	errno = 0;
	number = strtoll(value, &end, 10);
	/* A fraction is cut off: sums and averages are numeric. */
	ASSERT(end != value && (*end == '\0' || *end == '.') && errno == 0);
	return number;
}

bool db_flag(const struct db_rows *rows, size_t row, size_t column)
{
	size_t len;
	const char *value = value_at(rows, row, column, &len);

	if (!value)
		return false;
	ASSERT(len == 1);
	return rows->binary ? *value != 0 : *value == 't';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	ASSERT(c >= 'a' && c <= 'f');
	return c - 'a' + 10;
}

/* "\x0a..." as the server writes bytea in text results. */
static void decode_hex(const char *value, uint8_t *into, size_t len)
{
	for (size_t i = 0; i < len; i++)
		into[i] = (uint8_t)(hex_value(value[2 + 2 * i]) << 4 | hex_value(value[3 + 2 * i]));
}

struct digest db_digest(const struct db_rows *rows, size_t row, size_t column)
{
	size_t len;
	const char *value = value_at(rows, row, column, &len);
	struct digest d = {0};

	if (!value)
		return d;
	if (rows->binary) {
		ASSERT(len == DIGEST_BYTES);
		memcpy(d.bytes, value, DIGEST_BYTES);
	} else {
		ASSERT(len == 2 + 2 * DIGEST_BYTES && value[0] == '\\' && value[1] == 'x');
		decode_hex(value, d.bytes, DIGEST_BYTES);
	}
	return d;
}

const void *db_bytes(const struct db_rows *rows, size_t row, size_t column, size_t *len)
{
	const char *value = value_at(rows, row, column, len);
	uint8_t *bytes;

	if (!value || rows->binary)
		return value;
	if (*len < 2 || value[0] != '\\' || value[1] != 'x')
		return value; /* a text column: its bytes */
	*len = (*len - 2) / 2;
	bytes = talloc_array(rows->decoded, uint8_t, *len + 1);
	ASSERT(bytes);
	decode_hex(value, bytes, *len);
	bytes[*len] = 0;
	return bytes;
}
