#include "tests/unit/common/db_support.h"

#include "common/clock.h"

#include <string.h>

static void values_come_back_as_they_went(void **state)
{
	static const struct {
		int64_t number;
		const char *text;
		bool flag;
	} cases[] = {
	    {0, "", false},
	    {INT64_MAX, "größer \"'\\ $1", true},
	    {INT64_MIN, "\xf0\x9f\x9a\xa2\n\t", false},
	    {-1, NULL, true},
	};
	static const unsigned char bytes[] = {0, 1, 0xff, '\\', '\'', 0};
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct digest digest = digest_of("x", 1), got;
	struct db *db;
	struct db_rows *rows;
	size_t len;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_ok(db_query(db, ctx, &rows, e,
		                   "SELECT $1::bigint, $2::text, $3::boolean, $4::bytea, $5::bytea, $6::text",
		                   DB_NUMBER(cases[i].number), DB_TEXT(cases[i].text), DB_FLAG(cases[i].flag),
		                   DB_DIGEST(&digest), DB_BYTES(bytes, sizeof(bytes)), DB_NULL));
		assert_int_equal(db_count(rows), 1);
		assert_int_equal(db_number(rows, 0, 0), cases[i].number);
		if (cases[i].text)
			assert_string_equal(db_text(rows, 0, 1), cases[i].text);
		else
			assert_null(db_text(rows, 0, 1));
		assert_int_equal(db_flag(rows, 0, 2), cases[i].flag);
		got = db_digest(rows, 0, 3);
		assert_true(digest_equal(&got, &digest));
		assert_memory_equal(db_bytes(rows, 0, 4, &len), bytes, sizeof(bytes));
		assert_int_equal(len, sizeof(bytes));
		assert_true(db_is_null(rows, 0, 5));
		assert_null(db_bytes(rows, 0, 5, &len));
	}
	db_release(db);
}

static void binary_results_hold_bytes_integers_flags_and_digests(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct digest digest = digest_of("y", 1), got;
	struct db *db;
	struct db_rows *rows;
	uint8_t *big = talloc_size(ctx, 4 * MIB);
	size_t len;

	(void)state;
	random_bytes(big, 4 * MIB);
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query_binary(
	    db, ctx, &rows, e, "SELECT $1::bytea, $2::bigint, -3::integer, 7::smallint, $3::bytea, true, NULL::bytea",
	    DB_BYTES(big, 4 * MIB), DB_NUMBER(INT64_MIN), DB_DIGEST(&digest)));
	assert_memory_equal(db_bytes(rows, 0, 0, &len), big, 4 * MIB);
	assert_int_equal(len, 4 * MIB);
	assert_int_equal(db_number(rows, 0, 1), INT64_MIN);
	assert_int_equal(db_number(rows, 0, 2), -3);
	assert_int_equal(db_number(rows, 0, 3), 7);
	got = db_digest(rows, 0, 4);
	assert_true(digest_equal(&got, &digest));
	assert_true(db_flag(rows, 0, 5));
	got = db_digest(rows, 0, 6);
	assert_true(digest_is_none(&got));
	db_release(db);
}

static void affected_rows_are_counted(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct db_rows *rows;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, &rows, e,
	                   "INSERT INTO db_test.t (id, small) SELECT n, n FROM generate_series(1, 5) AS n"));
	assert_int_equal(db_affected(rows), 5);
	assert_ok(db_query(db, ctx, &rows, e, "SELECT sum(id), avg(id) FROM db_test.t"));
	assert_int_equal(db_number(rows, 0, 0), 15);
	assert_int_equal(db_number(rows, 0, 1), 3); /* 3.0000000000000000 */
	assert_ok(db_query(db, ctx, &rows, e, "DELETE FROM db_test.t WHERE id > $1", DB_NUMBER(3)));
	assert_int_equal(db_affected(rows), 2);
	db_release(db);
}

static void each_kind_of_failure_has_its_code(void **state)
{
	static const struct {
		const char *sql;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {"INSERT INTO db_test.t (id) VALUES (1)", ERR_CONFLICT, "duplicate key"},
	    {"INSERT INTO db_test.t (id, name, small) VALUES (2, 'bad', 2)", ERR_INVALID, "check constraint"},
	    {"INSERT INTO db_test.t (id, small) VALUES (3, NULL)", ERR_INVALID, "null value"},
	    {"SELECT convert_from('\\xff', 'UTF8')", ERR_INVALID, "invalid byte sequence"},
	    {"SELECT pg_sleep(10)", ERR_DEADLINE, "statement timeout"},
	    {"SELECT 1 / 0", ERR_INTERNAL, "division by zero (22012) in: SELECT 1 / 0"},
	    {"SELEC", ERR_INTERNAL, "syntax error"},
	    {"SELECT 1 FROM db_test.nothing", ERR_INTERNAL, "does not exist"},
	};
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 200);
	struct db *db;
	struct err why;

	(void)state;
	run("INSERT INTO db_test.t (id) VALUES (1)");
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct db_rows *rows = NULL;

		assert_int_equal(db_query(db, ctx, &rows, &why, cases[i].sql), cases[i].code);
		assert_int_equal(why.code, cases[i].code);
		assert_non_null(strstr(why.text, cases[i].text));
		assert_null(rows);
		assert_ok(db_query(db, ctx, NULL, e, "SELECT 1")); /* and the connection is as good as before */
	}
	db_release(db);
}

static void a_transaction_left_open_is_rolled_back(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct db_rows *rows;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_begin(db, e));
	assert_ok(db_query(db, ctx, NULL, e, "INSERT INTO db_test.t (id) VALUES (1)"));
	db_release(db);
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, &rows, e, "SELECT id FROM db_test.t"));
	assert_int_equal(db_count(rows), 0);
	db_release(db);
}

static void commit_after_a_failed_statement_is_an_error(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct err why;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_begin(db, e));
	assert_int_equal(db_query(db, ctx, NULL, NULL, "SELECT 1 / 0"), ERR_INTERNAL);
	assert_int_equal(db_commit(db, &why), ERR_INTERNAL);
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1"));
	/* A constraint that is checked at the end fails the commit itself. */
	assert_ok(db_begin(db, e));
	assert_ok(db_query(db, ctx, NULL, e, "INSERT INTO db_test.t (id) VALUES (1), (2)"));
	assert_int_equal(db_commit(db, &why), ERR_CONFLICT);
	db_rollback(db);
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1"));
	db_release(db);
}

/* BEGIN goes along with the first statement, which may be an old one, a new one, one that fails, or none. */
static void a_transaction_begins_with_its_first_statement(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct db_rows *rows;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_begin(db, e));
	assert_ok(db_commit(db, e)); /* of nothing */
	assert_ok(db_begin(db, e));
	db_rollback(db);
	for (int i = 0; i < 3; i++) { /* prepared by the first round */
		assert_ok(db_begin(db, e));
		assert_ok(db_query(db, ctx, NULL, e, "INSERT INTO db_test.t (id) VALUES ($1)", DB_NUMBER(100 + i)));
		assert_ok(db_query(db, ctx, &rows, e, "SELECT id FROM db_test.t"));
		assert_int_equal(db_count(rows), 1);
		db_rollback(db);
		assert_ok(db_query(db, ctx, &rows, e, "SELECT id FROM db_test.t"));
		assert_int_equal(db_count(rows), 0);
	}
	for (int i = 0; i < 2; i++) {
		assert_ok(db_begin(db, e));
		assert_int_equal(db_query(db, ctx, NULL, NULL, "SELECT 1 / $1::int", DB_NUMBER(0)), ERR_INTERNAL);
		assert_int_equal(db_query(db, ctx, NULL, NULL, "SELECT 1"), ERR_INTERNAL);
		db_rollback(db);
	}
	assert_ok(db_query(db, ctx, NULL, e, "SELECT 1"));
	db_release(db);
}

struct trial {
	int runs, fail_first;
	const char *sql;
	enum err_code code;
};

static enum err_code try_it(struct db *db, void *arg, struct err *e)
{
	struct trial *t = arg;

	TRY(db_query(db, NULL, NULL, e, "INSERT INTO db_test.t (id) VALUES (77)"));
	if (t->runs++ < t->fail_first)
		return db_query(db, NULL, NULL, e, t->sql);
	return t->code == ERR_OK ? ERR_OK : ERR(e, t->code, "body says no");
}

static int64_t count_rows(void)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, &rows, e, "SELECT count(*) FROM db_test.t"));
	return db_number(rows, 0, 0);
}

#define RAISE(state) "DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '" state "'; END $$"

static void transactions_are_run_again_only_where_that_helps(void **state)
{
	static const struct {
		struct trial trial;
		enum err_code code;
		int runs;
	} cases[] = {
	    {{.code = ERR_OK}, ERR_OK, 1},
	    {{.fail_first = 3, .sql = RAISE("40001")}, ERR_OK, 4},
	    {{.fail_first = 1, .sql = RAISE("40P01")}, ERR_OK, 2},
	    {{.fail_first = 1, .sql = "SELECT 1 FROM db_test.was_dropped"}, ERR_OK, 2},
	    {{.fail_first = 1, .sql = "SELECT pg_terminate_backend(pg_backend_pid())"}, ERR_OK, 2},
	    {{.fail_first = 100, .sql = RAISE("40001")}, ERR_CONFLICT, 8},
	    {{.fail_first = 1, .sql = RAISE("23505")}, ERR_CONFLICT, 1},
	    {{.fail_first = 1, .sql = "SELECT 1 / 0"}, ERR_INTERNAL, 1},
	    {{.code = ERR_NOT_FOUND}, ERR_NOT_FOUND, 1},
	    {{.code = ERR_UNAVAILABLE}, ERR_UNAVAILABLE, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct db_pool *pool = pool_of(ctx, 1, 0);
		struct trial trial = cases[i].trial;
		struct err why = {0};

		run("TRUNCATE db_test.t");
		assert_int_equal(db_transaction(pool, try_it, &trial, &why), cases[i].code);
		assert_int_equal(why.code, cases[i].code); /* untouched on success */
		assert_int_equal(trial.runs, cases[i].runs);
		assert_int_equal(count_rows(), cases[i].code == ERR_OK);
	}
}

static void a_statement_survives_a_changed_table(void **state)
{
	static const char sql[] = "SELECT * FROM db_test.t WHERE id = $1";
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct err why;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	assert_ok(db_query(db, ctx, NULL, e, sql, DB_NUMBER(1)));
	run("ALTER TABLE db_test.t ADD COLUMN more text");
	assert_ok(db_query(db, ctx, NULL, e, sql, DB_NUMBER(1)));
	assert_ok(db_query(db, ctx, NULL, e, "DEALLOCATE ALL"));
	assert_ok(db_query(db, ctx, NULL, e, sql, DB_NUMBER(1)));
	/* A statement that is refused for good stays refused. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(db_query(db, ctx, NULL, &why, RAISE("0A000")), ERR_INTERNAL);
	db_release(db);
}

static enum err_code select_all(struct db *db, void *arg, struct err *e)
{
	(*(int *)arg)++;
	return db_query(db, NULL, NULL, e, "SELECT * FROM db_test.t");
}

static void a_changed_table_within_a_transaction_runs_it_again(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	int runs = 0;

	(void)state;
	assert_ok(db_transaction(pool, select_all, &runs, e));
	run("ALTER TABLE db_test.t ADD COLUMN more text");
	assert_ok(db_transaction(pool, select_all, &runs, e));
	assert_int_equal(runs, 3);
}

static void more_statements_than_are_kept_still_run(void **state)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	struct db_rows *rows;

	(void)state;
	assert_ok(db_acquire(pool, 1000, &db, e));
	for (int i = 0; i < 600; i++) {
		char *sql = talloc_asprintf(ctx, "SELECT %d + $1::bigint", i);

		assert_ok(db_query(db, ctx, &rows, e, sql, DB_NUMBER(1)));
		assert_int_equal(db_number(rows, 0, 0), i + 1);
	}
	assert_ok(db_query(db, ctx, &rows, e, "SELECT count(*) FROM pg_prepared_statements"));
	assert_true(db_number(rows, 0, 0) <= 512);
	db_release(db);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(values_come_back_as_they_went, set_up),
	    cmocka_unit_test_setup(binary_results_hold_bytes_integers_flags_and_digests, set_up),
	    cmocka_unit_test_setup(affected_rows_are_counted, set_up),
	    cmocka_unit_test_setup(each_kind_of_failure_has_its_code, set_up),
	    cmocka_unit_test_setup(a_transaction_left_open_is_rolled_back, set_up),
	    cmocka_unit_test_setup(commit_after_a_failed_statement_is_an_error, set_up),
	    cmocka_unit_test_setup(a_transaction_begins_with_its_first_statement, set_up),
	    cmocka_unit_test_setup(transactions_are_run_again_only_where_that_helps, set_up),
	    cmocka_unit_test_setup(a_statement_survives_a_changed_table, set_up),
	    cmocka_unit_test_setup(a_changed_table_within_a_transaction_runs_it_again, set_up),
	    cmocka_unit_test(more_statements_than_are_kept_still_run),
	};

	(void)argc;
	return run_db_tests(argv[0], tests, ARRAY_SIZE(tests));
}
