/* The driver s3 on a server in memory: what it sends, what it learns, what it refuses to start with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/s3_double.h"

#include <pthread.h>

/* ---- what is sent ---- */

static void no_checksum_is_sent_that_was_not_asked_for(void **state)
{
	SCRATCH_CTX(ctx);
	struct location both[] = {s3_location(1), s3_location(2)};
	struct driver_conn *c;
	struct err e;
	char *log;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "prefix: \"a b/\"");
	s3_faults("");
	OK(driver_s3.put(c, &both[0], "content", 7, &e));
	log = double_log(ctx);
	assert_non_null(strstr(log, "PUT /b/a%20b/object_store/"));
	assert_non_null(strstr(log, "|if-none-match: *"));
	assert_non_null(strstr(log, "|content-length: 7"));
	assert_null(strstr(log, "content-md5"));
	assert_null(strstr(log, "x-amz-checksum"));
	assert_null(strstr(log, "x-amz-sdk"));
	assert_null(strstr(log, "x-amz-trailer"));
	assert_null(strstr(log, "transfer-encoding"));
	assert_null(strstr(log, "|expect"));
	s3_faults("");
	OK(driver_s3.remove(c, both, 2, &e));
	log = double_log(ctx);
	assert_non_null(strstr(log, "POST /b?delete"));
	assert_non_null(strstr(log, "|content-md5: "));
	driver_s3.close(c);
}

static void connections_are_used_again(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c;
	struct err e;
	int before;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	before = double_connections();
	for (int64_t i = 1; i <= 20; i++) {
		struct location at = s3_location(i);

		OK(driver_s3.put(c, &at, &i, sizeof(i), &e));
	}
	/* One for the question itself at most. */
	assert_true(double_connections() - before <= 1);
	driver_s3.close(c);
}

static void each_attempt_is_signed_anew(void **state)
{
	SCRATCH_CTX(ctx);
	struct location at = s3_location(1);
	struct driver_conn *c;
	struct err e;
	char *log, *first, *second;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	s3_faults("['PUT', '', {'status': 503, 'headers': {'Retry-After': '1'}}]");
	OK(driver_s3.put(c, &at, "x", 1, &e));
	log = double_log(ctx);
	first = strstr(log, "Signature=");
	assert_non_null(first);
	second = strstr(first + 1, "Signature=");
	assert_non_null(second);
	/* The wait of a second that the server asked for was kept: the time is another, and so is the signature. */
	assert_memory_not_equal(first, second, strlen("Signature=") + 64);
	driver_s3.close(c);
}

static void a_put_does_not_overwrite_what_a_stranger_put(void **state)
{
	SCRATCH_CTX(ctx);
	struct location at = s3_location(1);
	struct driver_conn *c;
	struct err e;
	char room[16];
	size_t got;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	OK(driver_s3.put(c, &at, "one", 3, &e));
	OK(driver_s3.put(c, &at, "one", 3, &e));
	assert_int_equal(driver_s3.put(c, &at, "two", 3, &e), ERR_CONFLICT);
	assert_int_equal(driver_s3.put(c, &at, "on", 2, &e), ERR_CONFLICT);
	OK(driver_s3.get(c, &at, room, sizeof(room), &got, &e));
	assert_memory_equal(room, "one", 3);
	driver_s3.close(c);
}

static void a_listing_over_many_pages_is_in_order_of_numbers(void **state)
{
	enum { COUNT = 30 };
	SCRATCH_CTX(ctx);
	struct location page[7], last = {0};
	struct driver_conn *c;
	size_t count = 1, seen = 0;
	int64_t previous = 0;
	struct err e;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "prefix: p/");
	for (int64_t n = COUNT; n > 0; n--) {
		struct location at = s3_location(n * n * n);

		OK(driver_s3.put(c, &at, "x", 1, &e));
	}
	for (; count; seen += count) {
		OK(driver_s3.list(c, seen ? &last : NULL, page, ARRAY_SIZE(page), &count, &e));
		for (size_t i = 0; i < count; i++) {
			struct location wanted = s3_location(page[i].number);

			assert_true(page[i].number > previous);
			assert_true(digest_equal(&page[i].sha256, &wanted.sha256));
			previous = page[i].number;
			last = page[i];
		}
	}
	assert_int_equal(seen, COUNT);
	assert_int_equal(previous, COUNT * COUNT * COUNT);
	driver_s3.close(c);
}

static void many_more_than_a_thousand_are_removed_and_listed(void **state)
{
	enum { COUNT = 1100 };
	SCRATCH_CTX(ctx);
	struct location *at = talloc_array(ctx, struct location, COUNT),
			*listed = talloc_array(ctx, struct location, COUNT);
	struct driver_conn *c;
	struct err e;
	size_t count;
	char *log;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	for (int64_t n = 0; n < COUNT; n++) {
		at[n] = s3_location(n + 1);
		OK(driver_s3.put(c, &at[n], "x", 1, &e));
	}
	OK(driver_s3.list(c, NULL, listed, COUNT, &count, &e));
	assert_int_equal(count, COUNT);
	assert_memory_equal(at, listed, COUNT * sizeof(*at));
	s3_faults("");
	OK(driver_s3.remove(c, at, COUNT, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, "POST /b?delete"), 8); /* 138 seven times, 134 */
	assert_int_equal(count_of(log, "\n"), 8);
	OK(driver_s3.list(c, NULL, listed, COUNT, &count, &e));
	assert_int_equal(count, 0);
	driver_s3.close(c);
}

static void repeats_have_a_budget_that_all_calls_share(void **state)
{
	SCRATCH_CTX(ctx);
	struct location at = s3_location(1);
	struct driver_conn *c;
	unsigned requests;
	struct err e;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	s3_faults("['GET', '', {'status': 503, 'times': 1000}]");
	for (int i = 0; i < 12; i++) {
		char room[8];
		size_t got;

		assert_int_equal(driver_s3.get(c, &at, room, sizeof(room), &got, &e), ERR_UNAVAILABLE);
	}
	/* Without it there would be sixty: twelve first attempts and forty-eight repeats. */
	requests = s3_requests();
	assert_in_range(requests, 12 + 20, 12 + 30);
	driver_s3.close(c);
}

/* ---- what the server teaches ---- */

static void the_region_is_learnt(void **state)
{
	static const char *const configured[] = {"", "region: eu-west-1", "region: us-east-1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(configured); i++) {
		SCRATCH_CTX(ctx);
		struct location at = s3_location(1);
		struct driver_conn *c;
		struct err e;

		double_script("{'buckets': ['b'], " S3_KEYS ", 'region': 'eu-west-1'}");
		c = s3_open(ctx, configured[i]);
		s3_faults("");
		OK(driver_s3.put(c, &at, "x", 1, &e));
		assert_int_equal(s3_requests(), 1);
		/* The bucket is moved, and the server says so in a header. */
		double_script("{'region': 'ap-south-1', 'faults': [['PUT', '', {'status': 301, 'error':"
		              " 'PermanentRedirect', 'headers': {'x-amz-bucket-region': 'ap-south-1'}}]]}");
		OK(driver_s3.put(c, &at, "x", 1, &e));
		assert_int_equal(s3_requests(), 3); /* refused, put on condition, and compared */
		driver_s3.close(c);
	}
}

static void the_clock_of_the_server_is_learnt(void **state)
{
	static const int clocks[] = {3600, -86400, 400 * 86400};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		SCRATCH_CTX(ctx);
		struct location at = s3_location(1);
		struct driver_conn *c;
		struct err e;

		double_script("{'buckets': ['b'], " S3_KEYS ", 'region': 'us-east-1', 'clock': %d}", clocks[i]);
		c = s3_open(ctx, "");
		s3_faults("");
		OK(driver_s3.put(c, &at, "x", 1, &e));
		assert_int_equal(s3_requests(), 1);
		/* It is put right. */
		double_script("{'clock': 0}");
		OK(driver_s3.put(c, &at, "x", 1, &e));
		driver_s3.close(c);
	}
}

static void a_redirect_is_followed_and_signed_for_its_host(void **state)
{
	SCRATCH_CTX(ctx);
	struct location at = s3_location(1);
	struct driver_conn *c;
	struct err e;
	char *log;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	s3_faults("['PUT', '', {'status': 307, 'headers': {'Location': 'http://@OTHER/b/moved?x=1'}}]");
	OK(driver_s3.put(c, &at, "x", 1, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, "\n"), 2);
	assert_non_null(strstr(log, talloc_asprintf(ctx, "%d PUT /b/moved?x=1|", registry_double.ports[DOUBLE_OTHER])));
	driver_s3.close(c);
}

/* ---- opening ---- */

struct open_case {
	const char *name, *script, *config;
	enum err_code code;
	const char *says;
};

static const struct open_case open_cases[] = {
    {"all is well", "", "", ERR_OK, ""},
    {"wrong secret", "'keys': {'test:key': 'other'}", "", ERR_UNAUTHENTICATED, "SignatureDoesNotMatch"},
    {"unknown key", "'keys': {'other': 'se:cret/+'}", "", ERR_UNAUTHENTICATED, "InvalidAccessKeyId"},
    {"no bucket", "'buckets': []", "", ERR_NOT_FOUND, "NoSuchBucket"},
    {"the bucket is made", "'buckets': []", "create_bucket: true", ERR_OK, ""},
    {"the bucket is made elsewhere", "'buckets': [], 'region': 'eu-west-1'", "create_bucket: true", ERR_OK, ""},
    {"it takes a while to be known",
     "'buckets': [], 'faults': [['PUT', 'probe', {'status': 404, 'error':"
     " 'NoSuchBucket', 'times': 3}]]",
     "create_bucket: true", ERR_OK, ""},
    {"the bucket is somebody else's",
     "'faults': [['PUT', 'probe', {'status': 404, 'error': 'NoSuchBucket'}], ['PUT', '/b', {'status': 409, 'error':"
     " 'BucketAlreadyExists'}]]",
     "create_bucket: true", ERR_FORBIDDEN, "BucketAlreadyExists"},
    {"no permission to write", "'faults': [['PUT', '', {'status': 403, 'error': 'AccessDenied'}]]", "", ERR_FORBIDDEN,
     "AccessDenied"},
    {"no permission to read", "'faults': [['GET', '', {'status': 403, 'error': 'AccessDenied'}]]", "", ERR_FORBIDDEN,
     "get b/object_store/probe-"},
    {"no permission to remove", "'faults': [['POST', '', {'status': 403, 'error': 'AccessDenied'}]]", "", ERR_FORBIDDEN,
     "delete many b"},
    {"no permission to list", "'faults': [['GET', 'list-type', {'status': 403, 'error': 'AccessDenied'}]]", "",
     ERR_FORBIDDEN, "list b"},
    {"unwell", "'faults': [['PUT', '', {'status': 503, 'times': 100}]]", "", ERR_UNAVAILABLE, "status 503"},
    {"a web server", "'faults': [['PUT', '', {'status': 405, 'text': '<html>'}]]", "", ERR_INTERNAL, "not understood"},
    {"a web server that likes everything", "'faults': [['PUT', '', {'text': 'hi'}], ['GET', '', {'text': 'hi'}]]", "",
     ERR_INTERNAL, "is not what comes back"},
    {"ranges are not known",
     "'faults': [['GET', '', {'act': true, 'status': 200, 'text': 'Stowage was here, and can"
     " write, read and remove.\\n', 'times': 2}]]",
     "", ERR_INTERNAL, "status 200"},
    {"conditions are ignored", "'faults': [['PUT', 'zzz', {}], ['PUT', 'probe', {'act': true, 'times': 2}]]", "",
     ERR_OK, ""},
    {"removal of many is not known", "'faults': [['POST', '', {'status': 501, 'error': 'NotImplemented'}]]", "", ERR_OK,
     ""},
    {"timeout of nothing", "", "timeout: 1ms", ERR_INVALID, "timeout"},
    {"keys count before iamauto", "", "iamauto: true", ERR_OK, ""},
    {"no region is False elsewhere", "", "region: False", ERR_OK, ""},
};

static void opening_tells_what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(open_cases); i++) {
		const struct open_case *o = &open_cases[i];
		SCRATCH_CTX(ctx);
		struct driver_conn *c = NULL;
		struct err e = {.text = ""};
		enum err_code code;

		s3_script("");
		double_script("{%s}", o->script);
		code = s3_try_open(ctx, o->config, &c, &e);
		if (code != o->code || (code != ERR_OK && !strstr(e.text, o->says)))
			fail_msg("%s: %s, not %s: %s", o->name, err_name(code), err_name(o->code), e.text);
		assert_null(strstr(e.text, "se:cret"));
		if (c)
			driver_s3.close(c);
	}
}

static void nobody_listens(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c;
	struct err e;

	(void)state;
	assert_int_equal(
	    s3_try_open_with(ctx, "url: \"http://127.0.0.1:1\", bucket: b, access_key: a, secret_key: b", &c, &e),
	    ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "http://127.0.0.1:1"));
	assert_int_equal(s3_try_open_with(ctx,
	                                  "url: \"http://no-such-host.invalid\", bucket: b, access_key: a,"
	                                  " secret_key: b",
	                                  &c, &e),
	                 ERR_UNAVAILABLE);
}

static void https_is_trusted_by_the_file_that_is_given(void **state)
{
	SCRATCH_CTX(ctx);
	const char *url = double_url(ctx, DOUBLE_TLS, "");
	struct location at = s3_location(1);
	struct driver_conn *c;
	struct err e;

	(void)state;
	s3_script("");
	OK(s3_try_open_with(
	    ctx,
	    talloc_asprintf(ctx,
	                    "url: \"%s\", bucket: b, access_key: \"test:key\", secret_key: \"se:cret/+\","
	                    " ca_file: \"%s\"",
	                    url, registry_double.certificate),
	    &c, &e));
	OK(driver_s3.put(c, &at, "x", 1, &e));
	driver_s3.close(c);
	assert_int_equal(
	    s3_try_open_with(ctx, talloc_asprintf(ctx, "url: \"%s\", bucket: b, access_key: a, secret_key: b", url), &c,
	                     &e),
	    ERR_PRECONDITION);
	assert_non_null(strstr(e.text, "not trusted"));
}

static void the_probe_leaves_nothing_and_takes_what_an_old_one_left(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c;
	char *log;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	driver_s3.close(c);
	double_script("{'faults': [['GET', 'list-type', {'text': '<ListBucketResult><IsTruncated>false</IsTruncated>"
	              "<Contents><Key>object_store/probe-1000000000-aa</Key></Contents>"
	              "<Contents><Key>object_store/probe-9999999999-bb</Key></Contents>"
	              "<Contents><Key>object_store/other</Key></Contents></ListBucketResult>'}]]}");
	c = s3_open(ctx, "");
	driver_s3.close(c);
	log = double_log(ctx);
	assert_int_equal(count_of(log, "DELETE /b/object_store/"), 1);
	assert_int_equal(count_of(log, "DELETE /b/object_store/probe-1000000000-aa|"), 1);
	s3_faults("");
	c = s3_open(ctx, "");
	log = double_log(ctx);
	assert_int_equal(count_of(log, "DELETE"), 0);
	driver_s3.close(c);
}

static void it_says_whether_it_can_be_reached(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c;
	struct err e;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	s3_faults("");
	for (int i = 0; i < 10; i++)
		OK(driver_s3.ping(c, &e));
	assert_int_equal(s3_requests(), 0); /* it has just been proved */
	sleep(6);
	s3_faults("['GET', '', {'status': 503}], ['GET', '', {'status': 403, 'error': 'AccessDenied'}]");
	assert_int_equal(driver_s3.ping(c, &e), ERR_UNAVAILABLE);
	assert_int_equal(s3_requests(), 1);
	assert_int_equal(driver_s3.ping(c, &e), ERR_UNAVAILABLE);
	OK(driver_s3.ping(c, &e));
	OK(driver_s3.ping(c, &e));
	assert_int_equal(s3_requests(), 3);
	driver_s3.close(c);
}

/* ---- several threads ---- */

struct member {
	struct driver_conn *conn;
	int64_t number;
	bool failed;
};

static void *put_and_get(void *arg)
{
	struct member *m = arg;
	struct err e;

	for (int64_t i = 0; i < 20; i++) {
		struct location at = s3_location(m->number * 100 + i + 1);
		int64_t back = 0;
		size_t got = 0;

		m->failed |= driver_s3.put(m->conn, &at, &at.number, sizeof(at.number), &e) != ERR_OK;
		m->failed |= driver_s3.get(m->conn, &at, &back, sizeof(back), &got, &e) != ERR_OK || back != at.number;
		m->failed |= i % 2 && driver_s3.remove(m->conn, &at, 1, &e) != ERR_OK;
	}
	return NULL;
}

static void threads_do_not_disturb_each_other_while_things_change(void **state)
{
	enum { THREADS = 6 };
	SCRATCH_CTX(ctx);
	struct member members[THREADS];
	pthread_t threads[THREADS];
	struct location all[THREADS * 20];
	struct driver_conn *c;
	size_t count;
	struct err e;

	(void)state;
	s3_script("");
	c = s3_open(ctx, "");
	double_script("{'region': 'eu-west-1', 'clock': 7200, 'faults': [['PUT', '', {'status': 503, 'times': 3}],"
	              " ['GET', '', {'refuse': true, 'times': 3}]]}");
	for (int64_t n = 0; n < THREADS; n++) {
		members[n] = (struct member){c, n, false};
		assert_int_equal(pthread_create(&threads[n], NULL, put_and_get, &members[n]), 0);
	}
	for (size_t n = 0; n < THREADS; n++)
		pthread_join(threads[n], NULL);
	for (size_t n = 0; n < THREADS; n++)
		assert_false(members[n].failed);
	OK(driver_s3.list(c, NULL, all, ARRAY_SIZE(all), &count, &e));
	assert_int_equal(count, THREADS * 10);
	driver_s3.close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_checksum_is_sent_that_was_not_asked_for),
	    cmocka_unit_test(connections_are_used_again),
	    cmocka_unit_test(each_attempt_is_signed_anew),
	    cmocka_unit_test(a_put_does_not_overwrite_what_a_stranger_put),
	    cmocka_unit_test(a_listing_over_many_pages_is_in_order_of_numbers),
	    cmocka_unit_test(many_more_than_a_thousand_are_removed_and_listed),
	    cmocka_unit_test(repeats_have_a_budget_that_all_calls_share),
	    cmocka_unit_test(the_region_is_learnt),
	    cmocka_unit_test(the_clock_of_the_server_is_learnt),
	    cmocka_unit_test(a_redirect_is_followed_and_signed_for_its_host),
	    cmocka_unit_test(opening_tells_what_is_wrong),
	    cmocka_unit_test(nobody_listens),
	    cmocka_unit_test(https_is_trusted_by_the_file_that_is_given),
	    cmocka_unit_test(the_probe_leaves_nothing_and_takes_what_an_old_one_left),
	    cmocka_unit_test(it_says_whether_it_can_be_reached),
	    cmocka_unit_test(threads_do_not_disturb_each_other_while_things_change),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
