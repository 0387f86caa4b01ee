/*
 * tar_maker: small tars in memory, entry by entry, well-formed or not.
 */
#ifndef TESTS_ANALYZER_TAR_MAKER_H
#define TESTS_ANALYZER_TAR_MAKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/buf.h"

#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 512

static inline void octal(char *field, size_t size, uint64_t value)
{
	for (size_t at = size - 1; at-- > 0; value /= 8)
		field[at] = (char)('0' + value % 8);
}

static inline void finish_header(char *h)
{
	unsigned sum = 0;

	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
}

static inline void begin_header(char *h, const char *name, char type, uint64_t size, const char *link)
{
	memset(h, 0, BLOCK);
	memcpy(h, name, MIN(strlen(name), (size_t)100));
	octal(h + 100, 8, 0644);
	octal(h + 108, 8, 7);
	octal(h + 116, 8, 8);
	octal(h + 124, 12, size);
	octal(h + 136, 12, 0);
	h[156] = type;
	if (link)
		memcpy(h + 157, link, MIN(strlen(link), (size_t)100));
	memcpy(h + 257, "ustar\00000", 8);
	finish_header(h);
}

static inline void add_padded(struct buf *tar, const void *bytes, size_t len)
{
	static const char zeroes[BLOCK];

	buf_add(tar, bytes, len);
	buf_add(tar, zeroes, (BLOCK - len % BLOCK) % BLOCK);
}

static inline void add_entry(struct buf *tar, const char *name, char type, const char *content, const char *link)
{
	char h[BLOCK];

	begin_header(h, name, type, content ? strlen(content) : 0, link);
	buf_add(tar, h, BLOCK);
	if (content)
		add_padded(tar, content, strlen(content));
}

/* A pax header with one record, for the entry that follows. */
static inline void add_pax(struct buf *tar, const char *key, const char *value)
{
	size_t len = strlen(key) + strlen(value) + 3, all = len + 1;
	char record[1024];

	/* The length counts its own digits. */
	if (all >= 10)
		all++;
	if (all >= 100)
		all++;
	assert_true(all < 1000);
	snprintf(record, sizeof(record), "%zu %s=%s\n", all, key, value);
	add_entry(tar, "pax", 'x', record, NULL);
}

static inline void add_end(struct buf *tar)
{
	static const char zeroes[2 * BLOCK];

	buf_add(tar, zeroes, sizeof(zeroes));
}

static inline void gzip(const struct buf *from, struct buf *to)
{
	struct isal_zstream z;

	isal_deflate_stateless_init(&z);
	z.gzip_flag = IGZIP_GZIP;
	z.end_of_stream = 1;
	z.next_in = (uint8_t *)from->bytes;
	z.avail_in = (uint32_t)from->len;
	z.avail_out = (uint32_t)(from->len + 1024);
	z.next_out = (uint8_t *)buf_reserve(to, z.avail_out);
	assert_int_equal(isal_deflate_stateless(&z), COMP_OK);
	buf_commit(to, z.total_out);
}

#endif
