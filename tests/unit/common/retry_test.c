#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/retry.h"

#include <string.h>

static const struct retry_policy quick = {.attempts = 4, .base_ms = 1, .cap_ms = 2, .budget_ms = 1000};

static bool stop_now(void *arg)
{
	++*(int *)arg;
	return true;
}

static unsigned attempts_until_end(struct retry *retry, enum err_code code, unsigned retry_ms, struct err *e)
{
	unsigned attempts = 0;

	do {
		attempts++;
		(void)!ERR(e, code, "attempt %u", attempts);
		e->retry_ms = retry_ms;
	} while (attempts < 100 && retry_again(retry, e));
	return attempts;
}

static void transient_errors_use_all_attempts_others_one(void **state)
{
	static const struct {
		enum err_code code;
		unsigned attempts;
	} cases[] = {{ERR_UNAVAILABLE, 4}, {ERR_EXHAUSTED, 4}, {ERR_DEADLINE, 4}, {ERR_NOT_FOUND, 1},
	             {ERR_CORRUPT, 1},     {ERR_CANCELLED, 1}, {ERR_CONFLICT, 1}, {ERR_PRECONDITION, 1}};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct retry retry = retry_start(&quick, NULL);

		assert_int_equal(attempts_until_end(&retry, cases[i].code, 0, &e), cases[i].attempts);
		assert_int_equal(e.code, cases[i].code);
	}
}

static void a_longer_wait_than_the_budget_gives_up_at_once(void **state)
{
	struct retry retry = retry_start(&quick, NULL);
	int64_t start = clock_monotonic_ms();
	struct err e;

	(void)state;
	assert_int_equal(attempts_until_end(&retry, ERR_EXHAUSTED, 60000, &e), 1);
	assert_int_equal(e.retry_ms, 60000);
	assert_true(clock_monotonic_ms() - start < 30000);
}

static void retry_after_is_waited_out(void **state)
{
	struct retry retry = retry_start(&quick, NULL);
	int64_t start = clock_monotonic_ms();
	struct err e;

	(void)state;
	(void)!ERR(&e, ERR_EXHAUSTED, "later");
	e.retry_ms = 120;
	assert_true(retry_again(&retry, &e));
	assert_true(clock_monotonic_ms() - start >= 120);
}

static void no_wait_goes_beyond_the_deadline(void **state)
{
	static const struct retry_policy rich = {.attempts = 4, .base_ms = 1, .cap_ms = 2, .budget_ms = 60000};
	struct patience patience = {.deadline_ms = clock_monotonic_ms() + 10000};
	struct retry retry = retry_start(&rich, &patience);
	int64_t start = clock_monotonic_ms();
	struct err e;

	(void)state;
	assert_int_equal(attempts_until_end(&retry, ERR_UNAVAILABLE, 30000, &e), 1);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	assert_true(clock_monotonic_ms() - start < 9000);
}

static void a_stop_ends_the_wait_as_cancelled(void **state)
{
	int asked = 0;
	struct patience patience = {.stop = stop_now, .stop_arg = &asked};
	struct retry retry = retry_start(&quick, &patience);
	struct err e;

	(void)state;
	assert_int_equal(attempts_until_end(&retry, ERR_UNAVAILABLE, 900, &e), 1);
	assert_int_equal(e.code, ERR_CANCELLED);
	assert_int_equal(asked, 1);
	assert_non_null(strstr(e.text, "attempt 1"));
}

static void progress_gives_the_attempts_back(void **state)
{
	struct retry retry = retry_start(&quick, NULL);
	struct err e;

	(void)state;
	assert_int_equal(attempts_until_end(&retry, ERR_UNAVAILABLE, 0, &e), 4);
	retry_progress(&retry);
	assert_int_equal(attempts_until_end(&retry, ERR_UNAVAILABLE, 0, &e), 4);
}

static void patience_ends_with_its_deadline(void **state)
{
	struct patience over = {.deadline_ms = 1}, not_yet = {.deadline_ms = clock_monotonic_ms() + 60000};
	struct err e;

	(void)state;
	assert_int_equal(patience_check(NULL, "it", &e), ERR_OK);
	assert_int_equal(patience_check(&not_yet, "it", &e), ERR_OK);
	assert_int_equal(patience_check(&over, "it", &e), ERR_DEADLINE);
	assert_int_equal(patience_left(&over), 0);
	assert_true(patience_left(NULL) == INT64_MAX);
	assert_in_range(patience_left(&not_yet), 50000, 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(transient_errors_use_all_attempts_others_one),
	    cmocka_unit_test(a_longer_wait_than_the_budget_gives_up_at_once),
	    cmocka_unit_test(retry_after_is_waited_out),
	    cmocka_unit_test(no_wait_goes_beyond_the_deadline),
	    cmocka_unit_test(a_stop_ends_the_wait_as_cancelled),
	    cmocka_unit_test(progress_gives_the_attempts_back),
	    cmocka_unit_test(patience_ends_with_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
