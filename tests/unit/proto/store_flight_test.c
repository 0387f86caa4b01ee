#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/store_flight.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

struct job {
	struct store_task task;
	int number, sleep_ms;
	int together; /* it goes on when so many ran at a time */
	enum err_code fails;
	atomic_int *running, *most, *ran;
	int result;
};

static enum err_code run(struct store_task *task, struct err *e)
{
	struct job *job = (struct job *)task;
	int now = atomic_fetch_add(job->running, 1) + 1, most = atomic_load(job->most);

	while (now > most && !atomic_compare_exchange_weak(job->most, &most, now))
		;
	for (int i = 0; i < 10000 && atomic_load(job->most) < job->together; i++)
		usleep(1000);
	usleep((useconds_t)job->sleep_ms * 1000);
	job->result = job->number * 2;
	atomic_fetch_add(job->ran, 1);
	atomic_fetch_sub(job->running, 1);
	return job->fails ? ERR(e, job->fails, "job %d", job->number) : ERR_OK;
}

struct fixture {
	atomic_int running, most, ran;
	struct job jobs[32];
	struct store_flight *flight;
};

static int setup(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);

	for (size_t i = 0; i < ARRAY_SIZE(f->jobs); i++)
		f->jobs[i] = (struct job){
		    .task.run = run, .number = (int)i, .running = &f->running, .most = &f->most, .ran = &f->ran};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	talloc_free(*state);
	return 0;
}

static void tasks_come_back_in_order_whichever_ends_first(void **state)
{
	static const size_t widths[] = {1, 2, 3, STORE_FLIGHT_MAX};

	for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
		struct fixture *f = *state;
		size_t back = 0;

		f->flight = store_flight_new(f, widths[w]);
		f->most = 0;
		for (size_t i = 0; i < ARRAY_SIZE(f->jobs); i++) {
			f->jobs[i].sleep_ms = (int)(i * 7 % 5) * 2;
			f->jobs[i].result = -1;
			if (store_flight_count(f->flight) == widths[w]) {
				assert_ptr_equal(store_flight_pop(f->flight), &f->jobs[back].task);
				assert_int_equal(f->jobs[back].result, 2 * (int)back);
				back++;
			}
			store_flight_push(f->flight, &f->jobs[i].task);
		}
		while (store_flight_count(f->flight)) {
			assert_ptr_equal(store_flight_pop(f->flight), &f->jobs[back].task);
			assert_int_equal(f->jobs[back].task.code, ERR_OK);
			back++;
		}
		assert_int_equal(back, ARRAY_SIZE(f->jobs));
		assert_in_range(f->most, 1, widths[w]);
		TALLOC_FREE(f->flight);
	}
}

static void all_of_them_run_at_a_time(void **state)
{
	struct fixture *f = *state;

	f->flight = store_flight_new(f, 3);
	for (size_t i = 0; i < 3; i++) {
		f->jobs[i].together = 3;
		store_flight_push(f->flight, &f->jobs[i].task);
	}
	while (store_flight_count(f->flight))
		store_flight_pop(f->flight);
	assert_int_equal(f->most, 3);
}

static void a_failure_keeps_its_code_and_text(void **state)
{
	struct fixture *f = *state;

	f->flight = store_flight_new(f, 2);
	f->jobs[0].fails = ERR_CORRUPT;
	store_flight_push(f->flight, &f->jobs[0].task);
	store_flight_push(f->flight, &f->jobs[1].task);
	assert_int_equal(store_flight_pop(f->flight)->code, ERR_CORRUPT);
	assert_string_equal(f->jobs[0].task.error.text, "job 0");
	assert_int_equal(store_flight_pop(f->flight)->code, ERR_OK);
}

static void cancelling_waits_for_what_runs_and_it_can_be_used_again(void **state)
{
	struct fixture *f = *state;

	f->flight = store_flight_new(f, 3);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < 3; i++) {
			f->jobs[i].sleep_ms = 10;
			store_flight_push(f->flight, &f->jobs[i].task);
		}
		store_flight_cancel(f->flight);
		assert_int_equal(store_flight_count(f->flight), 0);
		assert_int_equal(f->running, 0);
	}
	store_flight_push(f->flight, &f->jobs[9].task);
	assert_ptr_equal(store_flight_pop(f->flight), &f->jobs[9].task);
	assert_int_equal(f->jobs[9].result, 18);
}

static void freeing_it_waits_for_what_runs(void **state)
{
	struct fixture *f = *state;

	f->flight = store_flight_new(f, 2);
	f->jobs[0].sleep_ms = 50;
	store_flight_push(f->flight, &f->jobs[0].task);
	store_flight_push(f->flight, &f->jobs[1].task);
	usleep(10000);
	TALLOC_FREE(f->flight);
	assert_int_equal(f->running, 0);
	TALLOC_FREE(f->flight);
	f->flight = store_flight_new(f, 2); /* one that never had work */
	TALLOC_FREE(f->flight);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(tasks_come_back_in_order_whichever_ends_first),
	    TEST(all_of_them_run_at_a_time),
	    TEST(a_failure_keeps_its_code_and_text),
	    TEST(cancelling_waits_for_what_runs_and_it_can_be_used_again),
	    TEST(freeing_it_waits_for_what_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
