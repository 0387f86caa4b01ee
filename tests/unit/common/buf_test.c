#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/buf.h"

#include <string.h>

static void it_grows_with_what_is_added(void **state)
{
	CLEANUP(buf_release) struct buf b;

	(void)state;
	buf_init(&b, 10000);
	buf_add_text(&b, "ab");
	buf_add_char(&b, 'c');
	buf_add(&b, "\0d", 2);
	buf_add(&b, NULL, 0);
	buf_add_format(&b, "%s-%d", "e", 42);
	assert_int_equal(b.len, 9);
	assert_memory_equal(b.bytes, "abc\0de-42", 10);
	for (int i = 0; i < 900; i++)
		buf_add_format(&b, "%09d|", i);
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 9009);
	assert_string_equal(b.bytes + 9009 - 20, "000000898|000000899|");
}

static void the_maximum_is_a_limit_that_sticks(void **state)
{
	static const struct {
		size_t max;
		const char *texts[4];
		size_t len;
		bool failed;
	} cases[] = {
	    {3, {"abc"}, 3, false},
	    {3, {"abcd"}, 0, true},
	    {3, {"ab", "cd", "e"}, 2, true},
	    {0, {""}, 0, false},
	    {0, {"a"}, 0, true},
	    {5, {"ab", "cde"}, 5, false},
	    {64, {"ab", "", "", "c"}, 3, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_release) struct buf b;

		buf_init(&b, cases[i].max);
		for (size_t j = 0; j < 4 && cases[i].texts[j]; j++)
			buf_add_text(&b, cases[i].texts[j]);
		assert_int_equal(b.len, cases[i].len);
		assert_int_equal(buf_failed(&b), cases[i].failed);
	}
}

static void formats_fail_as_a_whole(void **state)
{
	CLEANUP(buf_release) struct buf b;

	(void)state;
	buf_init(&b, 8);
	buf_add_format(&b, "%s", "1234");
	buf_add_format(&b, "%s", "56789");
	assert_true(buf_failed(&b));
	assert_string_equal(b.bytes, "1234");
	buf_reset(&b);
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 0);
	assert_string_equal(b.bytes, "");
	buf_add_format(&b, "%s", "12345678");
	assert_string_equal(b.bytes, "12345678");
}

static void sizes_that_overflow_are_refused(void **state)
{
	CLEANUP(buf_release) struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	buf_add_text(&b, "x");
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(buf_failed(&b));
	assert_string_equal(b.bytes, "x");
}

static void reserved_room_is_committed_in_part(void **state)
{
	CLEANUP(buf_release) struct buf b;
	char *room;

	(void)state;
	buf_init(&b, 100);
	room = buf_reserve(&b, 100);
	assert_non_null(room);
	memset(room, 'x', 100);
	buf_commit(&b, 3);
	assert_string_equal(b.bytes, "xxx");
	assert_non_null(buf_reserve(&b, 97));
	assert_null(buf_reserve(&b, 98));
}

static void released_it_may_be_used_again(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	buf_release(&b);
	buf_add_text(&b, "hello");
	assert_string_equal(b.bytes, "hello");
	buf_release(&b);
	buf_release(&b);
	assert_int_equal(b.max, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_grows_with_what_is_added),
	    cmocka_unit_test(the_maximum_is_a_limit_that_sticks),
	    cmocka_unit_test(formats_fail_as_a_whole),
	    cmocka_unit_test(sizes_that_overflow_are_refused),
	    cmocka_unit_test(reserved_room_is_committed_in_part),
	    cmocka_unit_test(released_it_may_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
