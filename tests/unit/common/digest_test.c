#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/digest.h"

#include <string.h>

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define LONG_ONE "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
#define MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

/* FIPS 180-4's examples. */
static const struct {
	const char *content, *hex;
} known[] = {
    {"", EMPTY},
    {"abc", ABC},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", LONG_ONE},
};

static void known_contents_have_known_digests(void **state)
{
	SCRATCH_CTX(ctx);
	struct hasher *h = hasher_new(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t len = strlen(known[i].content);
		struct digest d = digest_of(known[i].content, len), streamed;

		assert_string_equal(digest_hex(&d).text, known[i].hex);
		for (size_t at = 0; at < len; at++)
			hasher_add(h, known[i].content + at, 1);
		streamed = hasher_finish(h); /* and begins anew */
		assert_true(digest_equal(&d, &streamed));
	}
}

static void a_stream_is_hashed_in_any_pieces(void **state)
{
	SCRATCH_CTX(ctx);
	struct hasher *h = hasher_new(ctx);
	char piece[997];
	struct digest d;

	(void)state;
	memset(piece, 'a', sizeof(piece));
	hasher_add(h, "dropped by the reset", 20);
	hasher_reset(h);
	for (size_t left = 1000000; left > 0; left -= MIN(left, sizeof(piece)))
		hasher_add(h, piece, MIN(left, sizeof(piece)));
	d = hasher_finish(h);
	assert_string_equal(digest_hex(&d).text, MILLION);
}

static void text_and_back(void **state)
{
	struct digest d = digest_of("abc", 3), again = {0};

	(void)state;
	assert_string_equal(digest_text(&d).text, "sha256:" ABC);
	assert_true(digest_parse(digest_text(&d).text, &again));
	assert_true(digest_equal(&d, &again));
	again = (struct digest){0};
	assert_true(digest_parse_n("sha256:" ABC "/more", 71, &again));
	assert_true(digest_equal(&d, &again));
	again = (struct digest){0};
	assert_true(digest_parse_hex(ABC, 64, &again));
	assert_true(digest_equal(&d, &again));
}

static void bad_texts_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "sha256:",
	    "sha256",
	    ABC,
	    "sha256:" ABC "0",
	    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
	    "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
	    "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	    "sha256: a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a\n",
	    "sha512:" ABC,
	    "SHA256:" ABC,
	    " sha256:" ABC,
	    "sha256:" ABC " ",
	};
	struct digest d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(digest_parse(bad[i], &d));
	assert_false(digest_parse_n("sha256:" ABC, 70, &d));
	assert_false(digest_parse_hex(ABC, 63, &d));
	assert_false(digest_parse_hex(ABC "00", 66, &d));
}

static void digests_have_an_order_and_a_none(void **state)
{
	struct digest none = {0}, low = {{1}}, high = {{2}};

	(void)state;
	assert_true(digest_is_none(&none));
	assert_false(digest_is_none(&low));
	low.bytes[31] = 0xff;
	assert_true(digest_compare(&low, &high) < 0);
	assert_true(digest_compare(&high, &low) > 0);
	assert_int_equal(digest_compare(&low, &low), 0);
	assert_false(digest_equal(&low, &high));
	none.bytes[31] = 1;
	assert_false(digest_is_none(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_contents_have_known_digests),
	    cmocka_unit_test(a_stream_is_hashed_in_any_pieces),
	    cmocka_unit_test(text_and_back),
	    cmocka_unit_test(bad_texts_are_refused),
	    cmocka_unit_test(digests_have_an_order_and_a_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
