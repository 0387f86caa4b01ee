#include "tests/unit/common/db_support.h"

#include <string.h>

struct seen {
	int64_t last, calls, fail_at;
	size_t bytes;
};

static enum err_code see(const struct db_rows *row, void *arg, struct err *e)
{
	struct seen *s = arg;
	size_t len;

	assert_int_equal(db_count(row), 1);
	s->calls++;
	s->last = db_number(row, 0, 0);
	assert_non_null(db_bytes(row, 0, 1, &len));
	s->bytes += len;
	return s->last == s->fail_at ? ERR(e, ERR_TOO_LARGE, "enough at %lld", (long long)s->last) : ERR_OK;
}

#define SERIES                                                                                                         \
	"SELECT n::bigint, decode(repeat('ab', 200000), 'hex') FROM generate_series($1::bigint, $2::bigint) AS n"      \
	" WHERE 10 / (11 - n) IS NOT NULL"

static void rows_come_one_after_the_other(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (int round = 0; round < 3; round++) {
		struct seen seen = {0}, none = {0};

		assert_ok(db_query_each(db, see, &seen, e, SERIES, DB_NUMBER(1), DB_NUMBER(10)));
		assert_int_equal(seen.calls, 10);
		assert_int_equal(seen.last, 10);
		assert_int_equal(seen.bytes, 2000000);
		assert_ok(db_query_each(db, see, &none, e, SERIES, DB_NUMBER(1), DB_NUMBER(0)));
		assert_int_equal(none.calls, 0);
	}
	db_release(db);
}

/* Whoever fails, the connection is good for the next statement, and for its transaction. */
static void an_error_of_either_side_is_the_result(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct seen stopped = {.fail_at = 3}, server = {0};
	struct db_rows *rows;
	struct err why = {0};
	struct db *db;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_begin(db, e));
	assert_int_equal(db_query_each(db, see, &stopped, &why, SERIES, DB_NUMBER(1), DB_NUMBER(10)), ERR_TOO_LARGE);
	assert_string_equal(why.text, "enough at 3");
	assert_int_equal(stopped.calls, 3);
	assert_ok(db_query(db, ctx, &rows, e, "SELECT 5"));
	assert_int_equal(db_number(rows, 0, 0), 5);
	assert_ok(db_commit(db, e));
	assert_int_equal(db_query_each(db, see, &server, &why, SERIES, DB_NUMBER(1), DB_NUMBER(20)), ERR_INTERNAL);
	assert_non_null(strstr(why.text, "division by zero"));
	assert_int_equal(server.calls, 10);
	assert_ok(db_query(db, ctx, &rows, e, "SELECT 6"));
	assert_int_equal(db_count(rows), 1);
	db_release(db);
}

static void a_changed_table_does_not_disturb_it(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;

	(void)state;
	run("CREATE TABLE db_test.each AS SELECT 1::bigint AS n, '\\x00'::bytea AS bytes");
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (int round = 0; round < 3; round++) {
		struct seen seen = {0};

		assert_ok(db_query_each(db, see, &seen, e, "SELECT * FROM db_test.each"));
		assert_int_equal(seen.calls, 1);
		run("ALTER TABLE db_test.each ADD COLUMN IF NOT EXISTS more text");
	}
	db_release(db);
}

static void what_is_asked_once_is_not_kept(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db_rows *rows;
	struct err why = {0};
	struct db *db;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (int64_t n = 0; n < 20; n++) {
		const char *sql = talloc_asprintf(ctx, "SELECT %lld + $1::bigint", (long long)n);

		assert_ok(db_query_once(db, ctx, &rows, e, sql, DB_NUMBER(1)));
		assert_int_equal(db_number(rows, 0, 0), n + 1);
	}
	assert_ok(db_query_once(db, NULL, NULL, e, "CREATE TABLE db_test.once (id bigint)"));
	assert_int_equal(db_query_once(db, NULL, NULL, &why, "CREATE TABLE db_test.once (id bigint)"), ERR_INTERNAL);
	assert_non_null(strstr(why.text, "already exists"));
	assert_ok(db_query_once(db, ctx, &rows, e, "SELECT count(*) FROM pg_prepared_statements"));
	assert_int_equal(db_number(rows, 0, 0), 0);
	db_release(db);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(rows_come_one_after_the_other, set_up),
	    cmocka_unit_test_setup(an_error_of_either_side_is_the_result, set_up),
	    cmocka_unit_test_setup(a_changed_table_does_not_disturb_it, set_up),
	    cmocka_unit_test_setup(what_is_asked_once_is_not_kept, set_up),
	};

	(void)argc;
	return run_db_tests(argv[0], tests, ARRAY_SIZE(tests));
}
