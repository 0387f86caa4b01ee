#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char output[256 * 1024];

/* Runs write_records with stderr in a file, whose content is then in output. */
static void capture(void (*write_records)(void))
{
	char path[] = "/tmp/stowage-log-XXXXXX";
	int file = mkstemp(path), saved = dup(STDERR_FILENO);
	ssize_t len;

	assert_true(file >= 0 && saved >= 0);
	unlink(path);
	assert_true(dup2(file, STDERR_FILENO) >= 0);
	write_records();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	len = pread(file, output, sizeof(output) - 1, 0);
	assert_true(len >= 0);
	output[len] = '\0';
	close(file);
}

static size_t count_lines(void)
{
	size_t n = 0;

	for (const char *at = output; *at; at++)
		n += *at == '\n';
	return n;
}

static void write_fields(void)
{
	struct err e;

	ERR(&e, ERR_NOT_FOUND, "no manifest for %s", "x");
	log_context_set("req-1", "trace-1", "acme", 42);
	LOG_INFO("layer analysed", LOG_TEXT("digest", "sha256:ab"), LOG_NUMBER("bytes", -7), LOG_TEXT("none", NULL),
	         LOG_TEXT("words", "a b=\"c\""));
	log_context_clear();
	LOG_WARN("failed", LOG_ERR(&e));
	LOG_DEBUG("not shown");
	LOG_ERROR("alone");
}

static void text_records_are_for_people(void **state)
{
	(void)state;
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture(write_fields);
	assert_int_equal(count_lines(), 3);
	assert_non_null(strstr(output, "Z INFO  tester: layer analysed request=req-1 trace=trace-1 account=acme job=42 "
	                               "digest=sha256:ab bytes=-7 none=\"\" words=\"a b=\\\"c\\\"\"\n"));
	assert_non_null(strstr(output, "Z WARN  tester: failed code=\"not found\" error=\"no manifest for x\"\n"));
	assert_non_null(strstr(output, "Z ERROR tester: alone\n"));
	assert_true(output[4] == '-' && output[10] == 'T' && output[19] == '.' && output[23] == 'Z');
}

static const char *member(const cJSON *record, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, name));
}

static void json_records_are_for_machines(void **state)
{
	cJSON *record;

	(void)state;
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture(write_fields);
	assert_int_equal(count_lines(), 3);
	record = cJSON_Parse(output);
	assert_non_null(record);
	assert_string_equal(member(record, "level"), "info");
	assert_string_equal(member(record, "service"), "tester");
	assert_string_equal(member(record, "event"), "layer analysed");
	assert_string_equal(member(record, "request"), "req-1");
	assert_string_equal(member(record, "account"), "acme");
	assert_string_equal(member(record, "words"), "a b=\"c\"");
	assert_int_equal(cJSON_GetObjectItem(record, "job")->valueint, 42);
	assert_int_equal(cJSON_GetObjectItem(record, "bytes")->valueint, -7);
	assert_int_equal(strlen(member(record, "time")), strlen("2026-01-31T23:59:59.123Z"));
	cJSON_Delete(record);
}

static const struct {
	const char *value, *text; /* as a text record shows it */
} hostile[] = {
    {"two\nlines", "\"two\\nlines\""},
    {"\t\r\x1b[31m", "\"\\t\\u000d\\u001b[31m\""},
    {"\x7f", "\"\\u007f\""},
    {"\xc2\x9b", "\"\\u009b\""},     /* a control character of eight bits */
    {"\xe2\x80\xae", "\"\\u202e\""}, /* turns the direction of writing; NOLINT(misc-misleading-bidirectional): meant */
    {"\xe2\x80\xa8", "\"\\u2028\""}, /* a line separator */
    {"\xff\xfe", "\"\\ufffd\\ufffd\""},            /* no UTF-8 */
    {"\xc0\x80", "\"\\ufffd\\ufffd\""},            /* overlong */
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
    {"\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    {"cut \xe2\x82", "\"cut \\ufffd\\ufffd\""},
    {"gr\xc3\xb6\xc3\x9f"
     "er \xf0\x9f\x9a\xa2",
     "\"gr\xc3\xb6\xc3\x9f"
     "er \xf0\x9f\x9a\xa2\""},
    {"x\" level=ERROR y=\"", "\"x\\\" level=ERROR y=\\\"\""},
    {"back\\slash", "\"back\\\\slash\""},
    {"plain-word_1/2:3", "plain-word_1/2:3"},
};

static void write_hostile(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++)
		LOG_INFO("value", LOG_TEXT("v", hostile[i].value));
}

static void values_cannot_forge_or_break_records(void **state)
{
	char *at = output;

	(void)state;
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture(write_hostile);
	assert_int_equal(count_lines(), ARRAY_SIZE(hostile));
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		char *end = strchr(at, '\n');

		*end = '\0';
		assert_string_equal(strstr(at, " v=") + 3, hostile[i].text);
		at = end + 1;
	}
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture(write_hostile);
	assert_int_equal(count_lines(), ARRAY_SIZE(hostile));
	at = output;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		char *end = strchr(at, '\n');
		cJSON *record;

		*end = '\0';
		record = cJSON_Parse(at);
		assert_non_null(record);
		assert_non_null(member(record, "v"));
		cJSON_Delete(record);
		at = end + 1;
	}
}

static char *long_text;

static void write_long(void)
{
	LOG_WARN("long", LOG_TEXT("one", long_text));
	LOG_WARN("longer", LOG_TEXT("one", long_text), LOG_TEXT("two", long_text), LOG_TEXT("three", long_text),
	         LOG_TEXT("four", long_text), LOG_NUMBER("five", 5));
	LOG_WARN(long_text);
}

static void records_stay_within_a_pipe_write(void **state)
{
	static const enum log_format formats[] = {LOG_FORMAT_TEXT, LOG_FORMAT_JSON};
	static const char *const units[] = {"x", "\xc3\xbc", "\n", "\xf0\x9f\x9a\xa2"};

	(void)state;
	long_text = calloc(1, 40001);
	for (size_t f = 0; f < 2; f++) {
		for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
			size_t unit = strlen(units[u]);

			for (size_t i = 0; i < 10000; i++)
				memcpy(long_text + i * unit, units[u], unit);
			long_text[10000 * unit] = '\0';
			log_setup("tester", LOG_LEVEL_INFO, formats[f]);
			capture(write_long);
			assert_int_equal(count_lines(), 3);
			for (char *at = output, *end; *at; at = end + 1) {
				end = strchr(at, '\n');
				*end = '\0';
				assert_true(strlen(at) < 4096);
				if (formats[f] == LOG_FORMAT_JSON) {
					cJSON *record = cJSON_Parse(at);

					assert_non_null(record);
					cJSON_Delete(record);
				}
				assert_null(strstr(at, "\\ufffd")); /* cut between characters */
			}
		}
	}
	free(long_text);
}

static void write_many(void)
{
	for (int i = 0; i < 100; i++) {
		LOG_INFO("quiet");
		LOG_WARN("loud", LOG_NUMBER("n", i));
	}
}

static void the_last_errors_are_remembered_as_text(void **state)
{
	SCRATCH_CTX(ctx);
	char *lines[64];

	(void)state;
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture(write_many);
	assert_int_equal(log_last_errors(ctx, lines, 3), 3);
	for (int i = 0; i < 3; i++) {
		char tail[32];

		snprintf(tail, sizeof(tail), "WARN  tester: loud n=%d", 99 - i);
		assert_string_equal(strstr(lines[i], "WARN"), tail);
	}
	assert_int_equal(log_last_errors(ctx, lines, 64), 32);
	assert_int_equal(log_last_errors(ctx, lines, 0), 0);
}

static void *write_in_thread(void *arg)
{
	log_context_set(arg, NULL, NULL, 0);
	for (int i = 0; i < 200; i++)
		LOG_WARN("from a thread", LOG_TEXT("who", arg));
	return NULL;
}

static void write_from_threads(void)
{
	static char names[4][2] = {"a", "b", "c", "d"};
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_in_thread, names[i]), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void each_thread_has_its_context(void **state)
{
	size_t right = 0;

	(void)state;
	log_setup("tester", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture(write_from_threads);
	for (const char *at = strstr(output, "request="); at; at = strstr(at + 1, "request="))
		right += at[8] == at[14] && strncmp(at + 9, " who=", 5) == 0;
	assert_int_equal(right, 800);
}

static void write_levels(void)
{
	LOG_DEBUG("d");
	LOG_INFO("i");
	LOG_WARN("w");
	LOG_ERROR("e");
}

static void levels_filter(void **state)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		enum log_level level;

		assert_true(log_level_from_name(names[i], &level));
		log_setup("tester", level, LOG_FORMAT_TEXT);
		capture(write_levels);
		assert_int_equal(count_lines(), 4 - i);
	}
}

static void words_that_are_none_change_nothing(void **state)
{
	enum log_level level = LOG_LEVEL_WARN;
	enum log_format format = LOG_FORMAT_JSON;

	(void)state;
	assert_false(log_level_from_name("INFO", &level));
	assert_false(log_format_from_name("", &format));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_int_equal(format, LOG_FORMAT_JSON);
	assert_true(log_format_from_name("text", &format));
	assert_int_equal(format, LOG_FORMAT_TEXT);
}

static int errno_afterwards;

static void write_with_errno(void)
{
	errno = EXDEV;
	LOG_WARN("something");
	errno_afterwards = errno;
}

/* write(2) fails. */
static void write_nowhere(void)
{
	close(STDERR_FILENO);
	write_with_errno();
}

static void errno_survives_logging(void **state)
{
	(void)state;
	capture(write_with_errno);
	assert_int_equal(errno_afterwards, EXDEV);
	capture(write_nowhere);
	assert_int_equal(errno_afterwards, EXDEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_records_are_for_people),
	    cmocka_unit_test(json_records_are_for_machines),
	    cmocka_unit_test(values_cannot_forge_or_break_records),
	    cmocka_unit_test(records_stay_within_a_pipe_write),
	    cmocka_unit_test(the_last_errors_are_remembered_as_text),
	    cmocka_unit_test(each_thread_has_its_context),
	    cmocka_unit_test(levels_filter),
	    cmocka_unit_test(words_that_are_none_change_nothing),
	    cmocka_unit_test(errno_survives_logging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
