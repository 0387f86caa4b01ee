#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/cli/analysis.h"
#include "services/cli/json_writer.h"
#include "services/cli/license.h"
#include "services/cli/output.h"

#include <stdlib.h>
#include <string.h>

static void bytes_have_three_digits_and_a_unit(void **state)
{
	static const struct {
		int64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0 B"},
	    {1023, "1023 B"},
	    {1024, "1.0 KiB"},
	    {1536, "1.5 KiB"},
	    {102348, "99.9 KiB"},
	    {102400, "100 KiB"},
	    {1048575, "1.0 MiB"},
	    {723517440, "690 MiB"},
	    {(int64_t)5 << 40, "5.0 TiB"},
	    {INT64_MAX, "8192 PiB"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		assert_string_equal(show_bytes(ctx, cases[i].bytes), cases[i].text);
	}
}

static void durations_and_times(void **state)
{
	SCRATCH_CTX(ctx);

	(void)state;
	assert_string_equal(show_ms(ctx, 12), "12 ms");
	assert_string_equal(show_ms(ctx, 1300), "1.3 s");
	assert_string_equal(show_ms(ctx, 250000), "4 min 10 s");
	assert_string_equal(show_ms(ctx, 3660000), "1 h 1 min");
	assert_string_equal(show_time(ctx, 0), "");
	assert_string_equal(show_time(ctx, 1704067200000), "2024-01-01 00:00:00 UTC");
	assert_string_equal(show_age(ctx, 0), "");
	assert_string_equal(show_age(ctx, clock_wall_ms() - 3 * 86400000LL - 5000), "3 d ago");
	assert_string_equal(show_age(ctx, clock_wall_ms() - 600500), "10 min ago");
	assert_string_equal(show_age(ctx, clock_wall_ms() + 60000), "0 s ago"); /* another machine's clock */
}

static char *written(void (*write)(struct json_writer *w))
{
	SCRATCH_CTX(ctx);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	write(json_writer_new(ctx, out));
	fclose(out);
	return text;
}

static void write_document(struct json_writer *w)
{
	json_open_object(w, NULL);
	json_add_text(w, "text", "quote \" back \\ tab \t \x01 \x7f \xc3\xbc");
	json_add_bytes(w, "bytes", "bad \xff\xc3", 6);
	json_add_number(w, "number", INT64_C(-9007199254740993));
	json_add_flag(w, "flag", true);
	json_add_known(w, "unknown", "");
	json_add_known(w, "unknown", NULL);
	json_open_array(w, "empty");
	json_close(w);
	json_open_array(w, "list");
	json_add_text(w, NULL, "a");
	json_open_object(w, NULL);
	json_close(w);
	json_close(w);
	json_close(w);
}

static void a_document_is_written_as_it_comes(void **state)
{
	char *text = written(write_document);
	cJSON *parsed = cJSON_Parse(text);

	(void)state;
	assert_string_equal(text, "{\n"
	                          "  \"text\": \"quote \\\" back \\\\ tab \\u0009 \\u0001 \\u007f \xc3\xbc\",\n"
	                          "  \"bytes\": \"bad \\ufffd\\ufffd\",\n"
	                          "  \"number\": -9007199254740993,\n"
	                          "  \"flag\": true,\n"
	                          "  \"empty\": [],\n"
	                          "  \"list\": [\n"
	                          "    \"a\",\n"
	                          "    {}\n"
	                          "  ]\n"
	                          "}\n");
	assert_non_null(parsed);
	cJSON_Delete(parsed);
	free(text);
}

static void licences_are_recognised(void **state)
{
	static const struct {
		const char *stated, *id;
		bool expression;
	} cases[] = {
	    {"MIT", "MIT", false},
	    {"apache-2.0", "Apache-2.0", false},
	    {"MIT License", NULL, false},
	    {"", NULL, false},
	    {"MIT AND Apache-2.0", NULL, true},
	    {"(MIT OR GPL-2.0-only) AND ISC", NULL, true},
	    {"mit AND ISC", NULL, false},
	    {"MIT AND", NULL, false},
	    {"AND MIT", NULL, false},
	    {"MIT ISC", NULL, false},
	    {"(MIT OR ISC", NULL, false},
	    {"MIT OR ISC)", NULL, false},
	    {"MIT OR ()", NULL, false},
	    {"MIT OR Custom", NULL, false},
	    {"(MIT)", NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *id = license_id(cases[i].stated);

		assert_int_equal(id != NULL, cases[i].id != NULL);
		if (id)
			assert_string_equal(id, cases[i].id);
		assert_int_equal(license_is_expression(cases[i].stated), cases[i].expression);
	}
}

static void a_reason_becomes_the_error_it_was(void **state)
{
	static const struct {
		const char *reason;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {"corrupt: layer x is bad", ERR_CORRUPT, "image i: layer x is bad"},
	    {"too large: 5", ERR_TOO_LARGE, "image i: 5"},
	    {"something: else", ERR_INTERNAL, "image i: something: else"},
	    {"no code at all", ERR_INTERNAL, "image i: no code at all"},
	    {"", ERR_INTERNAL, "image i: no reason was given"},
	    {NULL, ERR_INTERNAL, "image i: no reason was given"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e;

		assert_int_equal(analysis_reason("i", cases[i].reason, &e), cases[i].code);
		assert_string_equal(e.text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_have_three_digits_and_a_unit), cmocka_unit_test(durations_and_times),
	    cmocka_unit_test(a_document_is_written_as_it_comes),  cmocka_unit_test(licences_are_recognised),
	    cmocka_unit_test(a_reason_becomes_the_error_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
