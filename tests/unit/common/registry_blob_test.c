#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/registry.h"

#include "tests/unit/common/registry_double.h"

#include <pthread.h>

#define SIZE 3000000
#define BLOB "/v2/app/blobs/sha256:1111111111111111111111111111111111111111111111111111111111111111"

/* What a sink saw, checked against the pattern as it came. */
struct seen {
	uint64_t bytes;
	bool wrong;
	uint64_t refuse_at; /* 0: never */
	unsigned calls_after_refusal;
};

static enum err_code see(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct seen *seen = arg;

	for (size_t i = 0; i < len; i++)
		seen->wrong |= ((const uint8_t *)bytes)[i] != pattern_byte(seen->bytes + i);
	seen->calls_after_refusal += seen->refuse_at && seen->bytes >= seen->refuse_at;
	seen->bytes += len;
	return seen->refuse_at && seen->bytes >= seen->refuse_at ? ERR(e, ERR_UNAVAILABLE, "sink is full") : ERR_OK;
}

static struct registry *new_registry(TALLOC_CTX *ctx)
{
	const struct registry_options options = {.retry = {.attempts = 4, .base_ms = 1, .cap_ms = 5, .budget_ms = 1000},
	                                         .stall_ms = 1500,
	                                         .connect_ms = 2000};
	struct registry *r;
	struct err e;

	OK(registry_new(ctx, double_host(ctx, DOUBLE_PLAIN), &options, &r, &e));
	return r;
}

static struct reference app(void)
{
	struct reference reference;
	SCRATCH_CTX(ctx);
	struct err e;

	OK(reference_parse(talloc_asprintf(ctx, "%s/app:1", double_host(ctx, DOUBLE_PLAIN)), &reference, &e));
	return reference;
}

static struct descriptor blob_of(uint64_t size)
{
	struct descriptor blob = {.media_type = "", .size = size};

	memset(&blob.digest, 0x11, sizeof(blob.digest));
	return blob;
}

static enum err_code stream(TALLOC_CTX *ctx, uint64_t size, struct seen *seen, struct err *e)
{
	struct descriptor blob = blob_of(size);
	struct reference reference = app();

	return registry_stream_blob(new_registry(ctx), &reference, &blob, see, seen, NULL, e);
}

/* Every way in which a registry may stumble and the blob still arrives, each byte once and in order. */
static void a_blob_arrives_whole(void **state)
{
	static const struct {
		const char *answers;
		size_t requests;
	} cases[] = {
	    {"{'pattern': 3000000}", 1},
	    {"{'pattern': 3000000, 'length': 'chunked'}", 1},
	    {"{'pattern': 3000000, 'length': 'none'}", 1},
	    {"{'status': 503}, {'refuse': true}, {'pattern': 3000000}", 3},
	    {"{'pattern': 3000000, 'send': 1000001}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'close': 1000001}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'close': 1000001, 'length': 'chunked'}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'close': 1000001, 'length': 'none'}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'send': 1000001}, {'pattern': 3000000}", 2},
	    {"{'pattern': 3000000, 'send': 1000001}, {'pattern': 3000000, 'send': 900000}, {'pattern': 3000000}", 3},
	    {"{'pattern': 3000000, 'send': 0}, {'pattern': 3000000, 'send': 1}, {'pattern': 3000000, 'ranges': true}",
	     3},
	    {"{'pattern': 3000000, 'close': 50000, 'pace': 0}, {'status': 500}, {'pattern': 3000000, 'ranges': true}",
	     3},
	    {"{'pattern': 3000000, 'send': 2999999}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'pace': 9}, {'pattern': 3000000, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'send': 1000001}, {'status': 206, 'pattern': 2000000, 'skew': 1000000,"
	     " 'headers': {'Content-Range': 'bytes 1000000-2999999/*'}}",
	     2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {0};
		struct err e;
		SCRATCH_CTX(ctx);

		double_script("{'" BLOB "': [%s]}", cases[i].answers);
		if (stream(ctx, SIZE, &seen, &e) != ERR_OK)
			fail_msg("%s: %s", cases[i].answers, e.text);
		if (seen.bytes != SIZE || seen.wrong || count_of(double_log(ctx), "GET /v2/") != cases[i].requests)
			fail_msg("%s: %llu bytes, log: %s", cases[i].answers, (unsigned long long)seen.bytes,
			         double_log(ctx));
	}
}

static void a_resumed_transfer_asks_for_the_rest_only(void **state)
{
	struct seen seen = {0};
	struct err e;
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	double_script("{'" BLOB "': [{'pattern': 3000000, 'close': 1000001}, {'pattern': 3000000, 'ranges': true}]}");
	OK(stream(ctx, SIZE, &seen, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, "range: "), 1);
	assert_int_equal(count_of(log, "range: bytes=1000001-"), 1);
}

static void a_blob_of_another_size_is_corrupt(void **state)
{
	static const struct {
		const char *answers;
		size_t requests;
	} cases[] = {
	    {"{'pattern': 2999999}", 1},
	    {"{'pattern': 3000001}", 1},
	    {"{'pattern': 0}", 1},
	    {"{'pattern': 2999999, 'length': 'chunked'}", 1},
	    {"{'pattern': 3000001, 'length': 'chunked'}", 1},
	    {"{'pattern': 3000001, 'length': 'none'}", 1},
	    {"{'pattern': 9000000, 'length': 'none'}", 1},
	    {"{'pattern': 3000000, 'send': 1000}, {'status': 416}", 2},
	    {"{'pattern': 3000000, 'send': 1000}, {'pattern': 3000001, 'ranges': true}", 2},
	    {"{'pattern': 3000000, 'send': 1000}, {'status': 206, 'pattern': 9, 'headers': {'Content-Range': 'bytes "
	     "1001-2999999/3000000'}}",
	     2},
	    {"{'pattern': 3000000, 'send': 1000}, {'status': 206, 'pattern': 9}", 2},
	    {"{'pattern': 3000000, 'send': 1000}, {'status': 206, 'pattern': 9, 'headers': {'Content-Range': 'bytes "
	     "x-'}}",
	     2},
	    {"{'pattern': 3000000, 'send': 1000}, {'status': 206, 'pattern': 9, 'headers': {'Content-Range': 'bytes "
	     "99999999999999999999-99999999999999999999/1'}}",
	     2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {0};
		struct err e = {0};
		SCRATCH_CTX(ctx);

		double_script("{'" BLOB "': [%s]}", cases[i].answers);
		if (stream(ctx, SIZE, &seen, &e) != ERR_CORRUPT || !strstr(e.text, "/app blob sha256:1111"))
			fail_msg("%s: %s: %s", cases[i].answers, err_name(e.code), e.text);
		assert_false(seen.wrong);
		assert_true(seen.bytes <= SIZE);
		if (count_of(double_log(ctx), "GET /v2/") != cases[i].requests)
			fail_msg("%s: %s", cases[i].answers, double_log(ctx));
	}
}

static void a_blob_that_never_comes_through_is_unavailable(void **state)
{
	static const struct {
		const char *answers;
		enum err_code code;
	} cases[] = {
	    {"{'status': 503}", ERR_UNAVAILABLE},
	    {"{'pattern': 3000000, 'send': 1000}", ERR_UNAVAILABLE},
	    {"{'pattern': 1000, 'length': 'none'}", ERR_UNAVAILABLE},
	    {"{'delay': 3}", ERR_DEADLINE},
	    {"{'status': 404}", ERR_NOT_FOUND},
	    {"{'status': 403}", ERR_FORBIDDEN},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {0};
		struct err e = {0};
		SCRATCH_CTX(ctx);

		double_script("{'" BLOB "': [%s]}", cases[i].answers);
		if (stream(ctx, SIZE, &seen, &e) != cases[i].code)
			fail_msg("%s: %s: %s", cases[i].answers, err_name(e.code), e.text);
		assert_false(seen.wrong);
		/* Four attempts; fewer when a busy machine makes their waits end after the retry budget. */
		if (err_retry(cases[i].code))
			assert_in_range(count_of(double_log(ctx), "GET /v2/"), 2, 4);
		else
			assert_int_equal(count_of(double_log(ctx), "GET /v2/"), 1);
	}
}

/* Five breaks, more than there are attempts, but each after a good piece of the way. */
static void coming_forward_gives_attempts_back(void **state)
{
	struct seen seen = {0};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'" BLOB "': [{'pattern': 9000000, 'ranges': true, 'close': 1500000}]}");
	OK(stream(ctx, 9000000, &seen, &e));
	assert_int_equal(seen.bytes, 9000000);
	assert_false(seen.wrong);
	assert_int_equal(count_of(double_log(ctx), "GET /v2/"), 6);
}

static void a_sinks_error_ends_the_stream_at_once(void **state)
{
	struct seen seen = {.refuse_at = 100000};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'" BLOB "': [{'pattern': 3000000}]}");
	assert_int_equal(stream(ctx, SIZE, &seen, &e), ERR_UNAVAILABLE);
	assert_string_equal(e.text, "sink is full");
	assert_int_equal(seen.calls_after_refusal, 0);
	assert_int_equal(count_of(double_log(ctx), "GET /v2/"), 1);
}

static bool stop_after(void *arg)
{
	return clock_monotonic_ms() > *(int64_t *)arg;
}

static void a_stream_can_be_stopped(void **state)
{
	int64_t start = clock_monotonic_ms(), when = start + 300;
	const struct patience patience = {.stop = stop_after, .stop_arg = &when};
	struct descriptor blob = blob_of(SIZE);
	struct reference reference = app();
	struct seen seen = {0};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'" BLOB "': [{'pattern': 3000000, 'pace': 0.05}]}");
	assert_int_equal(registry_stream_blob(new_registry(ctx), &reference, &blob, see, &seen, &patience, &e),
	                 ERR_CANCELLED);
	assert_true(seen.bytes > 0 && seen.bytes < SIZE);
	assert_true(clock_monotonic_ms() - start < 3000);
}

static void a_redirected_blob_is_resumed_through_the_registry(void **state)
{
	struct seen seen = {0};
	struct err e;
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	double_script(
	    "{'" BLOB "': [{'status': 307, 'headers': {'Location': 'http://@OTHER/one'}},"
	    " {'status': 307, 'headers': {'Location': 'http://@OTHER/two'}}],"
	    " '/one': [{'pattern': 3000000, 'send': 1000001}], '/two': [{'pattern': 3000000, 'ranges': true}]}");
	OK(stream(ctx, SIZE, &seen, &e));
	assert_false(seen.wrong);
	log = double_log(ctx);
	assert_int_equal(count_of(log, " /one|"), 1);
	assert_int_equal(count_of(log, " /two|"), 1);
	assert_non_null(strstr(strstr(log, " /two|"), "range: bytes=1000001-"));
}

static void a_small_blob_in_memory_has_its_digest(void **state)
{
	static const char text[] = "hello";
	struct reference reference = app();
	struct descriptor blob = {.digest = digest_of(text, 5), .size = 5};
	struct digest_text digest = digest_text(&blob.digest);
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx);
	struct buf bytes;

	(void)state;
	double_script("{'/v2/app/blobs/%s': [{'text': 'hello'}, {'text': 'hullo'}]}", digest.text);
	OK(registry_get_blob(r, &reference, &blob, 5, NULL, &bytes, &e));
	assert_int_equal(bytes.len, 5);
	assert_memory_equal(bytes.bytes, "hello", 5);
	buf_release(&bytes);
	assert_int_equal(registry_get_blob(r, &reference, &blob, 5, NULL, &bytes, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "under this name is sha256:"));
	assert_int_equal(registry_get_blob(r, &reference, &blob, 4, NULL, &bytes, &e), ERR_TOO_LARGE);
}

static void an_empty_blob_is_a_blob(void **state)
{
	struct reference reference = app();
	struct descriptor blob = {.digest = digest_of("", 0), .size = 0};
	struct digest_text digest = digest_text(&blob.digest);
	struct buf bytes;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/blobs/%s': [{}]}", digest.text);
	OK(registry_get_blob(new_registry(ctx), &reference, &blob, 0, NULL, &bytes, &e));
	assert_int_equal(bytes.len, 0);
	buf_release(&bytes);
}

struct racer {
	pthread_t thread;
	struct registry *registry;
	enum err_code code;
	struct seen seen;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct descriptor blob = blob_of(SIZE);
	struct reference reference = app();

	racer->code = registry_stream_blob(racer->registry, &reference, &blob, see, &racer->seen, NULL, NULL);
	return NULL;
}

static void threads_share_one_registry(void **state)
{
	struct racer racers[6] = {0};
	struct registry_options options = {.user = "user", .password = "pass"};
	struct registry *r;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'" BLOB
	              "': [{'auth': 'Bearer T', 'challenge': 'Bearer realm=\\\"http://127.0.0.1:%d/token\\\"',"
	              " 'pattern': 3000000}], '/token': [{'text': '{\\\"token\\\":\\\"T\\\",\\\"expires_in\\\":0}'}]}",
	              registry_double.ports[DOUBLE_OTHER]);
	OK(registry_new(ctx, double_host(ctx, DOUBLE_PLAIN), &options, &r, &e));
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i].registry = r;
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		pthread_join(racers[i].thread, NULL);
		assert_int_equal(racers[i].code, ERR_OK);
		assert_int_equal(racers[i].seen.bytes, SIZE);
		assert_false(racers[i].seen.wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_blob_arrives_whole),
	    cmocka_unit_test(a_resumed_transfer_asks_for_the_rest_only),
	    cmocka_unit_test(a_blob_of_another_size_is_corrupt),
	    cmocka_unit_test(a_blob_that_never_comes_through_is_unavailable),
	    cmocka_unit_test(coming_forward_gives_attempts_back),
	    cmocka_unit_test(a_sinks_error_ends_the_stream_at_once),
	    cmocka_unit_test(a_stream_can_be_stopped),
	    cmocka_unit_test(a_redirected_blob_is_resumed_through_the_registry),
	    cmocka_unit_test(a_small_blob_in_memory_has_its_digest),
	    cmocka_unit_test(an_empty_blob_is_a_blob),
	    cmocka_unit_test(threads_share_one_registry),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
