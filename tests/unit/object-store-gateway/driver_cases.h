/*
 * driver_cases: what driver.h promises, as cases that each get a store of its own, which holds nothing.
 *
 * A program runs all of driver_cases for each of its drivers, and again behind the driver that injects faults.
 */
#ifndef TESTS_DRIVER_CASES_H
#define TESTS_DRIVER_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/gateway_fixture.h"

#include <pthread.h>

static void *noise(TALLOC_CTX *ctx, size_t len, uint64_t seed)
{
	void *bytes = talloc_size(ctx, len);

	assert_non_null(bytes);
	fixture_noise(bytes, len, seed);
	return bytes;
}

static struct location location_of(int64_t number)
{
	return (struct location){.sha256 = digest_of(&number, sizeof(number)), .number = number};
}

static void put(struct store *s, int64_t number, const void *bytes, size_t len)
{
	struct location at = location_of(number);
	struct err e = {0};

	if (s->current->driver->put(s->current->conn, &at, bytes, len, &e) != ERR_OK)
		fail_msg("put: %s", e.text);
}

static void expect(struct store *s, int64_t number, const void *bytes, size_t len)
{
	SCRATCH_CTX(ctx);
	struct location at = location_of(number);
	char *into = talloc_size(ctx, len);
	struct err e = {0};
	size_t got = 0;

	if (s->current->driver->get(s->current->conn, &at, into, len, &got, &e) != ERR_OK)
		fail_msg("get: %s", e.text);
	assert_int_equal(got, len);
	assert_memory_equal(into, bytes, len);
}

static enum err_code get_code(struct store *s, int64_t number, size_t size)
{
	SCRATCH_CTX(ctx);
	struct location at = location_of(number);
	struct err e = {0};
	size_t got;
	enum err_code code = s->current->driver->get(s->current->conn, &at, talloc_size(ctx, size), size, &got, &e);

	assert_true(code == ERR_OK || e.text[0]);
	return code;
}

static void remove_one(struct store *s, int64_t number)
{
	struct location at = location_of(number);
	struct err e = {0};

	assert_int_equal(s->current->driver->remove(s->current->conn, &at, 1, &e), ERR_OK);
}

/* ---- the cases; each gets a store of its own ---- */

static void comes_back_as_it_was_put(struct store *s)
{
	static const size_t sizes[] = {
	    1,           2,           4096,          256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1,
	    1000 * 1000, 1024 * 1024, CHUNK_MAX - 1, CHUNK_MAX,      STORED_MAX};
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		put(s, (int64_t)i + 1, noise(ctx, sizes[i], i), sizes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		expect(s, (int64_t)i + 1, noise(ctx, sizes[i], i), sizes[i]);
}

static void bytes_of_every_value_survive(struct store *s)
{
	uint8_t all[512];

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	put(s, 1, all, sizeof(all));
	expect(s, 1, all, sizeof(all));
	memset(all, 0, sizeof(all));
	put(s, 2, all, sizeof(all));
	expect(s, 2, all, sizeof(all));
}

static void what_is_not_there_is_not_found(struct store *s)
{
	assert_int_equal(get_code(s, 77, 10), ERR_NOT_FOUND);
	put(s, 78, "x", 1);
	assert_int_equal(get_code(s, 77, 10), ERR_NOT_FOUND);
	assert_int_equal(get_code(s, 79, 10), ERR_NOT_FOUND);
}

static void more_than_was_expected_is_corrupt(struct store *s)
{
	SCRATCH_CTX(ctx);

	put(s, 1, noise(ctx, 300000, 1), 300000);
	assert_int_equal(get_code(s, 1, 299999), ERR_CORRUPT);
	assert_int_equal(get_code(s, 1, 1), ERR_CORRUPT);
}

static void fewer_than_there_is_room_for_is_said(struct store *s)
{
	struct location at = location_of(1);
	char room[100];
	size_t got = 0;
	struct err e;

	put(s, 1, "hello", 5);
	assert_int_equal(s->current->driver->get(s->current->conn, &at, room, sizeof(room), &got, &e), ERR_OK);
	assert_int_equal(got, 5);
	assert_memory_equal(room, "hello", 5);
}

static void putting_twice_is_success(struct store *s)
{
	SCRATCH_CTX(ctx);
	const void *bytes = noise(ctx, 600000, 1);

	put(s, 1, bytes, 600000);
	put(s, 1, bytes, 600000);
	expect(s, 1, bytes, 600000);
}

static void chunks_of_one_digest_are_told_apart_by_their_number(struct store *s)
{
	struct location first = location_of(1), second = {.sha256 = first.sha256, .number = 2};
	char room[8];
	struct err e;
	size_t got;

	assert_int_equal(s->current->driver->put(s->current->conn, &first, "one", 3, &e), ERR_OK);
	assert_int_equal(s->current->driver->put(s->current->conn, &second, "two!", 4, &e), ERR_OK);
	assert_int_equal(s->current->driver->remove(s->current->conn, &first, 1, &e), ERR_OK);
	assert_int_equal(s->current->driver->get(s->current->conn, &second, room, sizeof(room), &got, &e), ERR_OK);
	assert_int_equal(got, 4);
	assert_int_equal(s->current->driver->get(s->current->conn, &first, room, sizeof(room), &got, &e),
	                 ERR_NOT_FOUND);
}

static void what_was_removed_is_gone(struct store *s)
{
	put(s, 1, "one", 3);
	put(s, 2, "two", 3);
	remove_one(s, 1);
	assert_int_equal(get_code(s, 1, 3), ERR_NOT_FOUND);
	expect(s, 2, "two", 3);
}

static void removing_what_is_not_there_is_success(struct store *s)
{
	struct location none = {0};
	struct err e;

	remove_one(s, 5);
	put(s, 5, "x", 1);
	remove_one(s, 5);
	remove_one(s, 5);
	assert_int_equal(s->current->driver->remove(s->current->conn, &none, 0, &e), ERR_OK);
}

static void many_are_removed_at_once(struct store *s)
{
	enum { MANY = 300 };
	struct location at[MANY];
	struct err e;

	for (int64_t n = 0; n < MANY; n++) {
		at[n] = location_of(n + 1);
		if (n % 3) /* some were never there */
			put(s, n + 1, &n, sizeof(n));
	}
	assert_int_equal(s->current->driver->remove(s->current->conn, at, MANY - 1, &e), ERR_OK);
	for (int64_t n = 0; n < MANY - 1; n++)
		assert_int_equal(get_code(s, n + 1, 8), ERR_NOT_FOUND);
	expect(s, MANY, &(int64_t){MANY - 1}, 8);
}

static void a_list_has_all_of_them_in_order_page_by_page(struct store *s)
{
	enum { COUNT = 25 };
	struct location page[10], last = {0};
	size_t count = 1, seen = 0;
	struct err e;

	for (int64_t n = COUNT; n >= 1; n--)
		put(s, n * 7, &n, sizeof(n));
	remove_one(s, 14);
	while (count) {
		assert_int_equal(
		    s->current->driver->list(s->current->conn, seen ? &last : NULL, page, ARRAY_SIZE(page), &count, &e),
		    ERR_OK);
		assert_true(count <= ARRAY_SIZE(page));
		for (size_t i = 0; i < count; i++) {
			struct location wanted;

			seen += seen == 1 ? 2 : 1; /* the second was removed */
			wanted = location_of((int64_t)seen * 7);
			assert_int_equal(page[i].number, wanted.number);
			assert_true(digest_equal(&page[i].sha256, &wanted.sha256));
			last = page[i];
		}
	}
	assert_int_equal(seen, COUNT);
}

static void an_empty_back_end_lists_nothing(struct store *s)
{
	struct location page[4];
	size_t count = 7;
	struct err e;

	assert_int_equal(s->current->driver->list(s->current->conn, NULL, page, ARRAY_SIZE(page), &count, &e), ERR_OK);
	assert_int_equal(count, 0);
}

static void it_answers_when_asked_whether_it_is_there(struct store *s)
{
	struct err e;

	if (s->current->driver->ping)
		assert_int_equal(s->current->driver->ping(s->current->conn, &e), ERR_OK);
}

struct crowd_member {
	struct store *store;
	int64_t number;
	bool failed;
};

/* Puts, reads and removes chunks of its own, and all the time reads one that everybody reads. */
static void *join_crowd(void *arg)
{
	struct crowd_member *m = arg;
	struct store *s = m->store;
	struct location shared = location_of(1000000);
	char bytes[5000], room[5000];
	struct err e;
	size_t got;

	for (int64_t i = 0; i < 10; i++) {
		struct location mine = location_of(m->number * 1000 + i + 1);

		fixture_noise(bytes, sizeof(bytes), (uint64_t)mine.number);
		m->failed |= s->current->driver->put(s->current->conn, &mine, bytes, sizeof(bytes), &e) != ERR_OK;
		m->failed |= s->current->driver->get(s->current->conn, &mine, room, sizeof(room), &got, &e) != ERR_OK;
		m->failed |= got != sizeof(bytes) || memcmp(bytes, room, sizeof(bytes)) != 0;
		m->failed |= s->current->driver->get(s->current->conn, &shared, room, sizeof(room), &got, &e) != ERR_OK;
		m->failed |= got != 6 || memcmp(room, "shared", 6) != 0;
		m->failed |= i % 2 && s->current->driver->remove(s->current->conn, &mine, 1, &e) != ERR_OK;
	}
	return NULL;
}

static void many_threads_at_once_do_not_disturb_each_other(struct store *s)
{
	enum { THREADS = 8 };
	struct crowd_member members[THREADS];
	pthread_t threads[THREADS];
	struct location all[200];
	size_t count;
	struct err e;

	put(s, 1000000, "shared", 6);
	for (int64_t n = 0; n < THREADS; n++) {
		members[n] = (struct crowd_member){s, n, false};
		assert_int_equal(pthread_create(&threads[n], NULL, join_crowd, &members[n]), 0);
	}
	for (size_t n = 0; n < THREADS; n++)
		pthread_join(threads[n], NULL);
	for (size_t n = 0; n < THREADS; n++)
		assert_false(members[n].failed);
	assert_int_equal(s->current->driver->list(s->current->conn, NULL, all, ARRAY_SIZE(all), &count, &e), ERR_OK);
	assert_int_equal(count, THREADS * 5 + 1);
}

/* ---- the suite ---- */

static const struct {
	const char *name;
	void (*run)(struct store *s);
} driver_cases[] = {
#define CASE(name)                                                                                                     \
	{                                                                                                              \
#name, name                                                                                            \
	}
    CASE(comes_back_as_it_was_put),
    CASE(bytes_of_every_value_survive),
    CASE(what_is_not_there_is_not_found),
    CASE(more_than_was_expected_is_corrupt),
    CASE(fewer_than_there_is_room_for_is_said),
    CASE(putting_twice_is_success),
    CASE(chunks_of_one_digest_are_told_apart_by_their_number),
    CASE(what_was_removed_is_gone),
    CASE(removing_what_is_not_there_is_success),
    CASE(many_are_removed_at_once),
    CASE(a_list_has_all_of_them_in_order_page_by_page),
    CASE(an_empty_back_end_lists_nothing),
    CASE(it_answers_when_asked_whether_it_is_there),
    CASE(many_threads_at_once_do_not_disturb_each_other),
};

#endif
