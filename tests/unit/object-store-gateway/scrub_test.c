/* The reading-back in the background: passes, pace, and what they find. */
#include "services/object-store-gateway/scrub.h"
#include "tests/unit/object-store-gateway/busy_support.h"

#include <pthread.h>
#include <stdatomic.h>

static const enum fixture_kind kinds[] = {BACKEND_MEM, BACKEND_DB, BACKEND_LOCALFS, BACKEND_FAULTY_WITHIN};

/* Never sleeps. What a process does that is drained after so many chunks. */
struct host {
	int left; /* turns until it ends; negative: for ever */
	int64_t waited_ms;
	void (*meanwhile)(void *arg);
	void *arg;
};

static bool never_sleep(void *arg, int64_t ms)
{
	struct host *h = arg;

	h->waited_ms += ms;
	if (h->meanwhile)
		h->meanwhile(h->arg);
	return h->left < 0 || h->left-- > 0;
}

static struct scrub scrub_of(struct store *s, struct host *h)
{
	return (struct scrub){.store = s, .wait = never_sleep, .arg = h};
}

static bool begin(struct scrub *scrub, int64_t interval_ms)
{
	struct err e;
	bool due;

	fixture_must(scrub_begin(scrub, interval_ms, &due, &e), &e);
	return due;
}

static void step(struct scrub *scrub)
{
	struct err e;

	fixture_must(scrub_step(scrub, &e), &e);
}

/* One whole pass. */
static struct scrub_pass run(struct store *s)
{
	struct host host = {.left = -1};
	struct scrub scrub = scrub_of(s, &host);

	assert_true(begin(&scrub, 0));
	while (!scrub.pass.finished_at)
		step(&scrub);
	return scrub.pass;
}

static void put_many(struct store *s, int from, int to)
{
	char key[16];

	for (int i = from; i < to; i++) {
		snprintf(key, sizeof(key), "doc %d", i);
		must_put(s, key, key);
	}
}

/* ---- pace ---- */

static void bytes_are_spread_evenly(void **state)
{
	struct pace p = {.rate = 1000}, free = {0};

	(void)state;
	assert_int_equal(pace_turn(&p, 5000000, 500), 0);
	assert_int_equal(pace_turn(&p, 5000000, 250), 500000);
	assert_int_equal(pace_turn(&p, 5600000, 1000), 150000);
	/* An hour without work is no licence for an hour's bytes at once. */
	assert_int_equal(pace_turn(&p, 3600000000, 1000), 0);
	assert_int_equal(pace_turn(&p, 3600000000, 1), 1000000);
	assert_int_equal(pace_turn(&free, 0, 1 << 30), 0);
	assert_int_equal(pace_turn(&free, 0, 1 << 30), 0);
}

static void small_chunks_count_for_more_than_they_are(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct host host = {.left = -1};
	struct scrub scrub = scrub_of(&f->store, &host);

	(void)state;
	put_many(&f->store, 0, 5);
	scrub.pace.rate = SCRUB_CHUNK_LEAST;
	assert_true(begin(&scrub, 0));
	step(&scrub);
	/* Second to fifth wait for one, two, three, four seconds: nobody slept. */
	assert_in_range(host.waited_ms, 9000, 10000);
	fixture_free(f);
}

/* ---- finding ---- */

static void damage_is_found_marked_and_healed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		struct scrub_pass pass;

		put_many(&f->store, 0, 10);
		must_put(&f->archive, "copy", "doc 3");
		spoil(&f->store, "doc 3"); /* has a copy */
		lose(&f->store, "doc 5");  /* has none */
		pass = run(&f->store);
		assert_int_equal(pass.number, 1);
		assert_int_equal(pass.chunks, 10);
		assert_int_equal(pass.bytes, 50);
		assert_int_equal(pass.damaged, 2);
		assert_int_equal(pass.healed, 1);
		assert_int_equal(pass.unreachable, 0);
		must_get(&f->store, "doc 3", "doc 3");
		assert_true(live_of(&f->store, "doc 5").damaged);
		assert_int_equal(count_marked(f), 1);
		/* When there is a copy at last, the next pass heals that one, too; then there is nothing any more. */
		must_put(&f->archive, "late copy", "doc 5");
		pass = run(&f->store);
		assert_int_equal(pass.number, 2);
		assert_int_equal(pass.damaged, 1);
		assert_int_equal(pass.healed, 1);
		assert_int_equal(count_marked(f), 0);
		pass = run(&f->store);
		assert_int_equal(pass.chunks, 10);
		assert_int_equal(pass.damaged, 0);
		fixture_free(f);
	}
}

static void the_archive_is_scrubbed_like_the_working_set(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_LOCALFS);
	struct scrub_pass pass;

	(void)state;
	put_many(&f->store, 0, 3);
	put_many(&f->archive, 0, 5);
	spoil(&f->archive, "doc 1");
	pass = run(&f->archive);
	assert_int_equal(pass.chunks, 5);
	assert_int_equal(pass.healed, 1);
	pass = run(&f->store);
	assert_int_equal(pass.number, 1);
	assert_int_equal(pass.chunks, 3);
	assert_int_equal(pass.damaged, 0);
	fixture_free(f);
}

static void spare_copies_are_read_back_as_well(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct backend *first = f->store.current;
	struct chunk_kept old;
	struct scrub_pass pass;
	struct store open;
	struct err e = {0};
	bool done;

	(void)state;
	must_put(&f->store, "doc", "doc");
	old = live_of(&f->store, "doc");
	change_backend(f, &open, &driver_db);
	assert_int_equal(chunk_rewrite(&f->store, &old.chunk, "doc", f->store.current, CHUNK_SPARE, &done, &e), ERR_OK);
	lose_bytes(&f->store, &old);
	pass = run(&f->store);
	assert_int_equal(pass.chunks, 2);
	assert_int_equal(pass.damaged, 1);
	assert_int_equal(pass.healed, 1);
	assert_int_equal(run(&f->store).damaged, 0);
	change_back(f, &open, first);
	fixture_free(f);
}

static void a_back_end_that_is_away_is_counted_and_not_asked_for_each_chunk(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	struct scrub_pass pass;

	(void)state;
	put_many(&f->store, 0, 30);
	atomic_store(&f->faults.left[FAULT_GET_FAILS], 1000);
	pass = run(&f->store);
	assert_int_equal(pass.unreachable, 30);
	assert_int_equal(pass.chunks, 0);
	assert_int_equal(pass.damaged, 0);
	assert_int_equal(atomic_load(&f->faults.left[FAULT_GET_FAILS]), 1000 - 3);
	assert_int_equal(count_marked(f), 0);
	/* One that cannot be read does not keep the others from it. */
	atomic_store(&f->faults.left[FAULT_GET_FAILS], 1);
	pass = run(&f->store);
	assert_int_equal(pass.unreachable, 1);
	assert_int_equal(pass.chunks, 29);
	fixture_free(f);
}

/* ---- passes ---- */

static void a_pass_ends_with_the_chunks_that_there_were(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct host host = {.left = -1};
	struct scrub scrub = scrub_of(&f->store, &host);

	(void)state;
	put_many(&f->store, 0, 4);
	assert_true(begin(&scrub, 0));
	put_many(&f->store, 4, 9);
	while (!scrub.pass.finished_at)
		step(&scrub);
	assert_int_equal(scrub.pass.chunks, 4);
	assert_int_equal(run(&f->store).chunks, 9);
	fixture_free(f);
}

static void a_pass_is_not_begun_before_its_time(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct host host = {.left = -1};
	struct scrub scrub = scrub_of(&f->store, &host);

	(void)state;
	assert_true(begin(&scrub, 3600000));
	assert_int_equal(scrub.pass.number, 1);
	/* Under way: it goes on, whatever the interval. */
	assert_true(begin(&scrub, 3600000));
	assert_int_equal(scrub.pass.number, 1);
	step(&scrub);
	assert_true(scrub.pass.finished_at > 0);
	assert_false(begin(&scrub, 3600000));
	fixture_sql(f, "UPDATE objects.scrub SET started_at = now() - interval '2 hours'");
	assert_true(begin(&scrub, 3600000));
	assert_int_equal(scrub.pass.number, 2);
	fixture_free(f);
}

static void only_the_last_passes_are_remembered(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct scrub_pass passes[100];
	struct err e;
	size_t count;

	(void)state;
	for (int i = 0; i < SCRUB_PASSES_KEPT + 5; i++)
		run(&f->store);
	fixture_must(scrub_read(&f->store, passes, ARRAY_SIZE(passes), &count, &e), &e);
	assert_int_equal(count, SCRUB_PASSES_KEPT);
	assert_int_equal(passes[0].number, SCRUB_PASSES_KEPT + 5);
	assert_int_equal(passes[1].number, SCRUB_PASSES_KEPT + 4);
	fixture_free(f);
}

/* A drain in the middle, again and again: each chunk is read once, and counted once. */
static void a_restart_goes_on_where_it_was(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct scrub scrub = {0};
	int rounds = 0;

	(void)state;
	put_many(&f->store, 0, 20);
	must_put(&f->archive, "copy", "doc 11");
	spoil(&f->store, "doc 11");
	do {
		struct host host = {.left = 3};

		scrub = scrub_of(&f->store, &host);
		assert_true(begin(&scrub, 0));
		assert_int_equal(scrub.pass.number, 1);
		assert_int_equal(scrub.pass.chunks, rounds * 3);
		step(&scrub);
		rounds++;
	} while (scrub.pass.chunks < 20);
	assert_int_equal(rounds, 7);
	step(&scrub);
	assert_true(scrub.pass.finished_at > 0);
	assert_int_equal(scrub.pass.chunks, 20);
	assert_int_equal(scrub.pass.healed, 1);
	fixture_free(f);
}

static void of_two_replicas_at_one_pass_only_one_counts(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct host host = {.left = 5}, other_host = {.left = -1};
	struct scrub frozen = scrub_of(&f->store, &host), other = scrub_of(&f->store, &other_host);

	(void)state;
	put_many(&f->store, 0, 10);
	assert_true(begin(&frozen, 0));
	assert_true(begin(&other, 0));
	assert_int_equal(other.pass.number, 1);
	step(&other);
	step(&frozen);
	assert_true(frozen.lost);
	step(&other);
	assert_int_equal(other.pass.chunks, 10);
	assert_true(other.pass.finished_at > 0);
	/* And a pass is finished once. */
	frozen.lost = false;
	frozen.pass = other.pass;
	frozen.pass.finished_at = 0;
	step(&frozen);
	assert_true(frozen.lost);
	fixture_free(f);
}

/* ---- while everything goes on ---- */

static void what_comes_and_goes_meanwhile_is_no_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		struct crowd crowd;
		int64_t chunks = 0, until = clock_monotonic_ms() + 2500;

		put_many(&f->store, 0, 20);
		crowd_start(&crowd, f);
		while (clock_monotonic_ms() < until) {
			struct scrub_pass pass = run(&f->store);

			assert_int_equal(pass.damaged, 0);
			assert_int_equal(pass.unreachable, 0);
			chunks += pass.chunks;
		}
		crowd_stop(&crowd);
		assert_true(chunks > 100);
		assert_int_equal(count_marked(f), 0);
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_are_spread_evenly),
	    cmocka_unit_test(small_chunks_count_for_more_than_they_are),
	    cmocka_unit_test(damage_is_found_marked_and_healed),
	    cmocka_unit_test(the_archive_is_scrubbed_like_the_working_set),
	    cmocka_unit_test(spare_copies_are_read_back_as_well),
	    cmocka_unit_test(a_back_end_that_is_away_is_counted_and_not_asked_for_each_chunk),
	    cmocka_unit_test(a_pass_ends_with_the_chunks_that_there_were),
	    cmocka_unit_test(a_pass_is_not_begun_before_its_time),
	    cmocka_unit_test(only_the_last_passes_are_remembered),
	    cmocka_unit_test(a_restart_goes_on_where_it_was),
	    cmocka_unit_test(of_two_replicas_at_one_pass_only_one_counts),
	    cmocka_unit_test(what_comes_and_goes_meanwhile_is_no_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
