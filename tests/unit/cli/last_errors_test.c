#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/last_errors.h"

#include <string.h>

#define AT(n) "2026-01-0" n "T10:00:00.000Z WARN  catalog: "

static void equal_ones_are_counted_and_the_newest_is_shown(void **state)
{
	static const char *const lines[] = {
	    AT("9") "gateway away request=aa trace=bb account=x",
	    AT("8") "gateway away request=cc trace=dd account=x",
	    AT("7") "disk full free=1",
	    AT("6") "gateway away account=x",
	    AT("5") "disk full free=2",
	    AT("4") "gateway away request=ee trace=ff account=y",
	    AT("3") "gateway away request=gg trace=hh account=x",
	};
	struct last_error errors[4];

	(void)state;
	assert_int_equal(last_errors_collapse(lines, ARRAY_SIZE(lines), errors, 4), 4);
	assert_string_equal(errors[0].line, lines[0]);
	assert_int_equal(errors[0].count, 4);
	assert_string_equal(errors[1].line, lines[2]);
	assert_int_equal(errors[1].count, 1);
	assert_string_equal(errors[2].line, lines[4]);
	assert_string_equal(errors[3].line, lines[5]);
}

static void what_is_beyond_is_dropped_and_the_rest_counted_to_the_end(void **state)
{
	static const char *const lines[] = {AT("9") "a", AT("8") "b", AT("7") "c", AT("6") "a", AT("5") "b"};
	struct last_error errors[2];

	(void)state;
	assert_int_equal(last_errors_collapse(lines, ARRAY_SIZE(lines), errors, 2), 2);
	assert_int_equal(errors[0].count, 2);
	assert_int_equal(errors[1].count, 2);
	assert_int_equal(last_errors_collapse(lines, 0, errors, 2), 0);
}

static void odd_lines_are_compared_as_they_are(void **state)
{
	static const char *const lines[] = {"", "", "x", "y", "x ", "x a request=", "x a"};
	struct last_error errors[8];

	(void)state;
	/* One word is a time; a time differs. */
	assert_int_equal(last_errors_collapse(lines, ARRAY_SIZE(lines), errors, 8), 3);
	assert_int_equal(errors[0].count, 4);
	assert_string_equal(errors[1].line, "x ");
	assert_int_equal(errors[2].count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_ones_are_counted_and_the_newest_is_shown),
	    cmocka_unit_test(what_is_beyond_is_dropped_and_the_rest_counted_to_the_end),
	    cmocka_unit_test(odd_lines_are_compared_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
