/* Objects: everybody at once. */
#include "tests/unit/object-store-gateway/object_support.h"

#include <pthread.h>

/* ---- many at once ---- */

struct actor {
	struct fixture *f;
	pthread_t thread;
	unsigned number;
	atomic_bool *over;
	int failures;
	char why[600];
};

static void note(struct actor *a, const struct err *e)
{
	a->failures++;
	snprintf(a->why, sizeof(a->why), "%s: %s", err_name(e->code), e->text);
}

static const char *const versions[] = {"version one", "version two, longer", "version three, the longest of all"};

/* Replaces two keys that share content with each other, again and again. */
static void *replace_on(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < 60; i++) {
		const char *text = versions[(i + a->number) % ARRAY_SIZE(versions)];
		enum err_code code = ERR_UNAVAILABLE;
		bool replaced;
		struct err e;

		/* Sweeps without grace and without pause may starve a put that goes in steps. It says so. */
		for (int tries = 0; tries < 50 && code == ERR_UNAVAILABLE; tries++)
			code = put(a->f, i % 2 ? "x" : "y", text, strlen(text), &replaced, &e);
		if (code != ERR_OK)
			note(a, &e);
	}
	return NULL;
}

static void *read_on(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(a->over)) {
		SCRATCH_CTX(ctx);
		void *bytes;
		size_t len;
		struct err e;
		bool known = false;

		if (get(a->f, "x", 0, 4096, ctx, &bytes, &len, &e) != ERR_OK) {
			note(a, &e);
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
			known |= len == strlen(versions[i]) && memcmp(bytes, versions[i], len) == 0;
		if (!known)
			note(a, &(struct err){.code = ERR_CORRUPT, .text = "bytes that nobody put"});
	}
	return NULL;
}

static void *sweep_on(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(a->over)) {
		struct gc_result result;
		struct err e;

		if (gc_run(&a->f->store, 0, 1000, &result, &e) != ERR_OK)
			note(a, &e);
	}
	return NULL;
}

static void test_replacing_reading_and_sweeping_at_once_never_shows_damage(void **state)
{
	enum { WRITERS = 4, OTHERS = 4 };
	struct fixture *f = need(state);
	struct actor actors[WRITERS + OTHERS];
	atomic_bool over = false;
	bool all_have_rows;

	must_put(f, "x", versions[0]);
	must_put(f, "y", versions[0]);
	for (unsigned i = 0; i < WRITERS + OTHERS; i++) {
		actors[i] = (struct actor){.f = f, .number = i, .over = &over};
		assert_int_equal(pthread_create(&actors[i].thread, NULL,
		                                i < WRITERS ? replace_on
		                                : i % 2     ? read_on
		                                            : sweep_on,
		                                &actors[i]),
		                 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(actors[i].thread, NULL);
	atomic_store(&over, true);
	for (unsigned i = WRITERS; i < WRITERS + OTHERS; i++)
		pthread_join(actors[i].thread, NULL);
	for (unsigned i = 0; i < WRITERS + OTHERS; i++)
		if (actors[i].failures)
			fail_msg("actor %u failed %d times, last: %s", i, actors[i].failures, actors[i].why);
	sweep(f);
	assert_int_equal(fixture_held(f, &all_have_rows),
	                 fixture_number(f, "SELECT count(DISTINCT chunk) FROM objects.object_chunk"));
	assert_true(all_have_rows);
}

/* The same commit by everybody: what a message that went to several replicas looks like. */
static void *commit_the_same(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < 25; i++) {
		bool replaced;
		struct err e;

		if (put(a->f, "same", "the same", 8, &replaced, &e) != ERR_OK || replaced)
			note(a, &e);
	}
	return NULL;
}

static void test_the_same_commit_from_everybody_needs_no_deadlock_to_be_resolved(void **state)
{
	enum { ACTORS = 8 };
	struct fixture *f = need(state);
	struct actor actors[ACTORS];
	int64_t started = clock_monotonic_ms();

	for (unsigned i = 0; i < ACTORS; i++) {
		actors[i] = (struct actor){.f = f, .number = i};
		assert_int_equal(pthread_create(&actors[i].thread, NULL, commit_the_same, &actors[i]), 0);
	}
	for (unsigned i = 0; i < ACTORS; i++)
		pthread_join(actors[i].thread, NULL);
	for (unsigned i = 0; i < ACTORS; i++)
		if (actors[i].failures)
			fail_msg("actor %u failed %d times, last: %s", i, actors[i].failures, actors[i].why);
	assert_true(clock_monotonic_ms() - started < 20000);
	assert_int_equal(fixture_number(f, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
	                 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.object_chunk"), 1);
}

/* Names that nobody had, for content that others have, or had until a moment ago. */
static enum err_code come_and_go(struct fixture *f, const char *key, const char *text, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct object_path path = at(key);
	bool replaced, existed;
	void *bytes;
	size_t len;

	TRY(put(f, key, text, strlen(text), &replaced, e));
	TRY(get(f, key, 0, 4096, ctx, &bytes, &len, e));
	if (replaced || len != strlen(text) || memcmp(bytes, text, len) != 0)
		return ERR(e, ERR_CORRUPT, "%s is not what was put", key);
	return object_delete(&f->store, &path, &existed, e);
}

static void *come_and_go_on(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < 80; i++) {
		char key[32];
		struct err e;

		snprintf(key, sizeof(key), "%u/%u", a->number, i);
		if (come_and_go(a->f, key, versions[i % ARRAY_SIZE(versions)], &e) != ERR_OK)
			note(a, &e);
	}
	return NULL;
}

static void test_new_names_for_shared_content_are_safe_from_the_sweep(void **state)
{
	enum { WRITERS = 5, SWEEPS = 2 };
	struct fixture *f = need(state);
	struct actor actors[WRITERS + SWEEPS];
	atomic_bool over = false;
	bool all_have_rows;

	for (unsigned i = 0; i < WRITERS + SWEEPS; i++) {
		actors[i] = (struct actor){.f = f, .number = i, .over = &over};
		assert_int_equal(
		    pthread_create(&actors[i].thread, NULL, i < WRITERS ? come_and_go_on : sweep_on, &actors[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(actors[i].thread, NULL);
	atomic_store(&over, true);
	for (unsigned i = WRITERS; i < WRITERS + SWEEPS; i++)
		pthread_join(actors[i].thread, NULL);
	for (unsigned i = 0; i < WRITERS + SWEEPS; i++)
		if (actors[i].failures)
			fail_msg("actor %u failed %d times, last: %s", i, actors[i].failures, actors[i].why);
	sweep(f);
	assert_int_equal(fixture_held(f, &all_have_rows), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_replacing_reading_and_sweeping_at_once_never_shows_damage),
	    AT_ONCE(test_replacing_reading_and_sweeping_at_once_never_shows_damage),
	    WITHIN(test_the_same_commit_from_everybody_needs_no_deadlock_to_be_resolved),
	    AT_ONCE(test_the_same_commit_from_everybody_needs_no_deadlock_to_be_resolved),
	    WITHIN(test_new_names_for_shared_content_are_safe_from_the_sweep),
	    AT_ONCE(test_new_names_for_shared_content_are_safe_from_the_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
