#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"

#include <string.h>

static void times_are_written_in_utc(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
	    {0, "1970-01-01T00:00:00Z"},
	    {999, "1970-01-01T00:00:00Z"},
	    {-1, "1969-12-31T23:59:59Z"},
	    {-1000, "1969-12-31T23:59:59Z"},
	    {1769903999000, "2026-01-31T23:59:59Z"},
	    {951782400000, "2000-02-29T00:00:00Z"},
	    {253402300799999, "9999-12-31T23:59:59Z"},
	    {INT64_MAX, "0000-00-00T00:00:00Z"}, /* beyond four digits of year */
	    {INT64_MIN, "0000-00-00T00:00:00Z"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(clock_format(cases[i].ms).text, cases[i].text);
}

static void time_goes_forward(void **state)
{
	int64_t us = clock_monotonic_us(), ms = clock_monotonic_ms();

	(void)state;
	assert_true(clock_monotonic_us() >= us);
	assert_in_range(ms - us / 1000, 0, 1000);
	assert_true(clock_wall_ms() > 1700000000000);
}

static void random_numbers_stay_below_and_reach_everything(void **state)
{
	static const uint64_t limits[] = {1, 2, 3, 7, 10};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		unsigned seen[10] = {0};

		for (int n = 0; n < 2000; n++) {
			uint64_t value = random_below(limits[i]);

			assert_true(value < limits[i]);
			seen[value]++;
		}
		for (uint64_t v = 0; v < limits[i]; v++)
			assert_in_range(seen[v], 2000 / limits[i] / 3, 2000);
	}
	assert_true(random_below(UINT64_MAX) != random_below(UINT64_MAX));
}

static void random_bytes_fill_it_all(void **state)
{
	unsigned char a[1000] = {0}, b[1000] = {0}, none[64] = {0};

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	random_bytes(b, 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t at = 0; at + sizeof(none) <= sizeof(a); at += sizeof(none))
		assert_memory_not_equal(a + at, none, sizeof(none));
}

static void waits_grow_up_to_the_cap(void **state)
{
	static const struct {
		unsigned attempt, base_ms, cap_ms, most;
	} cases[] = {
	    {0, 100, 5000, 100},
	    {1, 100, 5000, 200},
	    {3, 100, 5000, 800},
	    {10, 100, 5000, 5000},
	    {31, 100, 5000, 5000},
	    {1000000, 100, 5000, 5000},
	    {40, UINT32_MAX, UINT32_MAX, UINT32_MAX},
	    {0, 0, 5000, 0},
	    {50, 0, 5000, 0},
	    {5, 100, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned highest = 0;

		for (int n = 0; n < 300; n++) {
			unsigned wait = backoff_ms(cases[i].attempt, cases[i].base_ms, cases[i].cap_ms);

			highest = MAX(highest, wait);
		}
		assert_true(highest <= cases[i].most);
		assert_true(highest >= cases[i].most / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_are_written_in_utc),
	    cmocka_unit_test(time_goes_forward),
	    cmocka_unit_test(random_numbers_stay_below_and_reach_everything),
	    cmocka_unit_test(random_bytes_fill_it_all),
	    cmocka_unit_test(waits_grow_up_to_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
