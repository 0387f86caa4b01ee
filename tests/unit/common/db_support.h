/*
 * db_support: what the tests of common/db share: a pool on the test server, statements around a test, control of the
 * server itself.
 */
#ifndef TESTS_DB_SUPPORT_H
#define TESTS_DB_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/db.h"

#include <stdio.h>
#include <stdlib.h>

static inline const char *db_url(void)
{
	return getenv("STOWAGE_TEST_DB");
}

static inline struct db_pool *pool_of(TALLOC_CTX *ctx, size_t connections, int64_t statement_ms)
{
	struct db_options options = {
	    .url = db_url(), .application = "db_test", .connections = connections, .statement_ms = statement_ms};

	return db_pool_new(ctx, &options);
}

/* expression may fill e. */
#define assert_ok(expression)                                                                                          \
	do {                                                                                                           \
		struct err assert_e_ = {0};                                                                            \
		struct err *e = &assert_e_;                                                                            \
		enum err_code assert_code_ = (expression);                                                             \
		if (assert_code_ != ERR_OK)                                                                            \
			fail_msg("%s: %s: %s", #expression, err_name(assert_code_), assert_e_.text);                   \
	} while (0)

/* A connection of its own for statements around the test. */
static inline enum err_code run(const char *sql)
{
	SCRATCH_CTX(ctx);
	struct db_pool *pool = pool_of(ctx, 1, 0);
	struct db *db;
	enum err_code code;

	assert_ok(db_acquire(pool, 5000, &db, e));
	code = db_query(db, ctx, NULL, NULL, sql);
	db_release(db);
	return code;
}

/* start, stop, restart, freeze, thaw; skips the test where the server is somebody else's. */
static inline void control(const char *verb)
{
	const char *program = getenv("STOWAGE_TEST_DB_CTL");
	char command[512];

	if (!program)
		skip();
	snprintf(command, sizeof(command), "timeout 60 %s %s", program, verb);
	assert_int_equal(system(command), 0);
}

static inline int set_up(void **state)
{
	(void)state;
	run("DROP SCHEMA IF EXISTS db_test CASCADE");
	run("DROP SCHEMA IF EXISTS \"odd Name\" CASCADE");
	run("CREATE SCHEMA db_test");
	return run("CREATE TABLE db_test.t (id bigint PRIMARY KEY, name text CHECK (name <> 'bad'), digest bytea,"
	           " flag boolean, small integer NOT NULL DEFAULT 1 UNIQUE DEFERRABLE INITIALLY DEFERRED)") == ERR_OK
	           ? 0
	           : -1;
}

static inline int run_db_tests(const char *program, const struct CMUnitTest *tests, size_t count)
{
	if (!db_url()) {
		fprintf(stderr, "%s: STOWAGE_TEST_DB is not set; run it as tests/run/with-postgres --fast %s\n",
		        program, program);
		return 1;
	}
	return _cmocka_run_group_tests(program, tests, count, NULL, NULL);
}

#endif
