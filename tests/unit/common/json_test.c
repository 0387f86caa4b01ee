#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/json.h"

#include <string.h>

static void only_one_whole_object_is_accepted(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
	} cases[] = {
	    {"{}", ERR_OK},
	    {" {\"a\": [1, 2, {\"b\": null}]} \n", ERR_OK},
	    {"{\"a\": \"]]]}}}{{{[[[\\\"[\"}", ERR_OK},
	    {"", ERR_CORRUPT},
	    {" ", ERR_CORRUPT},
	    {"[]", ERR_CORRUPT},
	    {"1", ERR_CORRUPT},
	    {"{", ERR_CORRUPT},
	    {"{\"a", ERR_CORRUPT},
	    {"{\"a\\", ERR_CORRUPT},
	    {"{} {}", ERR_CORRUPT},
	    {"{}x", ERR_CORRUPT},
	    {"<html></html>", ERR_CORRUPT},
	    {"\xff\xfe{}", ERR_CORRUPT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(json_cleanup) cJSON *json = NULL;
		size_t len = strlen(cases[i].text);
		SCRATCH_CTX(ctx);
		/* An exact copy, so that a read beyond its end is seen. */
		char *copy = talloc_memdup(ctx, cases[i].text, MAX(len, 1u));

		if (json_parse(copy, len, 1000, "it", &json, NULL) != cases[i].code)
			fail_msg("%s", cases[i].text);
	}
}

static enum err_code parse_repeated(const char *open, const char *item, size_t count, const char *close)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	CLEANUP(buf_release) struct buf b;

	buf_init(&b, 8 * MIB);
	buf_add_text(&b, open);
	for (size_t i = 0; i < count; i++)
		buf_add_text(&b, item);
	buf_add_text(&b, close);
	assert_false(buf_failed(&b));
	return json_parse(b.bytes, b.len, 8 * MIB, "it", &json, NULL);
}

static void nesting_and_number_of_values_are_limited(void **state)
{
	(void)state;
	assert_int_equal(parse_repeated("{\"a\":", "[", 1000000, ""), ERR_TOO_LARGE);
	assert_int_equal(parse_repeated("{\"a\":", "[", JSON_DEPTH_MAX - 1, ""), ERR_CORRUPT);
	assert_int_equal(parse_repeated("{\"a\":", "[", JSON_DEPTH_MAX, ""), ERR_TOO_LARGE);
	assert_int_equal(parse_repeated("{\"a\":[", "0,", 1000, "0]}"), ERR_OK);
	assert_int_equal(parse_repeated("{\"a\":[", "0,", JSON_VALUES_MAX, "0]}"), ERR_TOO_LARGE);
	assert_int_equal(parse_repeated("{\"a\":[", "[],", JSON_VALUES_MAX, "0]}"), ERR_TOO_LARGE);
}

static void too_long_is_said_before_parsing(void **state)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	struct err e;

	(void)state;
	assert_int_equal(json_parse("{  }", 4, 3, "it", &json, &e), ERR_TOO_LARGE);
	assert_string_equal(e.text, "it is larger than 3 bytes");
}

static void members_are_read_by_type(void **state)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *text = "{\"t\":\"x\",\"n\":12,\"f\":1.5,\"m\":-1,\"big\":1e300,\"z\":null,\"a\":[],\"o\":{}}";
	uint64_t n = 7;
	char small[2];

	(void)state;
	assert_int_equal(json_parse(text, strlen(text), 1000, "it", &json, NULL), ERR_OK);
	assert_string_equal(json_text(json, "t"), "x");
	assert_null(json_text(json, "n"));
	assert_null(json_text(json, "missing"));
	assert_true(json_size(json, "n", &n));
	assert_int_equal(n, 12);
	assert_false(json_size(json, "f", &n));
	assert_false(json_size(json, "m", &n));
	assert_false(json_size(json, "big", &n));
	assert_false(json_size(json, "t", &n));
	assert_false(json_size(json, "missing", &n));
	assert_non_null(json_array(json, "a"));
	assert_null(json_array(json, "o"));
	assert_non_null(json_object(json, "o"));
	assert_null(json_object(json, "a"));
	assert_true(json_has(json, "a"));
	assert_false(json_has(json, "z"));
	assert_true(json_copy_text(json, "t", small, sizeof(small)));
	assert_string_equal(small, "x");
	assert_false(json_copy_text(json, "t", small, 1));
	assert_true(json_copy_text(json, "missing", small, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_one_whole_object_is_accepted),
	    cmocka_unit_test(nesting_and_number_of_values_are_limited),
	    cmocka_unit_test(too_long_is_said_before_parsing),
	    cmocka_unit_test(members_are_read_by_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
