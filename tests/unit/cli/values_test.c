#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/args.h"
#include "services/cli/values.h"

#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* 130 letters. */
#define LONG                                                                                                           \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                                            \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void arguments_are_checked_by_their_words(void **state)
{
	static const struct {
		const char *word, *text;
		bool right;
	} cases[] = {
	    {"IMAGE", "sha256:" HEX, true},
	    {"IMAGE", "host.example:5000/a/b:1", true},
	    {"IMAGE", "debian", true},
	    {"IMAGE", "a@sha256:" HEX, true},
	    {"IMAGE", "sha256:0123456789ab", false},
	    {"IMAGE", "sha256:", false},
	    {"IMAGE", "X", false},
	    {"IMAGE", "a b", false},
	    {"A", "X", false},
	    {"B", "X", false},
	    {"REF", "host.example/a:tag", true},
	    {"REF", "host.example/a:", false},
	    {"JOB", "1", true},
	    {"JOB", "9007199254740992", true},
	    {"JOB", "9007199254740993", false},
	    {"JOB", "99999999999999999999", false},
	    {"JOB", "0", false},
	    {"JOB", "-1", false},
	    {"JOB", "+1", false},
	    {"JOB", " 1", false},
	    {"JOB", "1x", false},
	    {"JOB", "abc", false},
	    {"STORE", "object_store", true},
	    {"STORE", "analysis_archive", true},
	    {"STORE", "archive", false},
	    {"BUCKET", "my-bucket_1.x", true},
	    {"BUCKET", "-", true},
	    {"BUCKET", "UPPER", false},
	    {"BUCKET", "a/b", false},
	    {"BUCKET", LONG, false},
	    {"KEY", "any thing / at all", true},
	    {"KEY", LONG LONG LONG LONG LONG LONG LONG LONG, false},
	    {"NAME", LONG, true},
	    {"NAME", LONG LONG LONG LONG, false},
	    {"HOST", "host.example", true},
	    {"HOST", "host:5000", true},
	    {"HOST", "host.example/path", false},
	    {"HOST", "host:x", false},
	    {"HOST", "https://host", false},
	    {"ACCOUNT", "team-1", true},
	    {"ACCOUNT", "Team", false},
	    {"ACCOUNT", ".team", false},
	    {"ACCOUNT", LONG, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct argument_spec *spec = args_spec(argument_specs, cases[i].word, strlen(cases[i].word));
		struct err e = {0};
		enum err_code code;

		assert_non_null(spec);
		code = spec->check(cases[i].text, &e);
		if ((code == ERR_OK) != cases[i].right)
			fail_msg("%s \"%s\": %s", cases[i].word, cases[i].text, e.text);
		assert_true(code == ERR_OK || code == ERR_INVALID);
	}
}

static void options_are_checked_by_kind(void **state)
{
	static const struct {
		value_check *check;
		const char *text;
		bool right;
	} cases[] = {
	    {value_is_platform, "linux/arm64/v8", true},
	    {value_is_platform, "qqq", false},
	    {value_is_annotation, "key=value=more", true},
	    {value_is_annotation, "key=", true},
	    {value_is_annotation, "noequals", false},
	    {value_is_annotation, "=value", false},
	    {value_is_tagged, "a/b", true},
	    {value_is_tagged, "a/b@sha256:" HEX, false},
	    {value_is_tag_pattern, "a/*", true},
	    {value_is_tag_pattern, "A B", false},
	    {value_is_digest, "sha256:" HEX, true},
	    {value_is_digest, HEX, false},
	    {value_is_ecosystem, "os", true},
	    {value_is_ecosystem, "dpkg", true},
	    {value_is_ecosystem, "pypi", true},
	    {value_is_ecosystem, "bogus", false},
	    {value_is_percent, "100", true},
	    {value_is_percent, "0.0001%", true},
	    {value_is_percent, "12.5", true},
	    {value_is_percent, "100.1", false},
	    {value_is_percent, "0", false},
	    {value_is_percent, "-1", false},
	    {value_is_percent, "1e1", false},
	    {value_is_percent, "nan", false},
	    {value_is_percent, "5 %", false},
	    {value_is_percent, "%", false},
	    {value_is_percent, "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = {0};

		if ((cases[i].check(cases[i].text, &e) == ERR_OK) != cases[i].right)
			fail_msg("\"%s\": %s", cases[i].text, e.text);
	}
}

static void percentages_become_millionths(void **state)
{
	(void)state;
	assert_int_equal(value_percent("100"), 1000000);
	assert_int_equal(value_percent("0.1%"), 1000);
	assert_int_equal(value_percent("0.0001"), 1);
	assert_int_equal(value_percent("29.3"), 293000);
}

/* Help and checks are looked up by word: two rows of one word, or a command whose IMAGE is none, would be mistakes. */
static void every_word_is_explained_once(void **state)
{
	(void)state;
	for (const struct argument_spec *s = argument_specs; s->word; s++) {
		assert_ptr_equal(args_spec(argument_specs, s->word, strlen(s->word)), s);
		assert_true(strlen(s->help) > 0);
	}
	for (const struct command *c = commands; c->path; c++) {
		const char *word;
		size_t len = args_word(c->arguments, 0, &word);

		if (len && !args_spec(argument_specs, word, len))
			fail_msg("%s: nobody says what %s is", c->path, word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arguments_are_checked_by_their_words),
	    cmocka_unit_test(options_are_checked_by_kind),
	    cmocka_unit_test(percentages_become_millionths),
	    cmocka_unit_test(every_word_is_explained_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
