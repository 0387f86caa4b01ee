#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/aead.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 4096

static struct aead_bytes text_bytes(const char *text)
{
	return (struct aead_bytes){text, strlen(text)};
}

static size_t from_hex(const char *hex, uint8_t *into)
{
	size_t len = strlen(hex) / 2;

	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		into[i] = (uint8_t)byte;
	}
	return len;
}

/* Test cases 13 to 16 of the GCM specification that NIST took SP 800-38D from (McGrew and Viega). */
static void opens_what_the_specification_sealed(void **state)
{
	static const struct {
		const char *key, *nonce, *bound, *cipher, *tag, *plain;
	} cases[] = {
	    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
	     "530f8afbc74536b9a963b4f1c4cb738b", ""},
	    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
	     "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919",
	     "00000000000000000000000000000000"},
	    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
	     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
	     "b094dac5d93471bdec1a502270e3cc6c",
	     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"},
	    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
	     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
	     "76fc6ece0f4e1768cddf8853bb2d551b",
	     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t key[AEAD_KEY_BYTES], bound[64], box[128], plain[64], opened[64];
		size_t bound_len = from_hex(cases[i].bound, bound), plain_len = from_hex(cases[i].plain, plain);
		size_t len = from_hex(cases[i].nonce, box);
		struct err e = {0};

		from_hex(cases[i].key, key);
		len += from_hex(cases[i].cipher, box + len);
		len += from_hex(cases[i].tag, box + len);
		assert_int_equal(
		    aead_open(key, &(struct aead_bytes){bound, bound_len}, &(struct aead_bytes){box, len}, opened, &e),
		    ERR_OK);
		assert_int_equal(len, plain_len + AEAD_OVERHEAD);
		assert_memory_equal(opened, plain, plain_len);
	}
}

/* RFC 5869, A.3: no salt, no info: the first 32 of its 42 bytes. */
static void derives_what_the_rfc_derived(void **state)
{
	uint8_t secret[22], key[AEAD_KEY_BYTES], expected[AEAD_KEY_BYTES];
	const struct aead_bytes from = {secret, sizeof(secret)}, nothing = {"", 0};
	struct err e = {0};

	(void)state;
	memset(secret, 0x0b, sizeof(secret));
	from_hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d", expected);
	assert_int_equal(aead_derive(&from, &nothing, key, &e), ERR_OK);
	assert_memory_equal(key, expected, sizeof(key));
}

static void another_info_gives_another_key(void **state)
{
	const struct aead_bytes secret = text_bytes("a secret"), one = text_bytes("one"), two = text_bytes("two");
	uint8_t a[AEAD_KEY_BYTES], b[AEAD_KEY_BYTES], again[AEAD_KEY_BYTES];
	struct err e = {0};

	(void)state;
	assert_int_equal(aead_derive(&secret, &one, a, &e), ERR_OK);
	assert_int_equal(aead_derive(&secret, &two, b, &e), ERR_OK);
	assert_int_equal(aead_derive(&secret, &one, again, &e), ERR_OK);
	assert_memory_equal(a, again, sizeof(a));
	assert_memory_not_equal(a, b, sizeof(a));
}

static void what_was_sealed_opens_and_no_two_boxes_are_equal(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, TEXT_MAX};
	static const uint8_t key[AEAD_KEY_BYTES] = {1, 2, 3};
	const struct aead_bytes bound = text_bytes("a place");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char text[TEXT_MAX], opened[TEXT_MAX];
		uint8_t one[TEXT_MAX + AEAD_OVERHEAD], two[TEXT_MAX + AEAD_OVERHEAD];
		const struct aead_bytes content = {text, sizes[i]}, box = {one, sizes[i] + AEAD_OVERHEAD};
		struct err e = {0};

		memset(text, 'x', sizeof(text));
		assert_int_equal(aead_seal(key, &bound, &content, one, &e), ERR_OK);
		assert_int_equal(aead_seal(key, &bound, &content, two, &e), ERR_OK);
		assert_memory_not_equal(one, two, box.len);
		assert_int_equal(aead_open(key, &bound, &box, opened, &e), ERR_OK);
		assert_memory_equal(opened, text, sizes[i]);
	}
}

static void a_flipped_bit_anywhere_is_noticed_and_nothing_is_shown(void **state)
{
	static const uint8_t key[AEAD_KEY_BYTES] = {7};
	const struct aead_bytes bound = text_bytes("a place"), content = text_bytes("sixteen bytes it is, and more");
	uint8_t sealed[100];
	char opened[100], zeros[100] = {0};
	const struct aead_bytes box = {sealed, content.len + AEAD_OVERHEAD};
	struct err e = {0};

	(void)state;
	assert_int_equal(aead_seal(key, &bound, &content, sealed, &e), ERR_OK);
	for (size_t bit = 0; bit < 8 * box.len; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(opened, 'x', sizeof(opened));
		assert_int_equal(aead_open(key, &bound, &box, opened, &e), ERR_CORRUPT);
		assert_memory_equal(opened, zeros, content.len);
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(aead_open(key, &bound, &box, opened, &e), ERR_OK);
}

static void another_key_place_or_length_does_not_open(void **state)
{
	static const uint8_t key[AEAD_KEY_BYTES] = {7}, other[AEAD_KEY_BYTES] = {8};
	const struct aead_bytes bound = text_bytes("a place"), moved = text_bytes("another place"), none = {"", 0};
	const struct aead_bytes content = text_bytes("content");
	uint8_t sealed[100] = {0};
	char opened[100];
	struct aead_bytes box = {sealed, content.len + AEAD_OVERHEAD};
	struct err e = {0};

	(void)state;
	assert_int_equal(aead_seal(key, &bound, &content, sealed, &e), ERR_OK);
	assert_int_equal(aead_open(other, &bound, &box, opened, &e), ERR_CORRUPT);
	assert_int_equal(aead_open(key, &moved, &box, opened, &e), ERR_CORRUPT);
	assert_int_equal(aead_open(key, &none, &box, opened, &e), ERR_CORRUPT);
	for (box.len = 0; box.len < sizeof(sealed); box.len++)
		assert_int_equal(aead_open(key, &bound, &box, opened, &e),
		                 box.len == content.len + AEAD_OVERHEAD ? ERR_OK : ERR_CORRUPT);
}

static void what_is_too_large_is_refused(void **state)
{
	static const uint8_t key[AEAD_KEY_BYTES] = {7};
	const struct aead_bytes bound = text_bytes("a place"), huge = {"", (size_t)1 << 31};
	uint8_t into[AEAD_OVERHEAD];
	struct err e = {0};

	(void)state;
	assert_int_equal(aead_seal(key, &bound, &huge, into, &e), ERR_TOO_LARGE);
	assert_int_equal(aead_open(key, &bound, &huge, into, &e), ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opens_what_the_specification_sealed),
	    cmocka_unit_test(derives_what_the_rfc_derived),
	    cmocka_unit_test(another_info_gives_another_key),
	    cmocka_unit_test(what_was_sealed_opens_and_no_two_boxes_are_equal),
	    cmocka_unit_test(a_flipped_bit_anywhere_is_noticed_and_nothing_is_shown),
	    cmocka_unit_test(another_key_place_or_length_does_not_open),
	    cmocka_unit_test(what_is_too_large_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
