#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/metrics.h"

#include <pthread.h>
#include <string.h>

static struct metric requests = METRIC_COUNTER("test_requests_total", "Requests.");
static struct metric level = METRIC_GAUGE("test_level", "A level.");
static struct metric labelled_b = METRIC_COUNTER("test_calls_total{method=\"b\"}", "Calls.");
static struct metric labelled_a = METRIC_COUNTER("test_calls_total{method=\"a\"}", "Calls.");
static struct metric between = METRIC_COUNTER("test_calls_total_more", "More calls.");
static struct metric untouched = METRIC_COUNTER("test_untouched_total", "Never.");

static void metrics_appear_at_their_first_use(void **state)
{
	CLEANUP(buf_release) struct buf out;

	(void)state;
	buf_init(&out, 4096);
	metrics_print(&out);
	assert_int_equal(out.len, 0);
	metric_add(&requests, 2);
	metric_add(&requests, 3);
	metric_set(&level, 10);
	metric_set(&level, -4);
	metric_add(&labelled_b, 1);
	metric_add(&between, 0);
	metric_add(&labelled_a, 1);
	metrics_print(&out);
	assert_string_equal(out.bytes, "# HELP test_calls_total Calls.\n"
	                               "# TYPE test_calls_total counter\n"
	                               "test_calls_total{method=\"a\"} 1\n"
	                               "test_calls_total{method=\"b\"} 1\n"
	                               "# HELP test_calls_total_more More calls.\n"
	                               "# TYPE test_calls_total_more counter\n"
	                               "test_calls_total_more 0\n"
	                               "# HELP test_level A level.\n"
	                               "# TYPE test_level gauge\n"
	                               "test_level -4\n"
	                               "# HELP test_requests_total Requests.\n"
	                               "# TYPE test_requests_total counter\n"
	                               "test_requests_total 5\n");
	assert_int_equal(metric_read(&requests), 5);
	assert_int_equal(metric_read(&untouched), 0);
}

static struct metric shared[16];

static void *use_all(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++)
		metric_add(&shared[i % 16], 1);
	return NULL;
}

static void count(const struct metric *m, void *arg)
{
	if (strncmp(m->name, "shared", 6) == 0)
		*(int64_t *)arg += metric_read(m);
}

static void threads_register_each_once(void **state)
{
	static const char *const names[16] = {
	    "shared_0", "shared_1", "shared_2",  "shared_3",  "shared_4",  "shared_5",  "shared_6",  "shared_7",
	    "shared_8", "shared_9", "shared_10", "shared_11", "shared_12", "shared_13", "shared_14", "shared_15"};
	pthread_t threads[8];
	int64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < 16; i++)
		shared[i].name = shared[i].help = names[i];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_all, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	metrics_each(count, &sum);
	assert_int_equal(sum, 8000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(metrics_appear_at_their_first_use),
	    cmocka_unit_test(threads_register_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
