#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/args.h"
#include "services/cli/help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err_code run_nothing(struct cli *cli, const struct args *args, struct err *e)
{
	(void)cli;
	(void)args;
	(void)e;
	return ERR_OK;
}

static const char *const colours[] = {"red", "green", NULL};
static const struct option_spec globals[] = {
    {.name = "config", .kind = OPTION_TEXT, .value = "FILE", .repeatable = true, .help = "where"},
    {.name = "json", .kind = OPTION_FLAG, .help = "so"},
    {.name = "timeout", .kind = OPTION_DURATION, .value = "TIME", .help = "when"},
    {.name = "help", .kind = OPTION_FLAG, .help = "this"},
    {.name = NULL},
};
static const struct option_spec add_options[] = {
    {.name = "wait", .kind = OPTION_FLAG, .help = "until"},
    {.name = "colour", .kind = OPTION_TEXT, .value = "C", .choices = colours, .help = "which"},
    {.name = "version", .kind = OPTION_TEXT, .value = "V", .help = "which"},
    {.name = "tag", .kind = OPTION_TEXT, .value = "T", .repeatable = true, .help = "names"},
    {.name = "limit", .kind = OPTION_NUMBER, .value = "N", .least = 1, .most = 10, .help = "how many"},
    {.name = NULL},
};
static enum err_code is_even(const char *text, struct err *e)
{
	return strchr("02468", text[strlen(text) - 1]) == NULL ? ERR(e, ERR_INVALID, "\"%s\" is odd", text) : ERR_OK;
}

static const struct argument_spec specs[] = {
    {"EVEN", is_even, "an even number"},
    {"STORE", NULL, "where things are"},
    {.word = NULL},
};
static const struct option_spec pair_options[] = {
    {.name = "more", .kind = OPTION_TEXT, .value = "EVEN", .repeatable = true, .check = is_even, .help = "others"},
    {.name = NULL},
};
static const struct command table[] = {
    {"status", "", NULL, run_nothing, "how it is"},
    {"image add", "REF", add_options, run_nothing, "adds"},
    {"image rm", "IMAGE...", NULL, run_nothing, "removes"},
    {"store stats", "[STORE]", NULL, run_nothing, "numbers"},
    {"store object put", "STORE KEY FILE", NULL, run_nothing, "puts"},
    {"pair", "KEY EVEN...", pair_options, run_nothing, "pairs", "Pairs\nare even."},
    {"pair one", "[EVEN]", NULL, run_nothing, "pairs one"},
    {.path = NULL},
};
static const struct vocabulary words = {table, globals, specs};

/* A command line of at most 15 words, split at blanks; "" stands for an empty one. */
static enum args_outcome parse(TALLOC_CTX *ctx, const char *line, struct args *args)
{
	const char **argv = talloc_zero_array(ctx, const char *, 16);
	char *text = talloc_strdup(ctx, line), *save = NULL;
	int argc = 0;

	argv[argc++] = "stowage";
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(word, "\"\"") == 0 ? "" : word;
	return args_parse(ctx, argc, argv, &words, args);
}

static void words_and_options_may_be_mixed(void **state)
{
	static const char *const lines[] = {
	    "image add ref --wait --tag a --tag=b --limit 7 --json",
	    "--json --tag a image --limit=7 --tag b add --wait ref",
	    "--tag a --tag b --limit 7 --wait --json image add -- ref",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		SCRATCH_CTX(ctx);
		struct args args;
		const char **tags;

		assert_int_equal(parse(ctx, lines[i], &args), ARGS_RUN);
		assert_string_equal(args.command->path, "image add");
		assert_int_equal(args.word_count, 1);
		assert_string_equal(args.words[0], "ref");
		assert_true(args_flag(&args, "wait"));
		assert_true(args_flag(&args, "json"));
		assert_int_equal(args_number(&args, "limit", 3), 7);
		assert_null(args_text(&args, "colour"));
		assert_int_equal(args_texts(&args, ctx, "tag", &tags), 2);
		assert_string_equal(tags[0], "a");
		assert_string_equal(tags[1], "b");
	}
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
	    {"", "a command is missing"},
	    {"imag", "\"imag\""},
	    {"image", "\"image\" is not a whole command"},
	    {"image ad ref", "\"image ad\""},
	    {"store object", "\"store object\" is not a whole"},
	    {"image add", "image add needs REF"},
	    {"image add a b", "\"b\""},
	    {"image add \"\"", "empty"},
	    {"image rm", "IMAGE..."},
	    {"status now", "\"now\""},
	    {"store stats a b", "\"b\""},
	    {"image add ref --bogus", "--bogus"},
	    {"image add ref --bogus=1", "--bogus"},
	    {"image add ref -x", "-x"},
	    {"image add ref --wait=yes", "--wait takes no value"},
	    {"image add ref --colour", "--colour needs a value (C)"},
	    {"image add ref --colour blue", "\"blue\" is none of red, green"},
	    {"image add ref --colour red --colour green", "--colour is given twice"},
	    {"image add ref --limit x", "\"x\" is no number"},
	    {"image add ref --limit 5x", "\"5x\" is no number"},
	    {"image add ref --limit 0", "0 is not within 1 and 10"},
	    {"image add ref --limit 11", "11 is not within"},
	    {"image add ref --limit 99999999999999999999", "no number"},
	    {"image rm a --wait", "image rm has no option --wait"},
	    {"status --timeout 0", "\"0\" is no time"},
	    {"status --timeout -5s", "\"-5s\" is no time"},
	    {"status --timeout 5days", "\"5days\" is no time"},
	    {"status --timeout 9223372036854775807h", "too long"},
	    {"pair k 2 4 5", "pair: \"5\" is odd"},
	    {"pair one 3", "pair one: \"3\" is odd"},
	    {"pair k \"\"", "pair: an empty argument for EVEN"},
	    {"pair k 2 --more 4 --more 7", "option --more: \"7\" is odd"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct args args;

		assert_int_equal(parse(ctx, cases[i].line, &args), ARGS_WRONG);
		if (!strstr(args.wrong, cases[i].says))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].line, args.wrong, cases[i].says);
	}
}

static void times_have_units(void **state)
{
	static const struct {
		const char *line;
		int64_t ms;
	} cases[] = {{"status --timeout 250ms", 250},
	             {"status --timeout 3", 3000},
	             {"status --timeout 3s", 3000},
	             {"status --timeout=2m", 120000},
	             {"status --timeout 1h", 3600000}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct args args;

		assert_int_equal(parse(ctx, cases[i].line, &args), ARGS_RUN);
		assert_int_equal(args_number(&args, "timeout", 0), cases[i].ms);
	}
}

static void the_longest_path_wins_and_arguments_may_be_missing(void **state)
{
	SCRATCH_CTX(ctx);
	struct args args;

	(void)state;
	assert_int_equal(parse(ctx, "store object put s k f", &args), ARGS_RUN);
	assert_string_equal(args.command->path, "store object put");
	assert_int_equal(parse(ctx, "store stats", &args), ARGS_RUN);
	assert_int_equal(args.word_count, 0);
	assert_int_equal(parse(ctx, "image rm a b c", &args), ARGS_RUN);
	assert_int_equal(args.word_count, 3);
}

static void version_is_asked_for_alone(void **state)
{
	SCRATCH_CTX(ctx);
	struct args args;

	(void)state;
	assert_int_equal(parse(ctx, "--version", &args), ARGS_VERSION);
	assert_int_equal(parse(ctx, "image add x --version 3", &args), ARGS_RUN);
	assert_string_equal(args_text(&args, "version"), "3");
}

static void help_has_a_topic(void **state)
{
	static const struct {
		const char *line, *topic;
	} cases[] = {{"--help", ""},
	             {"-h", ""},
	             {"image --help", "image"},
	             {"image add -h", "image add"},
	             {"--help image add extra", "image add"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct args args;

		assert_int_equal(parse(ctx, cases[i].line, &args), ARGS_HELP);
		assert_string_equal(args.topic, cases[i].topic);
	}
}

static char *help_text(const char *topic)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	help_print(out, &words, topic);
	fclose(out);
	return text;
}

static void help_says_what_the_table_says(void **state)
{
	char *all = help_text(""), *image = help_text("image"), *add = help_text("image add");

	(void)state;
	for (const struct command *c = table; c->path; c++) {
		assert_non_null(strstr(all, c->path));
		assert_non_null(strstr(all, c->help));
	}
	assert_non_null(strstr(image, "image rm IMAGE..."));
	assert_null(strstr(image, "store stats"));
	assert_non_null(strstr(add, "--colour C"));
	assert_non_null(strstr(add, "red, green"));
	assert_non_null(strstr(add, "--timeout TIME"));
	free(all);
	free(image);
	free(add);
}

static void arguments_are_counted(void **state)
{
	static const struct {
		const char *text;
		size_t least, most;
	} cases[] = {{"", 0, 0}, {"A", 1, 1}, {"A B", 2, 2}, {"[A]", 0, 1}, {"A...", 1, SIZE_MAX}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t least, most;

		args_count(cases[i].text, &least, &most);
		assert_int_equal(least, cases[i].least);
		assert_int_equal(most, cases[i].most);
	}
}

static void words_of_arguments_are_found(void **state)
{
	static const struct {
		const char *arguments;
		size_t i;
		const char *word;
	} cases[] = {
	    {"A", 0, "A"},
	    {"A BC", 1, "BC"},
	    {"[STORE]", 0, "STORE"},
	    {"IMAGE...", 0, "IMAGE"},
	    {"IMAGE...", 7, "IMAGE"},
	    {"A B...", 2, "B"},
	    {"", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *word;
		size_t len = args_word(cases[i].arguments, cases[i].i, &word);

		assert_int_equal(len, strlen(cases[i].word));
		assert_memory_equal(word, cases[i].word, len);
	}
	assert_ptr_equal(args_spec(specs, "STORES", 5), &specs[1]);
	assert_null(args_spec(specs, "STORES", 6));
	assert_null(args_spec(specs, "STOR", 4));
}

static void help_of_a_command_explains_its_arguments(void **state)
{
	char *pair = help_text("pair"), *status = help_text("status");

	(void)state;
	assert_non_null(strstr(pair, "usage: stowage pair [OPTION]... KEY EVEN...\n"));
	assert_non_null(strstr(pair, "\nPairs\nare even.\n"));
	assert_non_null(strstr(pair, "\nArguments:\n  EVEN "));
	assert_null(strstr(pair, "  KEY "));
	assert_null(strstr(status, "Arguments:"));
	free(pair);
	free(status);
}

/* As a terminal of 80 columns shows it. */
static void no_line_of_the_real_help_is_long(void **state)
{
	(void)state;
	for (const struct command *c = commands;; c++) {
		char *text = NULL, *save = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);

		help_print(out, &vocabulary, c->path ? c->path : "");
		fclose(out);
		for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			if (strlen(line) > 80 || line[strlen(line) - 1] == ' ')
				fail_msg("\"%s\"", line);
		free(text);
		if (!c->path)
			break;
	}
}

/* A name means the same kind everywhere: the parser relies on it to tell words from values. */
static void options_of_one_name_are_of_one_kind(void **state)
{
	(void)state;
	for (const struct command *a = commands; a->path; a++)
		for (const struct option_spec *o = a->options; o && o->name; o++) {
			for (const struct command *b = commands; b->path; b++)
				for (const struct option_spec *p = b->options; p && p->name; p++)
					if (strcmp(o->name, p->name) == 0)
						assert_int_equal(o->kind == OPTION_FLAG, p->kind == OPTION_FLAG);
			for (const struct option_spec *g = global_options; g->name; g++)
				assert_string_not_equal(o->name, g->name);
		}
}

static void every_row_of_the_real_table_is_whole(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->path; c++) {
		assert_non_null(c->run);
		assert_non_null(c->arguments);
		assert_true(strlen(c->help) > 0);
		for (const struct option_spec *o = c->options; o && o->name; o++) {
			assert_int_equal(o->kind == OPTION_FLAG, o->value == NULL);
			assert_true(o->kind != OPTION_NUMBER || o->most > o->least);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_and_options_may_be_mixed),
	    cmocka_unit_test(what_is_wrong_is_named),
	    cmocka_unit_test(times_have_units),
	    cmocka_unit_test(the_longest_path_wins_and_arguments_may_be_missing),
	    cmocka_unit_test(version_is_asked_for_alone),
	    cmocka_unit_test(help_has_a_topic),
	    cmocka_unit_test(help_says_what_the_table_says),
	    cmocka_unit_test(arguments_are_counted),
	    cmocka_unit_test(words_of_arguments_are_found),
	    cmocka_unit_test(help_of_a_command_explains_its_arguments),
	    cmocka_unit_test(no_line_of_the_real_help_is_long),
	    cmocka_unit_test(options_of_one_name_are_of_one_kind),
	    cmocka_unit_test(every_row_of_the_real_table_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
