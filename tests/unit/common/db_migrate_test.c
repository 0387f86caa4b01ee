#include "tests/unit/common/db_support.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const struct db_migration three[] = {
    {1, "first", "CREATE TABLE \"odd Name\".a (x integer); CREATE TABLE \"odd Name\".b (y integer)"},
    {2, "second", "INSERT INTO \"odd Name\".a VALUES (1)"},
    {3, "third", "INSERT INTO \"odd Name\".a VALUES (2)"},
};

static void migrations_run_once_and_in_order(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 50);
	struct db *db;
	struct db_rows *rows;

	(void)state;
	assert_ok(db_migrate(pool, "odd Name", three, 1, e));
	assert_ok(db_migrate(pool, "odd Name", three, 3, e));
	assert_ok(db_migrate(pool, "odd Name", three, 3, e));
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, &rows, e,
	                   "SELECT (SELECT string_agg(x::text, ' ' ORDER BY x) FROM \"odd Name\".a),"
	                   " (SELECT string_agg(number || name, ' ' ORDER BY number) FROM \"odd Name\".migration),"
	                   " current_setting('statement_timeout')"));
	assert_string_equal(db_text(rows, 0, 0), "1 2");
	assert_string_equal(db_text(rows, 0, 1), "1first 2second 3third");
	assert_string_equal(db_text(rows, 0, 2), "50ms"); /* what migrations may take is not left behind */
	db_release(db);
}

static void a_failed_migration_leaves_nothing_of_itself(void **state)
{
	static const struct db_migration bad[] = {
	    {1, "first", "CREATE TABLE \"odd Name\".a (x integer)"},
	    {2, "broken", "INSERT INTO \"odd Name\".a VALUES (1); SELECT 1 / 0"},
	};
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct db_rows *rows;
	struct err why;

	(void)state;
	assert_int_equal(db_migrate(pool, "odd Name", bad, 2, &why), ERR_INTERNAL);
	assert_non_null(strstr(why.text, "migration 2, broken, of schema odd Name"));
	assert_non_null(strstr(why.text, "division by zero"));
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, &rows, e,
	                   "SELECT (SELECT count(*) FROM \"odd Name\".a), max(number) FROM \"odd Name\".migration"));
	assert_int_equal(db_number(rows, 0, 0), 0);
	assert_int_equal(db_number(rows, 0, 1), 1);
	db_release(db);
}

static void a_schema_of_another_program_is_refused(void **state)
{
	static const struct db_migration other[] = {{1, "first", ""}, {2, "another second", ""}, {3, "third", ""}};
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct err why;

	(void)state;
	assert_ok(db_migrate(pool, "odd Name", three, 3, e));
	assert_int_equal(db_migrate(pool, "odd Name", three, 2, &why), ERR_PRECONDITION);
	assert_non_null(strstr(why.text, "odd Name has version 3, newer"));
	assert_int_equal(db_migrate(pool, "odd Name", other, 3, &why), ERR_PRECONDITION);
	assert_non_null(strstr(why.text, "another second"));
}

static void *migrate(void *arg)
{
	SCRATCH_CTX(ctx);
	bool *good = arg;

	*good = db_migrate(pool_of(ctx, 1, 0), "odd Name", three, 3, NULL) == ERR_OK;
	return NULL;
}

static void replicas_may_migrate_at_once(void **state)
{
	pthread_t threads[4];
	bool good[ARRAY_SIZE(threads)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, migrate, &good[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_true(good[i]);
	}
}

static void a_lease_has_one_owner_until_it_ends(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	bool mine;

	(void)state;
	assert_ok(db_migrate(pool, "odd Name", three, 3, e));
	assert_ok(db_lease(pool, "odd Name", "sweep", "a", 60000, &mine, e));
	assert_true(mine);
	assert_ok(db_lease(pool, "odd Name", "sweep", "b", 60000, &mine, e));
	assert_false(mine);
	assert_ok(db_lease(pool, "odd Name", "other", "b", 60000, &mine, e));
	assert_true(mine);
	assert_ok(db_lease(pool, "odd Name", "sweep", "a", 50, &mine, e)); /* renewed, and shortened */
	assert_true(mine);
	usleep(100000);
	assert_ok(db_lease(pool, "odd Name", "sweep", "b", 60000, &mine, e));
	assert_true(mine);
	assert_ok(db_lease_release(pool, "odd Name", "sweep", "a", e)); /* not a's any more */
	assert_ok(db_lease(pool, "odd Name", "sweep", "a", 60000, &mine, e));
	assert_false(mine);
	assert_ok(db_lease_release(pool, "odd Name", "sweep", "b", e));
	assert_ok(db_lease(pool, "odd Name", "sweep", "a", 60000, &mine, e));
	assert_true(mine);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(migrations_run_once_and_in_order, set_up),
	    cmocka_unit_test_setup(a_failed_migration_leaves_nothing_of_itself, set_up),
	    cmocka_unit_test_setup(a_schema_of_another_program_is_refused, set_up),
	    cmocka_unit_test_setup(replicas_may_migrate_at_once, set_up),
	    cmocka_unit_test_setup(a_lease_has_one_owner_until_it_ends, set_up),
	};

	(void)argc;
	return run_db_tests(argv[0], tests, ARRAY_SIZE(tests));
}
