/*
 * The drivers behind the one that injects faults, with faults: each kind of call fails once, is repeated as those above
 * do it, and has done then exactly what it should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/gateway_fixture.h"

#define LEN 3000
#define COUNT 5

static const enum fixture_kind kinds[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS};

static struct location location_of(int64_t number)
{
	return (struct location){.sha256 = digest_of(&number, sizeof(number)), .number = number};
}

static void fail_next(struct fixture *f, enum fault fault)
{
	atomic_store(&f->faults.left[fault], 1);
}

static void fill(struct fixture *f, char *bytes)
{
	const struct backend *b = f->store.current;
	struct err e;

	memset(bytes, 'x', LEN);
	for (int64_t n = 1; n <= COUNT; n++) {
		struct location at = location_of(n);

		assert_int_equal(b->driver->put(b->conn, &at, bytes, LEN, &e), ERR_OK);
	}
}

static size_t how_many(struct fixture *f)
{
	const struct backend *b = f->store.current;
	struct location all[2 * COUNT];
	size_t count = 0;
	struct err e;

	assert_int_equal(b->driver->list(b->conn, NULL, all, ARRAY_SIZE(all), &count, &e), ERR_OK);
	return count;
}

static void a_put_that_failed_is_repeated(struct fixture *f)
{
	static const struct {
		enum fault fault;
		size_t there; /* after it failed */
	} cases[] = {{FAULT_PUT_BEFORE, 0}, {FAULT_PUT_AFTER, 1}};
	const struct backend *b = f->store.current;
	char bytes[LEN], back[LEN];

	memset(bytes, 'p', LEN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct location at = location_of((int64_t)i + 1);
		size_t got = 0, before = how_many(f);
		struct err e;

		fail_next(f, cases[i].fault);
		assert_int_equal(b->driver->put(b->conn, &at, bytes, LEN, &e), ERR_UNAVAILABLE);
		assert_int_equal(how_many(f), before + cases[i].there);
		assert_int_equal(b->driver->put(b->conn, &at, bytes, LEN, &e), ERR_OK);
		assert_int_equal(how_many(f), before + 1);
		assert_int_equal(b->driver->get(b->conn, &at, back, LEN, &got, &e), ERR_OK);
		assert_int_equal(got, LEN);
		assert_memory_equal(back, bytes, LEN);
	}
}

static void a_get_that_failed_is_repeated(struct fixture *f)
{
	static const struct {
		enum fault fault;
		enum err_code code;
		size_t got;
	} cases[] = {
	    {FAULT_GET_FAILS, ERR_UNAVAILABLE, 0},
	    {FAULT_GET_NOTHING, ERR_NOT_FOUND, 0},
	    {FAULT_GET_FLIPS, ERR_OK, LEN},
	    {FAULT_GET_SHORT, ERR_OK, LEN - 1},
	};
	const struct backend *b = f->store.current;
	struct location at = location_of(1);
	char bytes[LEN], back[LEN];

	fill(f, bytes);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t got = 0;
		struct err e;

		fail_next(f, cases[i].fault);
		assert_int_equal(b->driver->get(b->conn, &at, back, LEN, &got, &e), cases[i].code);
		if (cases[i].code == ERR_OK) {
			assert_int_equal(got, cases[i].got);
			assert_true(got < LEN || memcmp(back, bytes, LEN) != 0);
		}
		assert_int_equal(b->driver->get(b->conn, &at, back, LEN, &got, &e), ERR_OK);
		assert_int_equal(got, LEN);
		assert_memory_equal(back, bytes, LEN);
	}
}

static void a_removal_that_failed_is_repeated(struct fixture *f)
{
	static const struct {
		enum fault fault;
		size_t left; /* after it failed */
	} cases[] = {{FAULT_REMOVE_BEFORE, COUNT}, {FAULT_REMOVE_SOME, COUNT - 1}, {FAULT_REMOVE_AFTER, 1}};
	const struct backend *b = f->store.current;
	char bytes[LEN], back[LEN];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct location gone[COUNT - 1], kept = location_of(COUNT);
		size_t got = 0;
		struct err e;

		fill(f, bytes);
		for (size_t n = 0; n < ARRAY_SIZE(gone); n++)
			gone[n] = location_of((int64_t)n + 1);
		fail_next(f, cases[i].fault);
		assert_int_equal(b->driver->remove(b->conn, gone, ARRAY_SIZE(gone), &e), ERR_UNAVAILABLE);
		assert_int_equal(how_many(f), cases[i].left);
		assert_int_equal(b->driver->remove(b->conn, gone, ARRAY_SIZE(gone), &e), ERR_OK);
		assert_int_equal(how_many(f), 1);
		assert_int_equal(b->driver->get(b->conn, &kept, back, LEN, &got, &e), ERR_OK);
	}
}

static void a_list_that_failed_is_repeated(struct fixture *f)
{
	const struct backend *b = f->store.current;
	struct location all[COUNT + 1];
	char bytes[LEN];
	size_t count;
	struct err e;

	fill(f, bytes);
	fail_next(f, FAULT_LIST_FAILS);
	assert_int_equal(b->driver->list(b->conn, NULL, all, ARRAY_SIZE(all), &count, &e), ERR_UNAVAILABLE);
	assert_int_equal(how_many(f), COUNT);
}

static const struct {
	const char *name;
	void (*run)(struct fixture *f);
} cases[] = {
    {"a_put_that_failed_is_repeated", a_put_that_failed_is_repeated},
    {"a_get_that_failed_is_repeated", a_get_that_failed_is_repeated},
    {"a_removal_that_failed_is_repeated", a_removal_that_failed_is_repeated},
    {"a_list_that_failed_is_repeated", a_list_that_failed_is_repeated},
};

#define TESTS (ARRAY_SIZE(cases) * ARRAY_SIZE(kinds))

static void run_case(void **state)
{
	size_t number = (size_t)(uintptr_t)*state;
	struct fixture *f = fixture_new(kinds[number / ARRAY_SIZE(cases)]);

	if (!f)
		skip();
	cases[number % ARRAY_SIZE(cases)].run(f);
	fixture_free(f);
}

int main(void)
{
	static struct CMUnitTest tests[TESTS];
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < TESTS; i++) {
		tests[i] = (struct CMUnitTest){
		    .name = talloc_asprintf(ctx, "%s: %s", fixture_backends[kinds[i / ARRAY_SIZE(cases)]].name,
		                            cases[i % ARRAY_SIZE(cases)].name),
		    .test_func = run_case,
		    .initial_state = (void *)(uintptr_t)i,
		};
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
