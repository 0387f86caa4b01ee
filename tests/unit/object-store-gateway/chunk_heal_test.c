/* Damage, and good copies of what is damaged. */
#include "tests/unit/object-store-gateway/damage_support.h"

#include "common/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

static const enum fixture_kind kinds[] = {BACKEND_MEM, BACKEND_DB, BACKEND_LOCALFS, BACKEND_FAULTY_WITHIN};

static const char text[] = "what was written once and is wanted again";

static int64_t damaged_seen;

static void note_metric(const struct metric *m, void *arg)
{
	(void)arg;
	if (strcmp(m->name, "stowage_chunk_damaged_total") == 0)
		damaged_seen = metric_read(m);
}

static int64_t count_damage(void)
{
	damaged_seen = 0;
	metrics_each(note_metric, NULL);
	return damaged_seen;
}

static enum chunk_health check(struct store *s, const char *state, bool heal, struct err *why)
{
	struct chunk_kept kept = kept_of(s, text, state);

	return chunk_check(s, &kept, heal, why);
}

/* ---- reading ---- */

static void heal_both_ways(struct fixture *f, struct store *damaged, void (*harm)(struct store *s, const char *text))
{
	struct chunk_kept before, after;
	int64_t swept;

	must_put(&f->store, "doc", text);
	must_put(&f->archive, "doc", text);
	must_put(damaged, "twin", text);
	before = live_of(damaged, text);
	harm(damaged, text);
	must_get(damaged, "doc", text);
	after = live_of(damaged, text);
	assert_int_not_equal(after.chunk.id, before.chunk.id);
	assert_int_equal(after.chunk.backend, before.chunk.backend);
	assert_false(after.damaged);
	/* Nobody needs the other store any more. */
	spoil(damaged->sibling, text);
	must_get(damaged, "twin", text);
	swept = sweep(damaged);
	assert_int_equal(swept, 1);
	must_get(damaged, "doc", text);
}

static void a_damaged_chunk_is_served_and_healed_from_the_other_store(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 4; i++) {
		struct fixture *f = damage_fixture(kinds[i / 4]);

		heal_both_ways(f, i & 1 ? &f->store : &f->archive, i & 2 ? spoil : lose);
		fixture_free(f);
	}
}

static void a_damaged_chunk_is_healed_from_a_spare_copy(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct backend *first = f->store.current;
	struct chunk_kept old, spare, after;
	struct store open;
	struct err e = {0};
	bool done;

	(void)state;
	must_put(&f->store, "doc", text);
	old = live_of(&f->store, text);
	change_backend(f, &open, &driver_db);
	assert_int_equal(chunk_rewrite(&f->store, &old.chunk, text, f->store.current, CHUNK_SPARE, &done, &e), ERR_OK);
	assert_true(done);
	spoil(&f->store, text);
	must_get(&f->store, "doc", text);
	after = live_of(&f->store, text);
	spare = kept_of(&f->store, text, "spare");
	assert_int_equal(after.chunk.backend, f->store.current->id);
	assert_int_equal(spare.chunk.id, old.chunk.id);
	assert_int_equal(count_marked(f), 0);
	change_back(f, &open, first);
	fixture_free(f);
}

static void without_a_good_copy_damage_is_said_and_marked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		struct digest digest = digest_of(text, strlen(text));
		struct err e = {0};

		must_put(&f->store, "doc", text);
		lose(&f->store, text);
		assert_int_equal(try_get(&f->store, "doc", text, &e), ERR_CORRUPT);
		assert_non_null(strstr(e.text, "docs/doc"));
		assert_non_null(strstr(e.text, digest_text(&digest).text));
		assert_int_equal(count_marked(f), 1);
		/* A copy that is damaged itself is none, and is found to be so. */
		must_put(&f->archive, "copy", text);
		spoil(&f->archive, text);
		assert_int_equal(try_get(&f->store, "doc", text, &e), ERR_CORRUPT);
		assert_int_equal(count_marked(f), 2);
		/* As soon as there is one, it serves both. */
		must_put(&f->archive, "copy", text);
		must_get(&f->store, "doc", text);
		assert_int_equal(count_marked(f), 0);
		fixture_free(f);
	}
}

static void a_copy_of_another_size_is_no_copy(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct err e = {0};

	(void)state;
	must_put(&f->store, "doc", text);
	must_put(&f->archive, "doc", text);
	fixture_sql(f, "UPDATE objects.chunk SET size = 4000000 WHERE store = 'object_store'");
	assert_int_equal(try_get(&f->store, "doc", text, &e), ERR_CORRUPT);
	fixture_free(f);
}

static void what_cannot_be_written_anew_is_served_all_the_same(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	struct chunk_kept before;
	struct err why = {0};

	(void)state;
	must_put(&f->store, "doc", text);
	must_put(&f->archive, "doc", text);
	before = live_of(&f->store, text);
	spoil(&f->store, text);
	atomic_store(&f->faults.left[FAULT_PUT_BEFORE], 2);
	must_get(&f->store, "doc", text);
	assert_int_equal(live_of(&f->store, text).chunk.id, before.chunk.id);
	assert_int_equal(check(&f->store, "live", true, &why), CHUNK_DAMAGED);
	assert_int_equal(count_marked(f), 1);
	assert_int_equal(check(&f->store, "live", true, &why), CHUNK_HEALED);
	assert_int_equal(count_marked(f), 0);
	fixture_free(f);
}

static void where_its_own_back_end_takes_nothing_the_current_one_does(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	struct backend *first = f->store.current;
	struct store open;

	(void)state;
	must_put(&f->store, "doc", text);
	must_put(&f->archive, "doc", text);
	spoil(&f->store, text);
	change_backend(f, &open, &driver_db);
	atomic_store(&f->faults.left[FAULT_PUT_BEFORE], 1);
	must_get(&f->store, "doc", text);
	assert_int_equal(live_of(&f->store, text).chunk.backend, f->store.current->id);
	change_back(f, &open, first);
	fixture_free(f);
}

/* ---- checking ---- */

static void a_spare_copy_is_healed_from_the_live_one(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct backend *first = f->store.current;
	struct chunk_kept old, spare;
	struct store open;
	struct err e = {0};
	bool done;

	(void)state;
	must_put(&f->store, "doc", text);
	old = live_of(&f->store, text);
	change_backend(f, &open, &driver_db);
	assert_int_equal(chunk_rewrite(&f->store, &old.chunk, text, f->store.current, CHUNK_SPARE, &done, &e), ERR_OK);
	spare = kept_of(&f->store, text, "spare");
	assert_int_equal(check(&f->store, "spare", true, &e), CHUNK_SOUND);
	lose_bytes(&f->store, &spare);
	assert_int_equal(check(&f->store, "spare", false, &e), CHUNK_DAMAGED);
	assert_int_equal(count_marked(f), 1);
	assert_int_equal(check(&f->store, "spare", true, &e), CHUNK_HEALED);
	assert_int_not_equal(kept_of(&f->store, text, "spare").chunk.id, spare.chunk.id);
	assert_int_equal(kept_of(&f->store, text, "spare").chunk.backend, first->id);
	assert_int_equal(check(&f->store, "spare", true, &e), CHUNK_SOUND);
	/* It still goes with what it is a copy of. */
	must_delete(&f->store, "doc");
	sweep(&f->store);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	change_back(f, &open, first);
	fixture_free(f);
}

static void a_chunk_that_reads_well_again_is_not_marked_any_more(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	struct err why = {0};

	(void)state;
	must_put(&f->store, "doc", text);
	atomic_store(&f->faults.left[FAULT_GET_FLIPS], EACH_READ);
	assert_int_equal(check(&f->store, "live", true, &why), CHUNK_DAMAGED);
	assert_int_equal(why.code, ERR_CORRUPT);
	assert_int_equal(count_marked(f), 1);
	assert_int_equal(check(&f->store, "live", true, &why), CHUNK_SOUND);
	assert_int_equal(count_marked(f), 0);
	fixture_free(f);
}

static void a_back_end_that_is_away_is_no_damage(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	int64_t before = count_damage();
	struct err why = {0};

	(void)state;
	must_put(&f->store, "doc", text);
	must_put(&f->archive, "doc", text);
	atomic_store(&f->faults.left[FAULT_GET_FAILS], 1);
	assert_int_equal(check(&f->store, "live", true, &why), CHUNK_UNREACHABLE);
	assert_int_equal(why.code, ERR_UNAVAILABLE);
	assert_int_equal(count_marked(f), 0);
	assert_int_equal(count_damage(), before);
	fixture_free(f);
}

static void what_was_removed_meanwhile_is_no_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		int64_t before = count_damage();
		struct chunk_kept kept;
		struct err why = {0};

		must_put(&f->store, "doc", text);
		kept = live_of(&f->store, text);
		must_delete(&f->store, "doc");
		assert_int_equal(sweep(&f->store), 1);
		assert_int_equal(chunk_check(&f->store, &kept, true, &why), CHUNK_GONE);
		assert_int_equal(count_damage(), before);
		fixture_free(f);
	}
}

/* ---- everybody at once ---- */

struct reader {
	struct fixture *f;
	pthread_t thread;
	bool failed;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct err e;

	for (int i = 0; i < 5; i++)
		r->failed |= try_get(&r->f->store, "doc", text, &e) != ERR_OK;
	return NULL;
}

static void many_readers_heal_a_chunk_once(void **state)
{
	enum { READERS = 8 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		struct reader readers[READERS];
		bool all_have_rows;

		must_put(&f->store, "doc", text);
		must_put(&f->archive, "doc", text);
		spoil(&f->store, text);
		for (size_t n = 0; n < READERS; n++) {
			readers[n] = (struct reader){.f = f};
			assert_int_equal(pthread_create(&readers[n].thread, NULL, read_on, &readers[n]), 0);
		}
		for (size_t n = 0; n < READERS; n++)
			pthread_join(readers[n].thread, NULL);
		for (size_t n = 0; n < READERS; n++)
			assert_false(readers[n].failed);
		sweep(&f->store);
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE store = 'object_store'"),
		                 1);
		assert_int_equal(fixture_held(f, &all_have_rows), 1);
		must_get(&f->store, "doc", text);
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_damaged_chunk_is_served_and_healed_from_the_other_store),
	    cmocka_unit_test(a_damaged_chunk_is_healed_from_a_spare_copy),
	    cmocka_unit_test(without_a_good_copy_damage_is_said_and_marked),
	    cmocka_unit_test(a_copy_of_another_size_is_no_copy),
	    cmocka_unit_test(what_cannot_be_written_anew_is_served_all_the_same),
	    cmocka_unit_test(where_its_own_back_end_takes_nothing_the_current_one_does),
	    cmocka_unit_test(a_spare_copy_is_healed_from_the_live_one),
	    cmocka_unit_test(a_chunk_that_reads_well_again_is_not_marked_any_more),
	    cmocka_unit_test(a_back_end_that_is_away_is_no_damage),
	    cmocka_unit_test(what_was_removed_meanwhile_is_no_damage),
	    cmocka_unit_test(many_readers_heal_a_chunk_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
