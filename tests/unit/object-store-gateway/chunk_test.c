/* How chunks are put, read and asked for, on back ends that fail at every point where they can. */
#include "tests/unit/object-store-gateway/chunk_support.h"

/* Back ends on which chunks are written in steps, and all that can fail. */
static const enum fixture_kind in_steps[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS};
static const enum fixture_kind failing[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS,
                                            BACKEND_FAULTY_WITHIN};

/* ---- putting ---- */

static void failed_put_leaves_nothing_live(struct fixture *f)
{
	static const struct {
		enum fault fault;
		size_t held; /* in steps; within a transaction it is always 0 */
	} faults[] = {{FAULT_PUT_BEFORE, 0}, {FAULT_PUT_AFTER, 1}};
	bool steps = !f->store.current->driver->put_within;
	int64_t removed;
	size_t stored;

	f->store.write_grace_ms = 0;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		spoil(f, faults[i].fault, 1);
		assert_int_equal(put(f, "content", 7, &stored), ERR_UNAVAILABLE);
		assert_int_equal(rows_in(f, "live"), 0);
		nothing_half_there(f, steps ? faults[i].held : 0);
		assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
		assert_int_equal(stored, 7);
		must_get(f, "content", 7);
		assert_int_equal(sweep(f, &removed), ERR_OK);
		assert_int_equal(removed, steps ? 2 : 1);
		nothing_half_there(f, 0);
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	}
}

static void test_a_put_that_fails_leaves_nothing_that_the_sweep_does_not_take(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), failed_put_leaves_nothing_live);
}

static void unfinished_write_keeps_its_grace(struct fixture *f)
{
	int64_t removed;
	size_t stored;

	spoil(f, FAULT_PUT_AFTER, 1);
	assert_int_equal(put(f, "content", 7, &stored), ERR_UNAVAILABLE);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 0); /* its writer may be at it: write_grace_ms is an hour */
	assert_int_equal(rows_in(f, "writing"), 1);
	nothing_half_there(f, 1);
}

static void test_the_sweep_leaves_a_write_alone_that_may_still_be_under_way(void **state)
{
	(void)state;
	on_each(in_steps, ARRAY_SIZE(in_steps), unfinished_write_keeps_its_grace);
}

static void second_put_stores_nothing(struct fixture *f)
{
	size_t stored;

	assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
	assert_int_equal(stored, 7);
	assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
	assert_int_equal(stored, 0);
	nothing_half_there(f, 1);
}

static void test_a_chunk_that_is_there_is_not_written_again(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), second_put_stores_nothing);
}

static void put_that_meets_deleting_writes_anew(struct fixture *f)
{
	int64_t removed;
	size_t stored;

	must_put(f, "content", 7);
	spoil(f, FAULT_REMOVE_BEFORE, 1);
	assert_int_equal(sweep(f, &removed), ERR_UNAVAILABLE);
	assert_int_equal(rows_in(f, "deleting"), 1);
	assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
	assert_int_equal(stored, 7);
	nothing_half_there(f, 2);
	/* The late removal takes the old bytes, not the new ones. */
	fixture_sql(f, "UPDATE objects.chunk SET suspect = false WHERE state = 'live'");
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 1);
	must_get(f, "content", 7);
	nothing_half_there(f, 1);
}

static void test_a_put_that_meets_a_chunk_being_deleted_writes_it_anew(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), put_that_meets_deleting_writes_anew);
}

/* What others do while a put has written its bytes and not yet made its row live. */
static void sweep_takes_the_row(void *arg)
{
	fixture_sql(arg, "DELETE FROM objects.chunk");
}

static void put_taken_for_dead_removes_its_bytes(struct fixture *f)
{
	size_t stored;

	f->faults.meanwhile = sweep_takes_the_row;
	f->faults.meanwhile_arg = f;
	assert_int_equal(put(f, "content", 7, &stored), ERR_UNAVAILABLE);
	f->faults.meanwhile = NULL;
	nothing_half_there(f, 0);
	must_put(f, "content", 7);
	nothing_half_there(f, 1);
}

static void test_a_put_that_was_taken_for_dead_removes_what_it_wrote(void **state)
{
	(void)state;
	on_each(in_steps, ARRAY_SIZE(in_steps), put_taken_for_dead_removes_its_bytes);
}

static void another_put_is_faster(void *arg)
{
	struct fixture *f = arg;

	f->faults.meanwhile = NULL;
	must_put(f, "content", 7);
}

static void slower_put_gives_way(struct fixture *f)
{
	int64_t removed;
	size_t stored;

	f->faults.meanwhile = another_put_is_faster;
	f->faults.meanwhile_arg = f;
	assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
	assert_int_equal(stored, 0);
	assert_int_equal(rows_in(f, "live"), 1);
	assert_int_equal(rows_in(f, "deleting"), 1);
	nothing_half_there(f, 2);
	fixture_sql(f, "UPDATE objects.chunk SET suspect = false WHERE state = 'live'");
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 1);
	must_get(f, "content", 7);
}

static void test_of_two_puts_at_once_the_slower_gives_way_and_both_succeed(void **state)
{
	(void)state;
	on_each(in_steps, ARRAY_SIZE(in_steps), slower_put_gives_way);
}

static void bad_puts_are_refused(struct fixture *f)
{
	struct digest d = digest_of("content", 7);
	char *huge = talloc_zero_size(f, CHUNK_MAX + 1);
	size_t stored;
	struct err e;

	assert_int_equal(chunk_put(&f->store, &d, "Content", 7, &stored, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, digest_text(&d).text));
	assert_int_equal(put(f, "", 0, &stored), ERR_INVALID);
	assert_int_equal(put(f, huge, CHUNK_MAX + 1, &stored), ERR_INVALID);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	must_put(f, huge, CHUNK_MAX);
	must_get(f, huge, CHUNK_MAX);
}

static void test_what_is_not_a_chunk_is_refused_and_leaves_nothing(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), bad_puts_are_refused);
}

static void compression_case(struct fixture *f)
{
	char text[3000], noise[3000];
	size_t stored;

	memset(text, 'a', sizeof(text));
	fixture_noise(noise, sizeof(noise), 1);
	assert_int_equal(put(f, text, sizeof(text), &stored), ERR_OK);
	assert_true(stored < 100);
	assert_int_equal(put(f, noise, sizeof(noise), &stored), ERR_OK);
	assert_int_equal(stored, sizeof(noise));
	assert_int_equal(put(f, text, 1023, &stored), ERR_OK); /* below compress_min */
	assert_int_equal(stored, 1023);
	f->store.compress = false;
	assert_int_equal(put(f, text, 2999, &stored), ERR_OK);
	assert_int_equal(stored, 2999);
	must_get(f, text, sizeof(text));
	must_get(f, noise, sizeof(noise));
	must_get(f, text, 1023);
	must_get(f, text, 2999);
}

static void test_compression_is_kept_where_it_helps_and_where_it_is_wanted(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), compression_case);
}

/* ---- getting ---- */

static void damage_is_corrupt(struct fixture *f)
{
	static const enum fault lies[] = {FAULT_GET_FLIPS, FAULT_GET_SHORT, FAULT_GET_NOTHING};
	char noise[2000], text[2000];

	fixture_noise(noise, sizeof(noise), 1);
	memset(text, 'x', sizeof(text));
	must_put(f, noise, sizeof(noise));
	must_put(f, text, sizeof(text)); /* compressed: the damage meets zstd first */
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct err e = {0};

		spoil(f, lies[i], EACH_READ);
		assert_int_equal(get(f, noise, sizeof(noise), &e), ERR_CORRUPT);
		assert_non_null(strstr(e.text, "object_store"));
		spoil(f, lies[i], EACH_READ);
		assert_int_equal(get(f, text, sizeof(text), &e), ERR_CORRUPT);
		must_get(f, noise, sizeof(noise));
		must_get(f, text, sizeof(text));
		/* What was damaged on its way only is no damage. */
		spoil(f, lies[i], EACH_READ - 1);
		must_get(f, noise, sizeof(noise));
	}
}

static void test_a_back_end_that_lies_is_found_out(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), damage_is_corrupt);
}

static void unreachable_is_no_damage(struct fixture *f)
{
	struct err e = {0};

	must_put(f, "content", 7);
	spoil(f, FAULT_GET_FAILS, 1);
	assert_int_equal(get(f, "content", 7, &e), ERR_UNAVAILABLE);
	must_get(f, "content", 7);
	fixture_sql(f, "UPDATE objects.chunk SET backend = 4242");
	assert_int_equal(get(f, "content", 7, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "4242"));
}

static void test_a_back_end_that_is_away_is_no_damage(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), unreachable_is_no_damage);
}

static void rows_are_not_believed(struct fixture *f)
{
	static const char *const lies[] = {
	    "UPDATE objects.chunk SET size = size + 1", "UPDATE objects.chunk SET stored_size = stored_size - 1",
	    "UPDATE objects.chunk SET codec = 'zstd'",  "UPDATE objects.chunk SET stored_size = 2000000000",
	    "UPDATE objects.chunk SET stored_size = 0",
	};
	SCRATCH_CTX(ctx);
	struct chunk chunk;
	void *bytes;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		fixture_sql(f, "DELETE FROM objects.chunk");
		must_put(f, "content", 7);
		fixture_sql(f, lies[i]);
		assert_true(find(f, ctx, "content", 7, &chunk));
		assert_int_equal(chunk_get(&f->store, ctx, &chunk, &bytes, &e), ERR_CORRUPT);
	}
}

static void test_a_row_that_is_wrong_is_corrupt_too(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), rows_are_not_believed);
}

/* ---- states ---- */

static void states_are_compared_and_set(struct fixture *f)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct chunk_moved moved;
	int64_t id;
	struct err e;

	must_put(f, "content", 7);
	id = fixture_number(f, "SELECT id FROM objects.chunk");
	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	assert_int_equal(chunk_set_state(db, &id, 1, CHUNK_WRITING, CHUNK_DELETING, &moved, &e), ERR_OK);
	assert_int_equal(moved.rows, 0);
	assert_int_equal(rows_in(f, "live"), 1);
	assert_int_equal(chunk_set_state(db, &id, 1, CHUNK_DELETING, CHUNK_NONE, &moved, &e), ERR_OK);
	assert_int_equal(moved.rows, 0);
	assert_int_equal(chunk_set_state(db, &id, 1, CHUNK_LIVE, CHUNK_DELETING, &moved, &e), ERR_OK);
	assert_int_equal(moved.rows, 1);
	assert_int_equal(moved.stored_bytes, 7);
	assert_int_equal(chunk_set_state(db, &id, 1, CHUNK_LIVE, CHUNK_DELETING, &moved, &e), ERR_OK);
	assert_int_equal(moved.rows, 0);
	assert_int_equal(chunk_set_state(db, NULL, 0, CHUNK_LIVE, CHUNK_DELETING, &moved, &e), ERR_OK);
}

static void test_a_state_changes_only_from_what_it_is(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), states_are_compared_and_set);
}

/* ---- asking ---- */

static void need_tells_what_is_missing(struct fixture *f)
{
	struct digest ask[4] = {digest_of("one", 3), digest_of("two", 3), digest_of("one", 3), digest_of("two", 3)};
	struct digest missing[4];
	size_t count;
	int64_t removed;
	struct err e;

	must_put(f, "one", 3);
	assert_int_equal(chunk_need(&f->store, ask, 4, missing, &count, &e), ERR_OK);
	assert_int_equal(count, 1);
	assert_true(digest_equal(&missing[0], &ask[1]));
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(chunk_need(&f->store, ask, 4, missing, &count, &e), ERR_OK);
	assert_int_equal(count, 2);
}

static void test_need_names_each_missing_chunk_once(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), need_tells_what_is_missing);
}

static void asking_renews_the_grace(struct fixture *f)
{
	struct digest d = digest_of("one", 3), missing;
	struct gc_result result;
	size_t count, stored;
	struct err e;

	for (int by_put = 0; by_put < 2; by_put++) {
		must_put(f, "one", 3);
		fixture_sql(f, "UPDATE objects.chunk SET touched_at = now() - interval '2 hours'");
		if (by_put)
			assert_int_equal(put(f, "one", 3, &stored), ERR_OK);
		else
			assert_int_equal(chunk_need(&f->store, &d, 1, &missing, &count, &e), ERR_OK);
		assert_int_equal(gc_run(&f->store, f->store.grace_ms, 100, &result, &e), ERR_OK);
		assert_int_equal(result.removed, 0);
	}
}

static void test_asking_for_a_chunk_and_putting_it_renew_its_grace(void **state)
{
	(void)state;
	on_each(failing, ARRAY_SIZE(failing), asking_renews_the_grace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_put_that_fails_leaves_nothing_that_the_sweep_does_not_take),
	    cmocka_unit_test(test_the_sweep_leaves_a_write_alone_that_may_still_be_under_way),
	    cmocka_unit_test(test_a_chunk_that_is_there_is_not_written_again),
	    cmocka_unit_test(test_a_put_that_meets_a_chunk_being_deleted_writes_it_anew),
	    cmocka_unit_test(test_a_put_that_was_taken_for_dead_removes_what_it_wrote),
	    cmocka_unit_test(test_of_two_puts_at_once_the_slower_gives_way_and_both_succeed),
	    cmocka_unit_test(test_what_is_not_a_chunk_is_refused_and_leaves_nothing),
	    cmocka_unit_test(test_compression_is_kept_where_it_helps_and_where_it_is_wanted),
	    cmocka_unit_test(test_a_back_end_that_lies_is_found_out),
	    cmocka_unit_test(test_a_back_end_that_is_away_is_no_damage),
	    cmocka_unit_test(test_a_row_that_is_wrong_is_corrupt_too),
	    cmocka_unit_test(test_a_state_changes_only_from_what_it_is),
	    cmocka_unit_test(test_need_names_each_missing_chunk_once),
	    cmocka_unit_test(test_asking_for_a_chunk_and_putting_it_renew_its_grace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
