#include "tests/unit/common/db_support.h"

#include "common/clock.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void a_url_that_cannot_be_read_is_refused_without_showing_its_password(void **state)
{
	static const char *const urls[] = {"", "postgresql://me:geheim@[::1", "postgresql://me:geheim@h/db?nonsense=1",
	                                   "host=h password=geheim nonsense"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		SCRATCH_CTX(ctx);
		struct db_options options = {.url = urls[i], .connections = 1};
		struct db *db = NULL;
		struct err why;

		assert_int_equal(db_acquire(db_pool_new(ctx, &options), 0, &db, &why), ERR_INVALID);
		assert_null(db);
		assert_null(strstr(why.text, "geheim"));
	}
}

static void the_pool_opens_no_more_than_it_may(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 2, 0);
	struct db *a, *b, *c = NULL;
	struct err why;
	int64_t start = clock_monotonic_ms();

	(void)state;
	assert_ok(db_acquire(pool, 1000, &a, e));
	assert_ok(db_acquire(pool, 1000, &b, e));
	assert_int_equal(db_acquire(pool, 100, &c, &why), ERR_EXHAUSTED);
	assert_true(clock_monotonic_ms() - start >= 100);
	assert_null(c);
	db_release(a);
	assert_ok(db_acquire(pool, 0, &c, e));
	db_release(b);
	db_release(c);
	db_release(NULL);
}

struct worker {
	struct db_pool *pool;
	int done;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < 50; i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(db_cleanup) struct db *db = NULL;
		struct db_rows *rows;

		if (db_acquire(w->pool, 20000, &db, NULL) == ERR_OK &&
		    db_query(db, ctx, &rows, NULL, "SELECT $1::bigint + 1", DB_NUMBER(i)) == ERR_OK &&
		    db_number(rows, 0, 0) == i + 1)
			w->done++;
	}
	return NULL;
}

static void threads_share_a_pool(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 3, 0);
	pthread_t threads[8];
	struct worker workers[ARRAY_SIZE(threads)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		workers[i] = (struct worker){.pool = pool};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].done, 50);
	}
}

static void a_killed_connection_is_unavailable_and_replaced(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 2, 0);
	struct db *db;
	struct err why;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_int_equal(db_query(db, ctx, NULL, &why, "SELECT pg_terminate_backend(pg_backend_pid())"),
	                 ERR_UNAVAILABLE);
	assert_int_equal(db_query(db, ctx, NULL, &why, "SELECT 1"), ERR_UNAVAILABLE);
	db_release(db);
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1"));
	db_release(db);
	/* Killed while it rests in the pool: nobody notices. */
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'db_test'"
	    " AND pid <> pg_backend_pid()");
	usleep(100000);
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1"));
	db_release(db);
}

static void a_server_that_is_away_is_an_error_at_once_and_found_again(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 4, 0);
	struct db *db;
	struct err why;
	int64_t start;

	(void)state;
	assert_ok(db_ping(pool, 1000, e));
	control("stop");
	start = clock_monotonic_ms();
	for (int i = 0; i < 10; i++)
		assert_int_equal(db_acquire(pool, 100, &db, &why), ERR_UNAVAILABLE);
	assert_true(clock_monotonic_ms() - start < 3000);
	assert_int_equal(db_ping(pool, 0, &why), ERR_UNAVAILABLE);
	control("start");
	assert_ok(db_ping(pool, 5000, e));
	control("restart");
	assert_ok(db_ping(pool, 1000, e));
}

static void a_frozen_server_is_given_up(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 100);
	struct db *db;
	struct err why;
	int64_t start = clock_monotonic_ms();
	enum err_code code;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	control("freeze");
	code = db_query(db, ctx, NULL, &why, "SELECT 1");
	control("thaw");
	assert_int_equal(code, ERR_UNAVAILABLE);
	assert_non_null(strstr(why.text, "no answer"));
	assert_in_range(clock_monotonic_ms() - start, 5000, 9000);
	db_release(db);
	assert_ok(db_ping(pool, 1000, e));
}

static void a_ping_does_not_wait_for_the_statement_timeout(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 60000);
	struct err why;
	int64_t start;
	enum err_code code;

	(void)state;
	assert_ok(db_ping(pool, 1000, e));
	control("freeze");
	start = clock_monotonic_ms();
	code = db_ping(pool, 1000, &why);
	control("thaw");
	assert_int_equal(code, ERR_UNAVAILABLE);
	assert_in_range(clock_monotonic_ms() - start, 900, 4000);
	assert_ok(db_ping(pool, 1000, e));
}

static void notifications_wake_a_listener(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	bool notified = true;
	struct err why;
	int64_t start = clock_monotonic_ms();

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_listen(db, "odd \"channel", e));
	assert_ok(db_wait_notify(db, 100, &notified, e));
	assert_false(notified);
	assert_true(clock_monotonic_ms() - start >= 100);
	run("SELECT pg_notify('odd \"channel', 'x'), pg_notify('odd \"channel', 'y'), pg_notify('other', '')");
	assert_ok(db_wait_notify(db, 5000, &notified, e));
	assert_true(notified);
	assert_ok(db_wait_notify(db, 0, &notified, e));
	assert_false(notified);
	run("SELECT pg_notify('odd \"channel', 'x')");
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1")); /* the notification may come with another answer */
	assert_ok(db_wait_notify(db, 5000, &notified, e));
	assert_true(notified);
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%odd%channel%' OR"
	    " (application_name = 'db_test' AND pid <> pg_backend_pid())");
	assert_int_equal(db_wait_notify(db, 5000, &notified, &why), ERR_UNAVAILABLE);
	db_release(db);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_url_that_cannot_be_read_is_refused_without_showing_its_password),
	    cmocka_unit_test(the_pool_opens_no_more_than_it_may),
	    cmocka_unit_test(threads_share_a_pool),
	    cmocka_unit_test(a_killed_connection_is_unavailable_and_replaced),
	    cmocka_unit_test(a_server_that_is_away_is_an_error_at_once_and_found_again),
	    cmocka_unit_test(a_frozen_server_is_given_up),
	    cmocka_unit_test(a_ping_does_not_wait_for_the_statement_timeout),
	    cmocka_unit_test(notifications_wake_a_listener),
	};

	(void)argc;
	return run_db_tests(argv[0], tests, ARRAY_SIZE(tests));
}
