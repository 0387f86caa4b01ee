#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/record.h"
#include "services/object-store-gateway/prefix.h"

#include <string.h>

static const struct {
	const char *prefix, *end;
} cases[] = {
    {"", NULL},
    {"a", "b"},
    {"a/", "a0"},
    {"key%", "key&"},
    {"key_", "key`"},
    {"\x7f", "\xc2\x80"},                         /* U+007F: two bytes next */
    {"\xc3\xa9", "\xc3\xaa"},                     /* e acute */
    {"\xdf\xbf", "\xe0\xa0\x80"},                 /* U+07FF: three bytes next */
    {"\xed\x9f\xbf", "\xee\x80\x80"},             /* U+D7FF: no surrogates next */
    {"\xef\xbf\xbf", "\xf0\x90\x80\x80"},         /* U+FFFF: four bytes next */
    {"a\xf4\x8f\xbf\xbf", "b"},                   /* the last character of all carries */
    {"a\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf", "b"},   /* more than once */
    {"\xf4\x8f\xbf\xbf", NULL},                   /* and has nothing after it */
    {"\xc3\xa9\xf4\x8f\xbf\xbf", "\xc3\xaa"},     /* */
    {"\xf0\x9f\x98\x80/x", "\xf0\x9f\x98\x80/y"}, /* */
};

static void test_the_end_is_the_least_text_after_all_that_start_with_the_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		char *end = prefix_end(ctx, cases[i].prefix);

		if (!cases[i].end) {
			assert_null(end);
			continue;
		}
		assert_string_equal(end, cases[i].end);
	}
}

static void test_every_end_is_utf8_and_comes_after_the_prefix_and_its_last_continuation(void **state)
{
	(void)state;
	for (uint32_t c = 1; c < 0x10ffff; c += c < 0x3000 ? 1 : 97) {
		SCRATCH_CTX(ctx);
		char prefix[8] = {0}, *end, *last;

		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c < 0x80) {
			prefix[0] = (char)c;
		} else if (c < 0x800) {
			prefix[0] = (char)(0xc0 | c >> 6);
			prefix[1] = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			prefix[0] = (char)(0xe0 | c >> 12);
			prefix[1] = (char)(0x80 | (c >> 6 & 0x3f));
			prefix[2] = (char)(0x80 | (c & 0x3f));
		} else {
			prefix[0] = (char)(0xf0 | c >> 18);
			prefix[1] = (char)(0x80 | (c >> 12 & 0x3f));
			prefix[2] = (char)(0x80 | (c >> 6 & 0x3f));
			prefix[3] = (char)(0x80 | (c & 0x3f));
		}
		end = prefix_end(ctx, prefix);
		assert_non_null(end);
		assert_true(proto_is_utf8(end, strlen(end)));
		last = talloc_asprintf(ctx, "%s\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf", prefix);
		assert_true(strcmp(end, prefix) > 0);
		assert_true(strcmp(end, last) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_end_is_the_least_text_after_all_that_start_with_the_prefix),
	    cmocka_unit_test(test_every_end_is_utf8_and_comes_after_the_prefix_and_its_last_continuation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
