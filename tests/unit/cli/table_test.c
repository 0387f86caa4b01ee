#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/table.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static char *print(const struct table *t, size_t width)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	table_print(t, out, width);
	fclose(out);
	return text;
}

static void assert_prints(const struct table *t, size_t width, const char *wanted)
{
	char *text = print(t, width);

	assert_string_equal(text, wanted);
	free(text);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	SCRATCH_CTX(ctx);
	struct table *t =
	    table_new(ctx, (const struct table_column[]){{"NAME"}, {"N", .right = true}, {"LAST"}, {NULL}});

	(void)state;
	table_row(t, "a", "1", "x");
	table_row(t, "longer", "22", NULL);
	table_row(t, "", "333", "");
	assert_int_equal(table_rows(t), 3);
	assert_prints(t, 0,
	              "NAME      N  LAST\n"
	              "a         1  x\n"
	              "longer   22\n"
	              "        333\n");
}

static void cells_are_counted_not_bytes(void **state)
{
	SCRATCH_CTX(ctx);
	struct table *t = table_new(ctx, (const struct table_column[]){{"A"}, {"B"}, {NULL}});

	(void)state;
	assert_int_equal(text_width("\xc3\xbc"), 1);     /* one letter, two bytes */
	assert_int_equal(text_width("\xe6\xbc\xa2"), 2); /* a wide one */
	assert_int_equal(text_width("e\xcc\x81"), 1);    /* a combining accent */
	table_row(t, "\xe6\xbc\xa2", "x");
	table_row(t, "\xc3\xbc", "y");
	table_row(t, "abc", "z");
	assert_prints(t, 0,
	              "A    B\n"
	              "\xe6\xbc\xa2   x\n"
	              "\xc3\xbc    y\n"
	              "abc  z\n");
}

static void too_wide_a_table_is_cut_in_elastic_columns(void **state)
{
	SCRATCH_CTX(ctx);
	struct table *t = table_new(
	    ctx, (const struct table_column[]){{"FIXED"}, {"ELASTIC", .elastic = true}, {"E", .right = true}, {NULL}});

	(void)state;
	table_row(t, "aaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "1");
	assert_prints(t, 28,
	              "FIXED       ELASTIC        E\n"
	              "aaaaaaaaaa  bbbbbbbbbbbb\xe2\x80\xa6  1\n");
	/* Not below what can be read, however narrow. */
	assert_prints(t, 5,
	              "FIXED       ELASTIC       E\n"
	              "aaaaaaaaaa  bbbbbbbbbbb\xe2\x80\xa6  1\n");
}

static void a_wide_letter_is_not_cut_in_half(void **state)
{
	SCRATCH_CTX(ctx);
	struct table *t = table_new(ctx, (const struct table_column[]){{"A", .elastic = true}, {"B"}, {NULL}});

	(void)state;
	table_row(t, "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2", "x");
	assert_prints(t, 15,
	              "A             B\n"
	              "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe2\x80\xa6   x\n");
}

static void nothing_in_a_cell_reaches_the_terminal(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
	    {"plain", "plain"},
	    {"a\x1b[2Jb", "a?[2Jb"},
	    {"a\nb\rc\td", "a?b?c?d"},
	    {"\x7f\xc2\x9b", "??"},
	    {"bad \xff\xfe end", "bad ?? end"},
	    {"cut \xe6\xbc", "cut ??"},
	    {"overlong \xc0\xaf", "overlong ??"},
	    {"surrogate \xed\xa0\x80", "surrogate ???"},
	    {"\xc3\xbc\xe6\xbc\xa2\xf0\x9f\x98\x80", "\xc3\xbc\xe6\xbc\xa2\xf0\x9f\x98\x80"},
	};

	/* Spelled out, lest this very source be turned around. */
	static const char turned[] = {'a', (char)0xe2, (char)0x80, (char)0xae, 'b', '\0'};
	SCRATCH_CTX(outer);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		assert_string_equal(text_clean(ctx, cases[i].text), cases[i].shown);
	}
	assert_string_equal(text_clean(outer, turned), "a?b");
}

static void many_rows_are_kept(void **state)
{
	SCRATCH_CTX(ctx);
	struct table *t = table_new(ctx, (const struct table_column[]){{"N"}, {NULL}});
	char number[16], *text;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(number, sizeof(number), "%d", i);
		table_row(t, number);
	}
	text = print(t, 0);
	assert_non_null(strstr(text, "\n0\n1\n2\n3\n4\n"));
	assert_non_null(strstr(text, "\n998\n999\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
	    cmocka_unit_test(cells_are_counted_not_bytes),
	    cmocka_unit_test(too_wide_a_table_is_cut_in_elastic_columns),
	    cmocka_unit_test(a_wide_letter_is_not_cut_in_half),
	    cmocka_unit_test(nothing_in_a_cell_reaches_the_terminal),
	    cmocka_unit_test(many_rows_are_kept),
	};

	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
