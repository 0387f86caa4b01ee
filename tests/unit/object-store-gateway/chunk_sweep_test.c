/* How chunks are swept, on back ends that fail at every point where they can, and while others put them. */
#include "tests/unit/object-store-gateway/chunk_support.h"

#include <pthread.h>

/* Back ends on which everything can fail. */
static const enum fixture_kind failing[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS,
                                            BACKEND_FAULTY_WITHIN};

/* ---- sweeping ---- */

static void failed_removal_is_resumed(struct fixture *f)
{
	static const enum fault faults[] = {FAULT_REMOVE_BEFORE, FAULT_REMOVE_SOME, FAULT_REMOVE_AFTER};
	int64_t removed;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		must_put(f, "one", 3);
		must_put(f, "two", 3);
		must_put(f, "three", 5);
		spoil(f, faults[i], 1);
		assert_int_equal(sweep(f, &removed), ERR_UNAVAILABLE);
		assert_int_equal(removed, 0);
		assert_int_equal(rows_in(f, "deleting"), 3);
		assert_int_equal(rows_in(f, "live"), 0);
		assert_int_equal(sweep(f, &removed), ERR_OK);
		assert_int_equal(removed, 3);
		nothing_half_there(f, 0);
	}
}

static void test_a_removal_that_failed_is_repeated(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), failed_removal_is_resumed);
}

static void sweep_respects_grace_and_limit(struct fixture *f)
{
	struct gc_result result;
	struct err e;

	for (int i = 0; i < 25; i++)
		must_put(f, &i, sizeof(i));
	assert_int_equal(gc_run(&f->store, 3600000, 1000, &result, &e), ERR_OK);
	assert_int_equal(result.removed, 0);
	assert_false(result.more);
	fixture_sql(f, "UPDATE objects.chunk SET touched_at = now() - interval '2 hours' WHERE id % 2 = 0");
	assert_int_equal(gc_run(&f->store, 3600000, 5, &result, &e), ERR_OK);
	assert_int_equal(result.removed, 5);
	assert_int_equal(result.freed_bytes, 5 * sizeof(int));
	assert_true(result.more);
	assert_int_equal(gc_run(&f->store, 3600000, 1000, &result, &e), ERR_OK);
	assert_true(result.removed == 7 || result.removed == 8);
	assert_false(result.more);
	nothing_half_there(f, (size_t)rows_in(f, "live"));
}

static void test_the_sweep_takes_what_is_old_enough_batch_by_batch(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), sweep_respects_grace_and_limit);
}

static void stores_do_not_share(struct fixture *f)
{
	struct digest d = digest_of("content", 7);
	int64_t removed;
	size_t stored;
	struct err e;

	must_put(f, "content", 7);
	assert_int_equal(chunk_put(&f->archive, &d, "content", 7, &stored, &e), ERR_OK);
	assert_int_equal(stored, 7);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE store = 'analysis_archive'"), 1);
}

static void test_the_sweep_of_one_store_leaves_the_other_alone(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), stores_do_not_share);
}

/* ---- many at once ---- */

struct crowd {
	struct fixture *f;
	pthread_t thread;
	unsigned number;
	atomic_bool *over;
	int failures, swept;
};

static void *put_the_same(void *arg)
{
	struct crowd *c = arg;
	char bytes[2000];
	size_t stored;
	struct err e;

	for (unsigned i = 0; i < 30; i++) {
		struct digest d;

		fixture_noise(bytes, sizeof(bytes), i);
		d = digest_of(bytes, sizeof(bytes));
		c->failures += chunk_put(&c->f->store, &d, bytes, sizeof(bytes), &stored, &e) != ERR_OK;
	}
	return NULL;
}

static void *sweep_on(void *arg)
{
	struct crowd *c = arg;
	int64_t removed;

	while (!atomic_load(c->over)) {
		c->failures += sweep(c->f, &removed) != ERR_OK;
		c->swept += (int)removed;
	}
	return NULL;
}

static void crowd_case(struct fixture *f, bool sweeping)
{
	enum { PUTTERS = 6 };
	atomic_bool over = false;
	struct crowd putters[PUTTERS] = {0}, sweepers[2] = {0};

	for (unsigned i = 0; i < PUTTERS; i++) {
		putters[i] = (struct crowd){.f = f, .number = i, .over = &over};
		assert_int_equal(pthread_create(&putters[i].thread, NULL, put_the_same, &putters[i]), 0);
	}
	for (unsigned i = 0; i < 2 && sweeping; i++) {
		sweepers[i] = (struct crowd){.f = f, .over = &over};
		assert_int_equal(pthread_create(&sweepers[i].thread, NULL, sweep_on, &sweepers[i]), 0);
	}
	for (unsigned i = 0; i < PUTTERS; i++)
		pthread_join(putters[i].thread, NULL);
	atomic_store(&over, true);
	for (unsigned i = 0; i < 2 && sweeping; i++)
		pthread_join(sweepers[i].thread, NULL);
	for (unsigned i = 0; i < PUTTERS; i++)
		assert_int_equal(putters[i].failures, 0);
	assert_int_equal(sweepers[0].failures + sweepers[1].failures, 0);
}

static void same_chunks_from_everybody(struct fixture *f)
{
	int64_t removed;

	crowd_case(f, false);
	assert_int_equal(rows_in(f, "live"), 30);
	assert_int_equal(rows_in(f, "writing"), 0);
	fixture_sql(f, "UPDATE objects.chunk SET suspect = false WHERE state = 'live'");
	assert_int_equal(sweep(f, &removed), ERR_OK);
	nothing_half_there(f, 30);
}

static void test_everybody_may_put_the_same_chunks_at_once(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), same_chunks_from_everybody);
}

static void puts_and_sweeps_at_once(struct fixture *f)
{
	int64_t removed;

	crowd_case(f, true);
	nothing_half_there(
	    f, (size_t)fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE store = 'object_store'"));
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	nothing_half_there(f, 0);
}

static void test_puts_and_sweeps_without_grace_leave_nothing_half_there(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), puts_and_sweeps_at_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_removal_that_failed_is_repeated),
	    cmocka_unit_test(test_the_sweep_takes_what_is_old_enough_batch_by_batch),
	    cmocka_unit_test(test_the_sweep_of_one_store_leaves_the_other_alone),
	    cmocka_unit_test(test_everybody_may_put_the_same_chunks_at_once),
	    cmocka_unit_test(test_puts_and_sweeps_without_grace_leave_nothing_half_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
