#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/codec.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define CONTENT_SIZE 60000

struct stream {
	enum codec codec;
	const char *name;
	uint8_t bytes[2 * CONTENT_SIZE];
	size_t len;
};

static uint8_t content[CONTENT_SIZE];
static struct stream streams[4];

static void make_content(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < CONTENT_SIZE; i++) {
		x = x * 1664525 + 1013904223;
		content[i] = i % 7 < 4 ? (uint8_t)('a' + (x >> 29)) : (uint8_t)(x >> 24);
	}
}

static size_t gzip(const uint8_t *bytes, size_t len, uint8_t *out, size_t size)
{
	struct isal_zstream z;

	isal_deflate_stateless_init(&z);
	z.gzip_flag = IGZIP_GZIP;
	z.end_of_stream = 1;
	memcpy(&z.next_in, &bytes, sizeof(bytes));
	z.avail_in = (uint32_t)len;
	z.next_out = out;
	z.avail_out = (uint32_t)size;
	assert_int_equal(isal_deflate_stateless(&z), COMP_OK);
	return z.total_out;
}

static int setup(void **state)
{
	const size_t half = CONTENT_SIZE / 2;
	struct stream *s = streams;

	(void)state;
	make_content();
	s[0] = (struct stream){.codec = CODEC_GZIP, .name = "gzip"};
	s[0].len = gzip(content, CONTENT_SIZE, s[0].bytes, sizeof(s[0].bytes));
	s[1] = (struct stream){.codec = CODEC_GZIP, .name = "gzip of two members"};
	s[1].len = gzip(content, half, s[1].bytes, sizeof(s[1].bytes));
	s[1].len += gzip(content + half, CONTENT_SIZE - half, s[1].bytes + s[1].len, sizeof(s[1].bytes) - s[1].len);
	s[2] = (struct stream){.codec = CODEC_ZSTD, .name = "zstd of two frames"};
	s[2].len = ZSTD_compress(s[2].bytes, sizeof(s[2].bytes), content, half, 3);
	s[2].len +=
	    ZSTD_compress(s[2].bytes + s[2].len, sizeof(s[2].bytes) - s[2].len, content + half, CONTENT_SIZE - half, 3);
	s[3] = (struct stream){.codec = CODEC_NONE, .name = "plain", .len = CONTENT_SIZE};
	memcpy(s[3].bytes, content, CONTENT_SIZE);
	return 0;
}

/* Decodes with the given piece sizes; the content goes to out. */
static enum err_code decode(enum codec codec, const uint8_t *bytes, size_t len, size_t feed, size_t room, uint8_t *out,
                            size_t *out_len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct decoder *d;
	size_t got;

	*out_len = 0;
	TRY(decoder_new(ctx, codec, &d, e));
	for (size_t at = 0; at < len; at += MIN(feed, len - at)) {
		decoder_feed(d, bytes + at, MIN(feed, len - at));
		do {
			TRY(decoder_read(d, out + *out_len, MIN(room, (size_t)CONTENT_SIZE + 1 - *out_len), &got, e));
			*out_len += got;
		} while (got > 0);
	}
	return decoder_end(d, e);
}

static void content_comes_back_whatever_the_piece_sizes(void **state)
{
	static const struct {
		size_t feed, room;
	} cases[] = {{SIZE_MAX, SIZE_MAX}, {1, SIZE_MAX}, {SIZE_MAX, 1}, {13, 7}, {4096, 100}, {100, 4096}};
	static uint8_t out[CONTENT_SIZE + 1];
	struct err e;
	size_t len;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(streams); s++) {
		for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
			assert_int_equal(decode(streams[s].codec, streams[s].bytes, streams[s].len, cases[c].feed,
			                        cases[c].room, out, &len, &e),
			                 ERR_OK);
			assert_int_equal(len, CONTENT_SIZE);
			assert_memory_equal(out, content, CONTENT_SIZE);
		}
	}
}

static void a_stream_cut_anywhere_is_corrupt(void **state)
{
	static uint8_t out[CONTENT_SIZE + 1];
	struct err e;
	size_t len;

	(void)state;
	for (size_t s = 0; s < 3; s += 2) {
		for (size_t cut = 0; cut < streams[s].len; cut += 1 + cut / 10) {
			const uint8_t *bytes = streams[s].bytes;
			enum err_code code = decode(streams[s].codec, bytes, cut, SIZE_MAX, SIZE_MAX, out, &len, &e);

			/* The cut between two zstd frames leaves a whole stream. */
			if (code == ERR_OK && s == 2)
				assert_true(len == CONTENT_SIZE / 2);
			else
				assert_int_equal(code, ERR_CORRUPT);
		}
	}
}

static void damage_is_corrupt_or_changes_nothing_that_is_checked(void **state)
{
	static uint8_t out[CONTENT_SIZE + 1], damaged[2 * CONTENT_SIZE];
	struct err e;
	size_t len, found = 0, tried = 0;

	(void)state;
	memcpy(damaged, streams[0].bytes, streams[0].len);
	for (size_t at = 12; at < streams[0].len; at += 997) {
		damaged[at] ^= 0x40;
		tried++;
		if (decode(CODEC_GZIP, damaged, streams[0].len, SIZE_MAX, 5000, out, &len, &e) == ERR_CORRUPT)
			found++;
		damaged[at] ^= 0x40;
	}
	assert_true(tried > 10);
	assert_int_equal(found, tried);
}

static void garbage_behind_a_gzip_member_is_corrupt(void **state)
{
	static uint8_t out[CONTENT_SIZE + 1], bytes[2 * CONTENT_SIZE];
	struct err e;
	size_t len;

	(void)state;
	memcpy(bytes, streams[0].bytes, streams[0].len);
	memcpy(bytes + streams[0].len, "not gzip, is it", 16);
	assert_int_equal(decode(CODEC_GZIP, bytes, streams[0].len + 16, SIZE_MAX, SIZE_MAX, out, &len, &e),
	                 ERR_CORRUPT);
}

static void a_zstd_window_over_the_limit_is_refused(void **state)
{
	static uint8_t out[CONTENT_SIZE + 1];
	/* magic, a frame header that asks for a window of 2^31 bytes, nothing more */
	static const uint8_t bytes[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00};
	struct err e;
	size_t len;

	(void)state;
	assert_int_equal(decode(CODEC_ZSTD, bytes, sizeof(bytes), SIZE_MAX, SIZE_MAX, out, &len, &e), ERR_CORRUPT);
}

static void codecs_are_told_by_their_first_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum codec codec;
	} cases[] = {
	    {"\x1f\x8b\x08", 3, CODEC_GZIP},        {"\x1f", 1, CODEC_NONE},
	    {"\x28\xb5\x2f\xfd", 4, CODEC_ZSTD},    {"\x28\xb5\x2f", 3, CODEC_NONE},
	    {"\x5a\x2a\x4d\x18", 4, CODEC_ZSTD},    {"", 0, CODEC_NONE},
	    {"etc/passwd\0\0\0\0", 14, CODEC_NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(codec_detect(cases[i].bytes, cases[i].len), cases[i].codec);
}

static void blocks_come_back(void **state)
{
	static const char text[] = "the same words, the same words, the same words, the same words, the same words";
	SCRATCH_CTX(ctx);
	void *packed, *content_back;
	size_t packed_len;
	struct err e;

	(void)state;
	assert_int_equal(zstd_compress_block(ctx, text, sizeof(text), 3, &packed, &packed_len, &e), ERR_OK);
	assert_non_null(packed);
	assert_true(packed_len < sizeof(text));
	assert_int_equal(zstd_decompress_block(ctx, packed, packed_len, sizeof(text), &content_back, &e), ERR_OK);
	assert_memory_equal(content_back, text, sizeof(text));
	assert_int_equal(zstd_decompress_block(ctx, packed, packed_len, sizeof(text) - 1, &content_back, &e),
	                 ERR_CORRUPT);
	assert_int_equal(zstd_decompress_block(ctx, packed, packed_len, sizeof(text) + 1, &content_back, &e),
	                 ERR_CORRUPT);
	assert_int_equal(zstd_decompress_block(ctx, packed, packed_len - 1, sizeof(text), &content_back, &e),
	                 ERR_CORRUPT);
}

static void a_block_that_gets_no_smaller_is_not_compressed(void **state)
{
	SCRATCH_CTX(ctx);
	uint8_t noise[4096];
	uint64_t x = 88172645463325252u;
	void *packed = noise;
	size_t packed_len;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (uint8_t)x;
	}
	assert_int_equal(zstd_compress_block(ctx, noise, sizeof(noise), 3, &packed, &packed_len, &e), ERR_OK);
	assert_null(packed);
	assert_int_equal(zstd_compress_block(ctx, noise, 0, 3, &packed, &packed_len, &e), ERR_OK);
	assert_null(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(content_comes_back_whatever_the_piece_sizes),
	    cmocka_unit_test(a_stream_cut_anywhere_is_corrupt),
	    cmocka_unit_test(damage_is_corrupt_or_changes_nothing_that_is_checked),
	    cmocka_unit_test(garbage_behind_a_gzip_member_is_corrupt),
	    cmocka_unit_test(a_zstd_window_over_the_limit_is_refused),
	    cmocka_unit_test(codecs_are_told_by_their_first_bytes),
	    cmocka_unit_test(blocks_come_back),
	    cmocka_unit_test(a_block_that_gets_no_smaller_is_not_compressed),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
