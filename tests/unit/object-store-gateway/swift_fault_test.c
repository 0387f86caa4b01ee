/*
 * What comes of every answer that a back end may give on a bad day, and which of them end the start.
 */
#include "tests/unit/object-store-gateway/swift_double.h"

#define ACCOUNT "/v1/AUTH_test"

/* ---- bad days: what the caller sees of each ---- */

struct bad_day {
	const char *rule; /* the first requests, as many as "times" says, meet it */
	enum err_code code;
	const char *text;
	size_t requests; /* of the operation; 0: some, as the waits happen to be */
};

/* Five attempts at most; curl by itself asks once more when a connection that it had kept turns out to be dead. */
static void expect_requests(const struct bad_day *day, size_t found)
{
	if (day->requests ? found != day->requests : found < 2 || found > 6)
		fail_msg("%s: %zu requests", day->rule, found);
}

static void a_put_on_a_bad_day(void **state)
{
	static const struct bad_day days[] = {
	    {"'status': 503, 'times': 2", ERR_OK, "", 3},
	    {"'status': 503, 'times': 99, 'headers': {'X-Trans-Id': 'tx77'}", ERR_UNAVAILABLE, "tx77", 0},
	    {"'status': 500", ERR_OK, "", 2},
	    {"'status': 502", ERR_OK, "", 2},
	    {"'status': 504", ERR_OK, "", 2},
	    {"'status': 408", ERR_OK, "", 2},
	    {"'status': 409", ERR_OK, "", 2},
	    {"'status': 422", ERR_OK, "", 2},
	    {"'status': 429, 'headers': {'Retry-After': '1'}", ERR_OK, "", 2},
	    {"'status': 429, 'headers': {'Retry-After': '60'}", ERR_UNAVAILABLE, "status 429", 1},
	    {"'status': 498", ERR_OK, "", 2},
	    {"'status': 498, 'times': 99", ERR_UNAVAILABLE, "status 498", 0},
	    {"'status': 401", ERR_OK, "", 2},
	    {"'read': 300000", ERR_OK, "", 2},
	    {"'read': 0", ERR_OK, "", 2},
	    {"'read': 300000, 'times': 99", ERR_UNAVAILABLE, "connection lost", 0},
	    {"'act': true, 'lose': true", ERR_OK, "", 2},
	    {"'act': true, 'cut': 0", ERR_OK, "", 1},
	    {"'act': true, 'set': {'ETag': '00000000000000000000000000000000'}", ERR_OK, "", 2},
	    {"'act': true, 'set': {'ETag': ''}, 'times': 99", ERR_UNAVAILABLE, "other bytes than were sent", 0},
	    {"'act': true, 'delay': 1.5", ERR_OK, "", 2},
	    {"'status': 403", ERR_UNAVAILABLE, "status 403", 1},
	    {"'status': 404", ERR_UNAVAILABLE, "status 404", 1},
	    {"'status': 401, 'times': 99", ERR_UNAVAILABLE, "status 401", 2},
	    {"'status': 413", ERR_EXHAUSTED, "status 413", 1},
	    {"'status': 507", ERR_EXHAUSTED, "status 507", 1},
	    {"'status': 200, 'text': '<html>'", ERR_INTERNAL, "not understood", 1},
	    {"'status': 302, 'headers': {'Location': '/v1/AUTH_test/box/elsewhere'}", ERR_INTERNAL, "not understood",
	     1},
	    {"'status': 400", ERR_INTERNAL, "not understood", 1},
	    {"'status': 501", ERR_INTERNAL, "not understood", 1},
	};
	static char bytes[1000000];

	(void)state;
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(days); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn = double_open_on(ctx, "{}", ", timeout: 1s");
		struct location at = double_location(1);
		int64_t start = clock_monotonic_ms();
		enum err_code code;
		struct err e;

		double_script(talloc_asprintf(ctx, "{'keep': true, 'rules': [{'method': 'PUT', %s}]}", days[i].rule));
		code = driver_swift.put(conn, &at, bytes, sizeof(bytes), &e);
		if (days[i].code != ERR_OK)
			expect_error(code, &e, days[i].code, days[i].text);
		else
			must(code, &e);
		expect_requests(&days[i],
		                count_of(double_log(ctx), "\nPUT ") + (strncmp(double_log(ctx), "PUT", 3) == 0));
		if (strstr(days[i].rule, "'1'"))
			assert_true(clock_monotonic_ms() - start >= 1000);
		if (code != ERR_OK)
			assert_non_null(strstr(e.text, "swift container box: "));
		assert_int_equal(count_of(double_names(ctx), "\n"),
		                 code == ERR_OK || strstr(days[i].rule, "'act'") ? 1 : 0);
		driver_swift.close(conn);
	}
}

/* Whoever asked has gone by then, and a thread waits for nothing. */
static void a_back_end_that_says_nothing_is_not_waited_for_five_times(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", ", timeout: 400ms");
	struct location at = double_location(1);
	struct err e;

	(void)state;
	double_script("{'keep': true, 'rules': [{'method': 'PUT', 'delay': 1, 'times': 99}]}");
	expect_error(driver_swift.put(conn, &at, "bytes", 5, &e), &e, ERR_DEADLINE, "deadline");
	assert_in_range(count_of(double_log(ctx), "PUT /"), 1, 4);
	driver_swift.close(conn);
}

static void a_get_on_a_bad_day(void **state)
{
	static const struct bad_day days[] = {
	    {"'status': 503, 'times': 2", ERR_OK, "", 3},
	    {"'status': 503, 'times': 99", ERR_UNAVAILABLE, "status 503", 0},
	    {"'status': 498", ERR_OK, "", 2},
	    {"'status': 401", ERR_OK, "", 2},
	    {"'read': 0", ERR_OK, "", 2},
	    {"'act': true, 'cut': 2500", ERR_OK, "", 2},
	    {"'act': true, 'cut': 0", ERR_OK, "", 2},
	    {"'act': true, 'cut': 2500, 'times': 99", ERR_UNAVAILABLE, "connection lost", 0},
	    {"'act': true, 'pace': 0.05", ERR_OK, "", 2},
	    {"'act': true, 'pace': 0.05, 'times': 99", ERR_DEADLINE, "deadline", 0},
	    {"'act': true, 'delay': 1.5", ERR_OK, "", 2},
	    {"'status': 404", ERR_OK, "", 2}, /* a copy that is behind */
	    {"'status': 404, 'times': 2", ERR_NOT_FOUND, "status 404", 2},
	    {"'status': 403", ERR_UNAVAILABLE, "status 403", 1},
	    {"'act': true, 'chunked': true", ERR_INTERNAL, "without a length", 1},
	    {"'status': 206, 'text': 'xx'", ERR_INTERNAL, "status 206", 1},
	    {"'status': 204", ERR_INTERNAL, "not understood", 1},
	    {"'status': 301, 'headers': {'Location': '/elsewhere'}", ERR_INTERNAL, "not understood", 1},
	};
	char bytes[5000], room[5000];

	(void)state;
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(days); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn = double_open_on(ctx, "{}", ", timeout: 1s");
		struct location at = double_location(1);
		enum err_code code;
		size_t got = 0;
		struct err e;
		char *log;

		must(driver_swift.put(conn, &at, bytes, sizeof(bytes), &e), &e);
		double_script(talloc_asprintf(ctx, "{'keep': true, 'rules': [{'path': 'box', %s}]}", days[i].rule));
		memset(room, 0, sizeof(room));
		code = driver_swift.get(conn, &at, room, sizeof(room), &got, &e);
		if (days[i].code != ERR_OK) {
			expect_error(code, &e, days[i].code, days[i].text);
		} else {
			must(code, &e);
			assert_int_equal(got, sizeof(bytes));
			assert_memory_equal(room, bytes, sizeof(bytes));
		}
		log = double_log(ctx);
		expect_requests(&days[i], count_of(log, "GET " ACCOUNT));
		assert_int_equal(count_of(log, "x-newest: true"), strstr(days[i].rule, "404") ? 1 : 0);
		driver_swift.close(conn);
	}
}

static void a_get_says_how_many_bytes_there_are_and_never_writes_beyond_the_room(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	struct location at = double_location(1), absent = double_location(2);
	char *room = malloc(5); /* so that a sanitizer sees what is beyond */
	size_t got;
	struct err e;

	(void)state;
	must(driver_swift.put(conn, &at, "hello", 5, &e), &e);
	must(driver_swift.get(conn, &at, room, 5, &got, &e), &e);
	assert_int_equal(got, 5);
	expect_error(driver_swift.get(conn, &at, room, 4, &got, &e), &e, ERR_CORRUPT, "5 bytes, more than 4");
	expect_error(driver_swift.get(conn, &absent, room, 5, &got, &e), &e, ERR_NOT_FOUND, "0002-");
	/* Other bytes of the right length are seen by whoever knows the SHA-256. */
	double_script("{'keep': true, 'rules': [{'method': 'GET', 'act': true, 'flip': true}]}");
	must(driver_swift.get(conn, &at, room, 5, &got, &e), &e);
	assert_memory_equal(room, "helln", 5);
	free(room);
	driver_swift.close(conn);
}

static void a_ping_does_not_wait(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", ", timeout: 1s");
	struct err e;

	(void)state;
	double_script("{'keep': true, 'rules': [{'status': 503}, {'status': 404}, {'delay': 3, 'act': true}]}");
	expect_error(driver_swift.ping(conn, &e), &e, ERR_UNAVAILABLE, "status 503");
	expect_error(driver_swift.ping(conn, &e), &e, ERR_NOT_FOUND, "swift container box");
	expect_error(driver_swift.ping(conn, &e), &e, ERR_DEADLINE, "deadline");
	must(driver_swift.ping(conn, &e), &e);
	driver_swift.close(conn);
}

/* ---- the start ---- */

static void each_reason_not_to_start_is_told_apart(void **state)
{
	static const struct {
		const char *config, *rules;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {"container: none", "", ERR_NOT_FOUND, "create_container is not set"},
	    {"container: box", "{'method': 'HEAD', 'status': 403}", ERR_FORBIDDEN, "cannot look at it"},
	    {"container: box", "{'path': '/probe/', 'status': 403}", ERR_FORBIDDEN, "cannot put a probe"},
	    {"container: none, create_container: true", "{'method': 'PUT', 'status': 403}", ERR_FORBIDDEN,
	     "cannot make the container"},
	    {"container: box", "{'method': 'DELETE', 'status': 403}", ERR_FORBIDDEN, "cannot remove a probe"},
	    {"container: box", "{'path': '/box', 'status': 503, 'times': 99}", ERR_UNAVAILABLE, "status 503"},
	    {"container: box", "{'path': '/box', 'status': 401, 'times': 99}", ERR_UNAUTHENTICATED, "status 401"},
	    {"container: box", "{'method': 'HEAD', 'status': 302}", ERR_INTERNAL, "not understood"},
	    {"container: box", "{'path': '/probe/', 'status': 200, 'text': 'Welcome'}", ERR_INTERNAL, "not understood"},
	    {"container: box", "{'path': '/probe/', 'act': true, 'set': {'ETag': 'abc'}}", ERR_INTERNAL, "ETag"},
	    {"container: box", "{'method': 'GET', 'path': '/probe/', 'act': true, 'flip': true}", ERR_INTERNAL,
	     "not understood"},
	    {"container: box", "{'method': 'GET', 'path': '/probe/', 'skip': 1, 'act': true, 'flip': true}",
	     ERR_INTERNAL, "part of a probe"},
	    {"container: box", "{'method': 'GET', 'path': '/probe/', 'status': 404}", ERR_NOT_FOUND,
	     "the probe that was put"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		const char *inner = talloc_asprintf(ctx, "%s, retry_budget: 500ms, " DOUBLE_V1, cases[i].config);
		struct driver_conn *conn = NULL;
		struct err e;

		double_script(talloc_asprintf(ctx, "{'rules': [%s]}", cases[i].rules));
		expect_error(double_try_open(ctx, inner, &conn, &e), &e, cases[i].code, cases[i].text);
		assert_null(conn);
		assert_int_equal(count_of(double_names(ctx), "\n"), strstr(cases[i].rules, "DELETE") ? 1 : 0);
	}
}

static void nobody_at_the_address_is_unavailable(void **state)
{
	static const char *const urls[] = {"http://127.0.0.1:1/auth/v1.0", "http://no-such-host.invalid/auth/v1.0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn;
		struct err e;
		char *inner =
		    talloc_asprintf(ctx, "container: box, retry_budget: 500ms, auth: '%s', user: a, key: b", urls[i]);

		expect_error(double_try_open(ctx, inner, &conn, &e), &e, ERR_UNAVAILABLE, "swift container box: ");
	}
}

static void a_back_end_may_lack_conditions_and_ranges_or_be_slow_to_start(void **state)
{
	static const char *const scripts[] = {
	    "{'conditional': false}",
	    "{'ranges': false}",
	    "{'rules': [{'status': 503, 'skip': 1}]}",
	    "{'rules': [{'method': 'PUT', 'act': true, 'lose': true}]}", /* and then it is there already */
	    "{'rules': [{'method': 'DELETE', 'act': true, 'lose': true}]}",
	    "{'rules': [{'path': '/auth/', 'status': 500}]}",
	    "{'rules': [{'path': '/auth/', 'read': 0}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		SCRATCH_CTX(ctx);

		driver_swift.close(double_open_on(ctx, scripts[i], ""));
		assert_string_equal(double_names(ctx), "");
	}
}

static void a_container_is_made_only_when_that_is_asked_for(void **state)
{
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	double_script("{}");
	driver_swift.close(double_open(ctx, "container: new one, create_container: true, " DOUBLE_V1));
	log = double_log(ctx);
	assert_non_null(strstr(log, "\nPUT " ACCOUNT "/new%20one|content-type: application/x-www-form-urlencoded|")
	                    ?: strstr(log, "\nPUT " ACCOUNT "/new%20one|x-auth-token: 1|\n"));
	double_script("{'keep': true}");
	driver_swift.close(double_open(ctx, "container: new one, create_container: true, " DOUBLE_V1));
	assert_int_equal(count_of(double_log(ctx), "PUT " ACCOUNT "/new%20one|"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_put_on_a_bad_day),
	    cmocka_unit_test(a_back_end_that_says_nothing_is_not_waited_for_five_times),
	    cmocka_unit_test(a_get_on_a_bad_day),
	    cmocka_unit_test(a_get_says_how_many_bytes_there_are_and_never_writes_beyond_the_room),
	    cmocka_unit_test(a_ping_does_not_wait),
	    cmocka_unit_test(each_reason_not_to_start_is_told_apart),
	    cmocka_unit_test(nobody_at_the_address_is_unavailable),
	    cmocka_unit_test(a_back_end_may_lack_conditions_and_ranges_or_be_slow_to_start),
	    cmocka_unit_test(a_container_is_made_only_when_that_is_asked_for),
	};

	log_setup("swift_fault_test", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
