/*
 * What the driver swift asks of its back end, field by field, and how it removes and lists.
 */
#include "tests/unit/object-store-gateway/swift_double.h"

#define ACCOUNT "/v1/AUTH_test"
#define ONE_DIGEST "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" /* SHA-256 of "x" */
#define ONE_NAME "object_store/0000000000000000001-" ONE_DIGEST
#define ONE_PATH ACCOUNT "/box/" ONE_NAME
#define ONE_PUT                                                                                                        \
	"PUT " ONE_PATH                                                                                                \
	"|content-type: application/octet-stream|etag: 9dd4e461268c8034f5c8564e155c67a6|x-auth-token: "                \
	"1|x\n"
#define BULK_HEAD "POST " ACCOUNT "?bulk-delete|accept: application/json|content-type: text/plain|x-auth-token: "

/* ---- what is asked ---- */

static void the_probe_tries_all_that_matters_and_leaves_nothing(void **state)
{
	static const char *const requests[] = {
	    "GET /auth/v1.0|x-auth-key: testing|x-auth-user: test:tester|",
	    "HEAD " ACCOUNT "/box|x-auth-token: 1|",
	    "PUT " ACCOUNT "/box/a%20key/probe/HEX|content-type: application/octet-stream|etag: HEX|if-none-match: *"
	    "|x-auth-token: 1|x-delete-after: 3600|<64 bytes>",
	    "GET " ACCOUNT "/box/a%20key/probe/HEX|x-auth-token: 1|x-newest: true|",
	    "GET " ACCOUNT "/box/a%20key/probe/HEX|range: bytes=7-20|x-auth-token: 1|x-newest: true|",
	    "PUT " ACCOUNT "/box/a%20key/probe/HEX|content-type: application/octet-stream|etag: HEX|if-none-match: *"
	    "|x-auth-token: 1|x-delete-after: 3600|<64 bytes>",
	    "DELETE " ACCOUNT "/box/a%20key/probe/HEX|x-auth-token: 1|",
	    "GET /info|",
	};
	SCRATCH_CTX(ctx);
	char *log, *line;

	(void)state;
	double_script("{}");
	driver_swift.close(double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1 ", anchore_key_prefix: 'a key'"));
	log = double_log(ctx);
	assert_int_equal(count_of(log, "\n"), ARRAY_SIZE(requests));
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		line = talloc_strndup(ctx, log, strcspn(log, "\n"));
		log += strlen(line) + 1;
		for (char *hex = line; *hex; hex++)
			if (strspn(hex, "0123456789abcdef") == 32) {
				memcpy(hex, "HEX", 3);
				memmove(hex + 3, hex + 32, strlen(hex + 32) + 1);
			}
		assert_string_equal(line, requests[i]);
	}
	assert_string_equal(double_names(ctx), "");
}

static void what_stands_before_the_version_in_the_url_stays(void **state)
{
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	double_script("{}");
	driver_swift.close(
	    double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1 ", os_storage_url: 'http://@PLAIN/prefix/v1/AUTH_test'"));
	log = double_log(ctx);
	assert_non_null(strstr(log, "\nHEAD /prefix" ACCOUNT "/box|"));
	assert_non_null(strstr(log, "\nGET /prefix/info|\n"));
}

static void a_chunk_is_an_object_named_by_number_and_digest(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	struct location at = double_location(1);
	char room[8];
	size_t got;
	struct err e;

	(void)state;
	must(driver_swift.put(conn, &at, "x", 1, &e), &e);
	must(driver_swift.put(conn, &at, "x", 1, &e), &e);
	must(driver_swift.get(conn, &at, room, sizeof(room), &got, &e), &e);
	assert_true(got == 1 && room[0] == 'x');
	assert_string_equal(double_names(ctx), ONE_NAME "\n");
	must(driver_swift.ping(conn, &e), &e);
	must(driver_swift.remove(conn, &at, 1, &e), &e);
	must(driver_swift.remove(conn, &at, 1, &e), &e);
	assert_string_equal(double_names(ctx), "");
	assert_string_equal(double_log(ctx), ONE_PUT ONE_PUT "GET " ONE_PATH "|x-auth-token: 1|\n"
	                                                     "HEAD " ACCOUNT "/box|x-auth-token: 1|\n"
	                                                     "DELETE " ONE_PATH "|x-auth-token: 1|\n"
	                                                     "DELETE " ONE_PATH "|x-auth-token: 1|\n");
	driver_swift.close(conn);
}

static void names_of_any_kind_are_escaped(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn;
	struct location at[3] = {double_location(1), double_location(2)};
	size_t count;
	struct err e;

	(void)state;
	double_script("{}");
	conn = double_open(ctx, "container: 'a b?c#d%41é', create_container: yes, anchore_key_prefix: 'p?q&r=%2F+/ü', "
	                        "retry_budget: 2s, " DOUBLE_V1);
	must(double_put(conn, 1, &e), &e);
	must(double_put(conn, 2, &e), &e);
	assert_string_equal(double_names(ctx),
	                    "p?q&r=%2F+/ü/" ONE_NAME "\np?q&r=%2F+/ü/object_store/0000000000000000002-"
	                    "" ONE_DIGEST "\n");
	must(driver_swift.list(conn, NULL, at, 3, &count, &e), &e);
	assert_int_equal(count, 2);
	must(driver_swift.remove(conn, at, 2, &e), &e);
	assert_string_equal(double_names(ctx), "");
	double_log(ctx);
	driver_swift.close(conn);
}

/* ---- removing ---- */

static void put_many(int64_t count)
{
	SCRATCH_CTX(ctx);

	for (int64_t n = 1; n <= count; n++)
		double_add(talloc_asprintf(ctx, "object_store/%019lld-" ONE_DIGEST, (long long)n), "x", 1);
}

static struct location *many(TALLOC_CTX *ctx, int64_t count)
{
	struct location *at = talloc_array(ctx, struct location, (size_t)count);

	assert_non_null(at);
	for (int64_t n = 1; n <= count; n++)
		at[n - 1] = double_location(n);
	return at;
}

static void many_are_removed_in_bulk_as_many_at_once_as_the_back_end_takes(void **state)
{
	static const struct {
		const char *script;
		size_t requests, deletes;
	} cases[] = {
	    {"{}", 8, 0},                 /* 313 seven times, 309 */
	    {"{'limit': 200}", 13, 0},    /* 200 twelve times, 100 */
	    {"{'bulk': false}", 0, 2500}, /* /info offers none */
	    {"{'rules': [{'path': '/info', 'status': 404}]}", 0, 2500},
	    {"{'rules': [{'path': '/info', 'status': 200, 'text': '<html>'}]}", 0, 2500},
	    {"{'rules': [{'path': '/info', 'status': 503}]}", 8, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		int64_t count = cases[i].deletes ? 25 : 2500;
		struct driver_conn *conn = double_open_on(ctx, cases[i].script, "");
		struct err e;
		char *log;

		double_script(talloc_asprintf(ctx, "{'keep': true, 'bulk': %s}", cases[i].deletes ? "false" : "true"));
		put_many(10); /* most were never there */
		must(driver_swift.remove(conn, many(ctx, count), (size_t)count, &e), &e);
		log = double_log(ctx);
		assert_int_equal(count_of(log, "POST "), cases[i].requests);
		assert_int_equal(count_of(log, "DELETE "), cases[i].deletes ? count : 0);
		assert_string_equal(double_names(ctx), "");
		driver_swift.close(conn);
	}
}

static void several_bulk_deletes_are_under_way_at_once(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	int64_t start;
	struct err e;

	(void)state;
	double_script("{'keep': true, 'rules': [{'method': 'POST', 'act': true, 'delay': 0.5, 'times': 8}]}");
	start = clock_monotonic_ms();
	must(driver_swift.remove(conn, many(ctx, 800), 800, &e), &e);
	assert_in_range(clock_monotonic_ms() - start, 500, 3000); /* 4000 one after the other */
	assert_int_equal(count_of(double_log(ctx), "POST "), 8);
	driver_swift.close(conn);
}

static void a_bulk_delete_names_each_chunk_on_a_line(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	struct err e;

	(void)state;
	put_many(2);
	must(driver_swift.remove(conn, many(ctx, 2), 2, &e), &e);
	assert_string_equal(double_log(ctx),
	                    BULK_HEAD "1|/box/" ONE_NAME "$/box/object_store/0000000000000000002-" ONE_DIGEST "$\n");
	driver_swift.close(conn);
}

static void what_stands_in_the_body_of_a_bulk_answer_counts(void **state)
{
	static const struct {
		const char *rules;
		enum err_code code;
		const char *text;
		size_t posts, deletes; /* posts 0: several, as the budget allows */
	} cases[] = {
	    {"{'bulk': '0002', 'error': '503 Service Unavailable'}", ERR_OK, "", 2, 0},
	    {"{'bulk': '0002', 'error': '409 Conflict', 'times': 2}", ERR_OK, "", 3, 0},
	    {"{'bulk': '0002', 'error': '503 Service Unavailable', 'times': 99}", ERR_UNAVAILABLE, "0002-", 0, 0},
	    {"{'bulk': '0002', 'error': '403 Forbidden'}", ERR_UNAVAILABLE, "0002-", 1, 0},
	    {"{'bulk': '0002', 'error': '404 Not Found'}", ERR_OK, "", 1, 0},
	    {"{'bulk': '0002', 'error': '412 Precondition Failed'}", ERR_OK, "", 1, 5},
	    {"{'bulk': '0002', 'error': 'what is this'}", ERR_OK, "", 1, 5},
	    {"{'method': 'POST', 'status': 204}", ERR_OK, "", 1, 5},
	    {"{'method': 'POST', 'status': 405}", ERR_OK, "", 1, 5},
	    {"{'method': 'POST', 'status': 200, 'text': '<html>'}", ERR_OK, "", 1, 5},
	    {"{'method': 'POST', 'status': 200, 'text': '{}'}", ERR_OK, "", 1, 5},
	    {"{'method': 'POST', 'status': 503}", ERR_OK, "", 2, 0},
	    {"{'method': 'POST', 'act': true, 'lose': true}", ERR_OK, "", 2, 0},
	    {"{'method': 'POST', 'act': true, 'cut': 20}", ERR_OK, "", 2, 0},
	    {"{'method': 'POST', 'status': 403}", ERR_UNAVAILABLE, "status 403", 1, 0},
	    /* It worked on two and gave up. */
	    {"{'method': 'POST', 'status': 200, 'text': '{\\u0022Number Deleted\\u0022: 2, \\u0022Number Not "
	     "Found\\u0022: 0,"
	     " \\u0022Errors\\u0022: [], \\u0022Response Status\\u0022: \\u0022200 OK\\u0022}'}",
	     ERR_OK, "", 2, 0},
	    {"{'method': 'POST', 'status': 200, 'text': '{\\u0022Number Deleted\\u0022: 2, \\u0022Number Not "
	     "Found\\u0022: 0,"
	     " \\u0022Errors\\u0022: [], \\u0022Response Status\\u0022: \\u0022502 Bad Gateway\\u0022}'}",
	     ERR_OK, "", 2, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn = double_open_on(ctx, "{}", "");
		enum err_code code;
		struct err e;
		char *log;

		double_script(talloc_asprintf(ctx, "{'keep': true, 'rules': [%s]}", cases[i].rules));
		put_many(5);
		code = driver_swift.remove(conn, many(ctx, 5), 5, &e);
		log = double_log(ctx);
		if (cases[i].code == ERR_OK) {
			must(code, &e);
			assert_string_equal(double_names(ctx), "");
		} else {
			expect_error(code, &e, cases[i].code, cases[i].text);
		}
		if (cases[i].posts ? count_of(log, "POST ") != cases[i].posts : count_of(log, "POST ") < 2)
			fail_msg("%s: %zu requests", cases[i].rules, count_of(log, "POST "));
		if (count_of(log, "DELETE ") != cases[i].deletes)
			fail_msg("%s: %zu single ones", cases[i].rules, count_of(log, "DELETE "));
		driver_swift.close(conn);
	}
}

static void a_token_that_ended_is_told_in_the_body_of_a_bulk_delete(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	struct err e;

	(void)state;
	put_many(5);
	double_revoke();
	must(driver_swift.remove(conn, many(ctx, 5), 5, &e), &e);
	assert_string_equal(double_names(ctx), "");
	assert_int_equal(count_of(double_log(ctx), "GET /auth"), 1);
	double_script("{'keep': true, 'rules': [{'bulk': 'object', 'error': '401 Unauthorized', 'times': 9999}]}");
	expect_error(driver_swift.remove(conn, many(ctx, 5), 5, &e), &e, ERR_UNAVAILABLE, "status 401");
	driver_swift.close(conn);
}

/* ---- listing ---- */

static void a_list_goes_by_number_from_page_to_page(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn = double_open_on(ctx, "{}", "");
	struct location page[4], last;
	size_t count, seen = 0;
	struct err e;
	char *log;

	(void)state;
	put_many(9);
	double_add("object_store/0000000000000000004-" ONE_DIGEST ".old", "x", 1);
	double_add("object_store/0000000000000000005", "x", 1);
	double_add("object_store/9223372036854775808-" ONE_DIGEST, "x", 1); /* more than a number can be */
	double_add("object_store/notes.txt", "x", 1);
	double_add("object_stores/0000000000000000005-" ONE_DIGEST, "x", 1);
	double_add("analysis_archive/0000000000000000003-" ONE_DIGEST, "x", 1);
	double_add("object_store/9223372036854775807-" ONE_DIGEST, "x", 1);
	do {
		must(driver_swift.list(conn, seen ? &last : NULL, page, 4, &count, &e), &e);
		for (size_t i = 0; i < count; i++) {
			last = page[i];
			assert_int_equal(last.number, ++seen == 10 ? INT64_MAX : (int64_t)seen);
			assert_memory_equal(&last.sha256, double_location(1).sha256.bytes, DIGEST_BYTES);
		}
	} while (count);
	assert_int_equal(seen, 10);
	log = double_log(ctx);
	log[strcspn(log, "\n")] = '\0';
	assert_string_equal(log, "GET " ACCOUNT "/box?format=json&limit=4&prefix=object_store%2F&marker=object_store%2F"
	                         "|accept: application/json|x-auth-token: 1|");
	assert_non_null(strstr(log + strlen(log) + 1, "&marker=object_store%2F0000000000000000004~" ONE_DIGEST "|"));
	driver_swift.close(conn);
}

static void listings_that_are_none_are_refused(void **state)
{
#define NAME(name) "{\\u0022name\\u0022: \\u0022" name "\\u0022}"
	static const struct {
		const char *answer;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {"'status': 200, 'text': '[" NAME("object_store/2") ", " NAME("object_store/1") "]'", ERR_INTERNAL,
	     "'object_store/1' after 'object_store/2'"},
	    {"'status': 200, 'text': '[" NAME("object_store/2") ", " NAME("object_store/2") "]'", ERR_INTERNAL,
	     "after"},
	    {"'status': 200, 'text': '[" NAME("a") "]'", ERR_INTERNAL, "'a' after"},
	    {"'status': 200, 'text': '[{}]'", ERR_INTERNAL, "without a name"},
	    {"'status': 200, 'text': '<html>'", ERR_INTERNAL, "not JSON"},
	    {"'status': 200, 'text': '[], 3'", ERR_INTERNAL, "not JSON"},
	    {"'status': 404", ERR_UNAVAILABLE, "status 404"},
	    {"'status': 412", ERR_INTERNAL, "not understood"},
	    {"'status': 503", ERR_UNAVAILABLE, "status 503"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn = double_open_on(ctx, "{}", "");
		struct location page[4];
		size_t count;
		struct err e;

		double_script(talloc_asprintf(ctx, "{'keep': true, 'rules': [{'times': 99, %s}]}", cases[i].answer));
		expect_error(driver_swift.list(conn, NULL, page, 4, &count, &e), &e, cases[i].code, cases[i].text);
		double_script("{'keep': true, 'rules': [{'status': 204}]}");
		must(driver_swift.list(conn, NULL, page, 4, &count, &e), &e);
		assert_int_equal(count, 0);
		driver_swift.close(conn);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_probe_tries_all_that_matters_and_leaves_nothing),
	    cmocka_unit_test(what_stands_before_the_version_in_the_url_stays),
	    cmocka_unit_test(a_chunk_is_an_object_named_by_number_and_digest),
	    cmocka_unit_test(names_of_any_kind_are_escaped),
	    cmocka_unit_test(many_are_removed_in_bulk_as_many_at_once_as_the_back_end_takes),
	    cmocka_unit_test(several_bulk_deletes_are_under_way_at_once),
	    cmocka_unit_test(a_bulk_delete_names_each_chunk_on_a_line),
	    cmocka_unit_test(what_stands_in_the_body_of_a_bulk_answer_counts),
	    cmocka_unit_test(a_token_that_ended_is_told_in_the_body_of_a_bulk_delete),
	    cmocka_unit_test(a_list_goes_by_number_from_page_to_page),
	    cmocka_unit_test(listings_that_are_none_are_refused),
	};

	log_setup("swift_driver_test", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
