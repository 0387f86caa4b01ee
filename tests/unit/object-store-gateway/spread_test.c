/* Parts of a job worked on by several threads: each once, never too many, and nothing goes on after the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/drivers/spread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define PARTS 100

struct job {
	size_t fails_at; /* this part fails; PARTS: none does */
	atomic_int times[PARTS];
	atomic_int at_work, most;
};

static void rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static enum err_code work_on(void *arg, size_t part, struct err *e)
{
	struct job *job = arg;
	int now = atomic_fetch_add(&job->at_work, 1) + 1, most = atomic_load(&job->most);

	while (now > most && !atomic_compare_exchange_weak(&job->most, &most, now))
		;
	atomic_fetch_add(&job->times[part], 1);
	rest();
	atomic_fetch_sub(&job->at_work, 1);
	return part == job->fails_at ? ERR(e, ERR_CONFLICT, "part %zu", part) : ERR_OK;
}

static void every_part_is_worked_on_once_by_several_threads(void **state)
{
	static const size_t counts[] = {0, 1, 2, SPREAD_THREADS, SPREAD_THREADS + 1, PARTS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct job job = {.fails_at = PARTS};
		struct err e;

		assert_int_equal(spread(counts[i], work_on, &job, &e), ERR_OK);
		for (size_t part = 0; part < PARTS; part++)
			assert_int_equal(job.times[part], part < counts[i]);
		assert_int_equal(job.at_work, 0);
		assert_true(job.most <= SPREAD_THREADS && (counts[i] < PARTS || job.most > 1));
	}
}

static void after_a_failure_no_part_begins_and_none_goes_on(void **state)
{
	static const size_t failures[] = {0, 20, PARTS - 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		struct job job = {.fails_at = failures[i]};
		char text[32];
		struct err e;
		size_t begun = 0;

		assert_int_equal(spread(PARTS, work_on, &job, &e), ERR_CONFLICT);
		snprintf(text, sizeof(text), "part %zu", failures[i]);
		assert_string_equal(e.text, text);
		assert_int_equal(job.at_work, 0);
		for (size_t part = 0; part < PARTS; part++)
			begun += (size_t)job.times[part];
		assert_true(begun > failures[i] && (failures[i] || begun < PARTS));
		assert_int_equal(spread(PARTS, work_on, &(struct job){.fails_at = failures[i]}, NULL), ERR_CONFLICT);
	}
}

static void shares_are_equal_but_neither_small_nor_too_large(void **state)
{
	static const struct {
		size_t count, most, share;
	} cases[] = {
	    {1, 1000, 100},     {100, 1000, 100},       {800, 1000, 100}, {801, 1000, 101}, {1000, 1000, 125},
	    {8001, 1000, 1000}, {SIZE_MAX, 1000, 1000}, {1000, 50, 50},   {5, 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(spread_share(cases[i].count, cases[i].most), cases[i].share);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_part_is_worked_on_once_by_several_threads),
	    cmocka_unit_test(after_a_failure_no_part_begins_and_none_goes_on),
	    cmocka_unit_test(shares_are_equal_but_neither_small_nor_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
