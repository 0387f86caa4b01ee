#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"

#include "tests/unit/common/registry_double.h"

#include <time.h>

/* Quick limits, so that a stall is one after a second. */
static struct http_client *new_client(TALLOC_CTX *ctx, const char *ca_file, bool skip_verify)
{
	const struct http_client_options options = {
	    .ca_file = ca_file, .skip_verify = skip_verify, .stall_ms = 1000, .connect_ms = 2000};
	struct http_client *c;
	struct err e;

	OK(http_client_new(ctx, &options, &c, &e));
	return c;
}

/* A GET with little ceremony. */
static enum err_code get(struct http_client *c, const char *url, struct http_response *response, struct err *e)
{
	const struct http_request request = {
	    .method = "GET", .url = url, .memory_max = 100000, .redirects_max = 3, .authorization = "Basic c2VjcmV0"};

	return http_send(c, &request, response, e);
}

static void a_body_within_its_limit_is_kept(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/a': [{'pattern': 100000, 'headers': {'X-Thing': '  a b ', 'X-Two': '1'}}]}");
	OK(get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e));
	assert_int_equal(response.status, 200);
	assert_int_equal(response.body.len, 100000);
	for (size_t i = 0; i < response.body.len; i++)
		assert_int_equal((uint8_t)response.body.bytes[i], pattern_byte(i));
	assert_true(response.has_length);
	assert_int_equal(response.length, 100000);
	assert_string_equal(http_header(ctx, &response, "x-thing"), "a b");
	assert_null(http_header(ctx, &response, "x-thin"));
	assert_null(http_header(ctx, &response, "x-none"));
}

static void a_body_over_its_limit_is_refused(void **state)
{
	static const char *const framings[] = {"length", "chunked", "none"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(framings); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};
		struct err e;
		SCRATCH_CTX(ctx);

		double_script("{'/a': [{'pattern': 100001, 'length': '%s'}]}", framings[i]);
		assert_int_equal(get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e),
		                 ERR_TOO_LARGE);
		assert_true(response.body.len <= 100000);
	}
}

static void a_complaint_is_cut_and_its_status_kept(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/a': [{'pattern': 5000000, 'status': 500}]}");
	OK(get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e));
	assert_int_equal(response.status, 500);
	assert_int_equal(response.body.len, HTTP_COMPLAINT_MAX);
}

static void endless_headers_are_refused(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	SCRATCH_CTX(ctx);
	char *value = talloc_zero_size(ctx, 60001);

	(void)state;
	memset(value, 'x', 60000);
	double_script("{'/a': [{'headers': {'X-One': '%s', 'X-Two': '%s'}}]}", value, value);
	assert_int_equal(get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e),
	                 ERR_TOO_LARGE);
}

static void credentials_stay_where_they_belong_on_a_redirect(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	double_script("{'/a': [{'status': 307, 'headers': {'Location': 'b?x=1'}}],"
	              " '/b': [{'status': 302, 'headers': {'Location': 'http://@OTHER/c'}}],"
	              " '/c': [{'status': 301, 'headers': {'Location': 'http://@PLAIN/d'}}],"
	              " '/d': [{'text': 'there'}]}");
	OK(get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e));
	assert_int_equal(response.status, 200);
	assert_string_equal(response.body.bytes, "there");
	log = double_log(ctx);
	for (const char *path = "abcd"; *path; path++) {
		char *line = strstr(log, talloc_asprintf(ctx, "GET /%c", *path));
		char *text = talloc_strndup(ctx, line ? line : "", line ? strcspn(line, "\n") : 0);

		assert_true(text[0]);
		assert_int_equal(strstr(text, "authorization: Basic c2VjcmV0") != NULL, *path < 'c');
	}
}

static void bad_redirects_are_refused(void **state)
{
	static const struct {
		enum double_port port;
		const char *location;
		enum err_code code;
		const char *reason;
	} cases[] = {
	    {DOUBLE_PLAIN, "'Location': '/a'", ERR_CORRUPT, "more than 3 redirects"},
	    {DOUBLE_PLAIN, "'X': 'y'", ERR_CORRUPT, "without a location"},
	    {DOUBLE_PLAIN, "'Location': 'file:///etc/passwd'", ERR_CORRUPT, "no http URL"},
	    {DOUBLE_PLAIN, "'Location': 'gopher://@OTHER/'", ERR_CORRUPT, "no http URL"},
	    {DOUBLE_PLAIN, "'Location': 'http://user:password@@OTHER/'", ERR_INVALID, "proper http"},
	    {DOUBLE_TLS, "'Location': 'http://@PLAIN/b'", ERR_CORRUPT, "from https to plain http"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};
		struct err e = {0};
		SCRATCH_CTX(ctx);

		double_script("{'/a': [{'status': 302, 'headers': {%s}}], '/b': [{}]}", cases[i].location);
		if (get(new_client(ctx, NULL, true), double_url(ctx, cases[i].port, "/a"), &response, &e) !=
		        cases[i].code ||
		    !strstr(e.text, cases[i].reason))
			fail_msg("%s: %s", cases[i].location, e.text);
		assert_null(strstr(double_log(ctx), " /b"));
	}
}

static void only_trusted_certificates_are_accepted(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	char *url = double_url(ctx, DOUBLE_TLS, "/a");
	struct http_response response;

	(void)state;
	double_script("{'/a': [{}]}");
	assert_int_equal(get(new_client(ctx, NULL, false), url, &response, &e), ERR_PRECONDITION);
	assert_non_null(strstr(e.text, "certificate is not trusted"));
	assert_false(response.refused_tls);
	http_response_release(&response);
	assert_int_equal(get(new_client(ctx, "/does/not/exist", false), url, &response, &e), ERR_PRECONDITION);
	http_response_release(&response);
	OK(get(new_client(ctx, registry_double.certificate, false), url, &response, &e));
	http_response_release(&response);
	OK(get(new_client(ctx, NULL, true), url, &response, &e));
	http_response_release(&response);
}

static void what_speaks_no_tls_is_told_from_what_fails(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct http_client *c = new_client(ctx, NULL, false);
	struct http_response response;

	(void)state;
	assert_int_equal(get(c, "https://127.0.0.1:1/", &response, &e), ERR_UNAVAILABLE);
	assert_true(response.refused_tls);
	assert_non_null(strstr(e.text, "127.0.0.1:1: no connection"));
	http_response_release(&response);
	assert_int_equal(get(c, talloc_asprintf(ctx, "https://%s/", double_host(ctx, DOUBLE_PLAIN)), &response, &e),
	                 ERR_UNAVAILABLE);
	assert_true(response.refused_tls);
	http_response_release(&response);
	double_script("{'/a': [{'refuse': true}]}");
	assert_int_equal(get(c, double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e), ERR_UNAVAILABLE);
	assert_false(response.refused_tls);
	http_response_release(&response);
}

static void broken_transfers_are_transient(void **state)
{
	static const char *const answers[] = {
	    "{'refuse': true}",
	    "{'pattern': 50000, 'send': 20000}",
	    "{'pattern': 50000, 'close': 20000}",
	    "{'pattern': 50000, 'close': 20000, 'length': 'chunked'}",
	    "{'pattern': 50000, 'promise': 50001}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};
		struct err e;
		SCRATCH_CTX(ctx);

		double_script("{'/a': [%s]}", answers[i]);
		if (get(new_client(ctx, NULL, false), double_url(ctx, DOUBLE_PLAIN, "/a"), &response, &e) !=
		    ERR_UNAVAILABLE)
			fail_msg("%s", answers[i]);
	}
}

static void a_stalled_transfer_ends_soon(void **state)
{
	static const char *const answers[] = {"{'delay': 20}", "{'pattern': 1000000, 'pace': 20}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};
		int64_t start = clock_monotonic_ms();
		struct err e;
		SCRATCH_CTX(ctx);
		struct http_client *c = new_client(ctx, NULL, false);
		const struct http_request request = {
		    .method = "GET", .url = double_url(ctx, DOUBLE_PLAIN, "/a"), .memory_max = MIB};

		double_script("{'/a': [%s]}", answers[i]);
		assert_int_equal(http_send(c, &request, &response, &e), ERR_DEADLINE);
		assert_non_null(strstr(e.text, "stalled"));
		assert_true(clock_monotonic_ms() - start < 5000);
	}
}

static enum err_code slow_sink(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct timespec rest = {.tv_nsec = 200000000};

	(void)bytes, (void)e;
	*(size_t *)arg += len;
	nanosleep(&rest, NULL);
	return ERR_OK;
}

static void a_slow_sink_is_no_stall(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	size_t received = 0;
	struct err e;
	SCRATCH_CTX(ctx);
	const struct http_request request = {
	    .method = "GET", .url = double_url(ctx, DOUBLE_PLAIN, "/a"), .sink = slow_sink, .arg = &received};

	(void)state;
	double_script("{'/a': [{'pattern': 2000000}]}");
	OK(http_send(new_client(ctx, NULL, false), &request, &response, &e));
	assert_int_equal(received, 2000000);
}

static enum err_code refusing_sink(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)bytes, (void)len;
	++*(int *)arg;
	return ERR(e, ERR_EXHAUSTED, "disk is full");
}

static void a_sinks_error_is_the_callers(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	int calls = 0;
	struct err e;
	SCRATCH_CTX(ctx);
	const struct http_request request = {
	    .method = "GET", .url = double_url(ctx, DOUBLE_PLAIN, "/a"), .sink = refusing_sink, .arg = &calls};

	(void)state;
	double_script("{'/a': [{'pattern': 2000000}]}");
	assert_int_equal(http_send(new_client(ctx, NULL, false), &request, &response, &e), ERR_EXHAUSTED);
	assert_string_equal(e.text, "disk is full");
	assert_int_equal(calls, 1);
}

static bool stop_after(void *arg)
{
	return clock_monotonic_ms() > *(int64_t *)arg;
}

static void deadline_and_stop_end_a_request(void **state)
{
	int64_t start = clock_monotonic_ms(), when = start + 200;
	const struct patience cases[] = {{.deadline_ms = start + 200}, {.stop = stop_after, .stop_arg = &when}};
	static const enum err_code codes[] = {ERR_DEADLINE, ERR_CANCELLED};
	const struct http_client_options patient = {0};
	struct http_client *c;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	OK(http_client_new(ctx, &patient, &c, &e));
	double_script("{'/a': [{'delay': 20}]}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};
		const struct http_request request = {
		    .method = "GET", .url = double_url(ctx, DOUBLE_PLAIN, "/a"), .patience = &cases[i]};

		assert_int_equal(http_send(c, &request, &response, &e), codes[i]);
	}
	assert_true(clock_monotonic_ms() - start < 5000);
}

static void a_connection_is_used_again(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct http_client *c = new_client(ctx, NULL, false);
	int before;

	(void)state;
	double_script("{'/a': [{'text': 'x'}]}");
	before = double_connections();
	for (int i = 0; i < 5; i++) {
		CLEANUP(http_response_release) struct http_response response = {0};

		OK(get(c, double_url(ctx, DOUBLE_OTHER, "/a"), &response, &e));
	}
	assert_int_equal(double_connections() - before, 1);
}

static void a_header_cannot_be_smuggled_in(void **state)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	SCRATCH_CTX(ctx);
	const struct http_request request = {
	    .method = "GET", .url = double_url(ctx, DOUBLE_PLAIN, "/a"), .authorization = "Bearer x\r\nX-Evil: 1"};

	(void)state;
	double_script("{}");
	assert_int_equal(http_send(new_client(ctx, NULL, false), &request, &response, &e), ERR_INVALID);
	assert_string_equal(double_log(ctx), "");
}

static void a_status_becomes_an_error(void **state)
{
	static const struct {
		int status;
		const char *header;
		enum err_code code;
		unsigned retry_ms;
	} cases[] = {
	    {400, "", ERR_INVALID, 0},
	    {401, "", ERR_UNAUTHENTICATED, 0},
	    {403, "", ERR_FORBIDDEN, 0},
	    {404, "Retry-After: 5\n", ERR_NOT_FOUND, 0},
	    {408, "", ERR_UNAVAILABLE, 0},
	    {429, "", ERR_EXHAUSTED, 0},
	    {429, "retry-after: 5\n", ERR_EXHAUSTED, 5000},
	    {429, "Retry-After: 99999999999999999999\n", ERR_EXHAUSTED, 86400000},
	    {429, "Retry-After: soon\n", ERR_EXHAUSTED, 0},
	    {503, "Retry-After: 2\n", ERR_UNAVAILABLE, 2000},
	    {503, "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\n", ERR_UNAVAILABLE, 0},
	    {503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\n", ERR_UNAVAILABLE, 86400000},
	    {302, "", ERR_INVALID, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(http_response_release) struct http_response response = {.status = cases[i].status};
		struct err e;

		buf_init(&response.headers, 1000);
		buf_add_text(&response.headers, cases[i].header);
		assert_int_equal(http_status_error(&response, &e, "it %d", 7), cases[i].code);
		assert_int_equal(e.retry_ms, cases[i].retry_ms);
		assert_non_null(strstr(e.text, "it 7: status "));
	}
}

static void texts_are_encoded(void **state)
{
	SCRATCH_CTX(ctx);

	(void)state;
	assert_string_equal(http_basic(ctx, "Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	assert_string_equal(http_basic(ctx, "a", "b"), "Basic YTpi");
	assert_string_equal(http_basic(ctx, "ab", "c"), "Basic YWI6Yw==");
	assert_string_equal(http_basic(ctx, "\xff\xff", "\xff"), "Basic //86/w==");
	assert_string_equal(http_escape(ctx, "a Z/0~-._:\xc3%"), "a%20Z%2F0~-._%3A%C3%25");
}

static void loopback_hosts_are_known(void **state)
{
	static const struct {
		const char *host;
		bool loopback;
	} cases[] = {
	    {"localhost", true},     {"LocalHost:5000", true}, {"127.0.0.1", true},  {"127.9.8.7:1", true},
	    {"[::1]:5", true},       {"[::1]", true},          {"128.0.0.1", false}, {"localhost.example", false},
	    {"127.0.0.1.x", false},  {"[::2]", false},         {"", false},          {"127.1", false},
	    {"127.0.0.1x:5", false}, {"[::1", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (http_host_is_loopback(cases[i].host) != cases[i].loopback)
			fail_msg("%s", cases[i].host);
}

static void hosts_on_the_link_are_known(void **state)
{
	static const struct {
		const char *host;
		bool on_link;
	} cases[] = {{"169.254.169.254", true},
	             {"169.254.170.2:80", true},
	             {"[fe80::1]:80", true},
	             {"[febf::1]", true},
	             {"[fd00:ec2::254]", true},
	             {"169.255.1.1", false},
	             {"170.254.1.1", false},
	             {"169.254.1.1.x", false},
	             {"[fec0::1]", false},
	             {"[fd00:ec3::1]", false},
	             {"[fe80::1", false},
	             {"fe80::1", false},
	             {"", false},
	             {"[", false},
	             {"169.254", false},
	             {"[]", false},
	             {"link-local.example", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (http_host_is_on_link(cases[i].host) != cases[i].on_link)
			fail_msg("%s", cases[i].host);
}

/* Agents that give out keys listen at addresses of the link. A proxy would see the keys, and ask its own neighbours. */
static void neighbours_on_the_link_are_not_asked_through_a_proxy(void **state)
{
	static const char *const urls[] = {"http://169.254.170.2:1/keys", "http://[fe80::1]:1/keys"};
	const struct http_client_options options = {.connect_ms = 200};
	SCRATCH_CTX(ctx);
	struct http_client *c;
	struct err e;

	(void)state;
	OK(http_client_new(ctx, &options, &c, &e));
	double_script("{}");
	setenv("http_proxy", double_url(ctx, DOUBLE_PLAIN, ""), 1);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		CLEANUP(http_response_release) struct http_response response = {0};

		(void)!get(c, urls[i], &response, &e); /* mostly there is nobody */
	}
	unsetenv("http_proxy");
	assert_string_equal(double_log(ctx), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_on_the_link_are_known),
	    cmocka_unit_test(neighbours_on_the_link_are_not_asked_through_a_proxy),
	    cmocka_unit_test(a_body_within_its_limit_is_kept),
	    cmocka_unit_test(a_body_over_its_limit_is_refused),
	    cmocka_unit_test(a_complaint_is_cut_and_its_status_kept),
	    cmocka_unit_test(endless_headers_are_refused),
	    cmocka_unit_test(credentials_stay_where_they_belong_on_a_redirect),
	    cmocka_unit_test(bad_redirects_are_refused),
	    cmocka_unit_test(only_trusted_certificates_are_accepted),
	    cmocka_unit_test(what_speaks_no_tls_is_told_from_what_fails),
	    cmocka_unit_test(broken_transfers_are_transient),
	    cmocka_unit_test(a_stalled_transfer_ends_soon),
	    cmocka_unit_test(a_slow_sink_is_no_stall),
	    cmocka_unit_test(a_sinks_error_is_the_callers),
	    cmocka_unit_test(deadline_and_stop_end_a_request),
	    cmocka_unit_test(a_connection_is_used_again),
	    cmocka_unit_test(a_header_cannot_be_smuggled_in),
	    cmocka_unit_test(a_status_becomes_an_error),
	    cmocka_unit_test(texts_are_encoded),
	    cmocka_unit_test(loopback_hosts_are_known),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
