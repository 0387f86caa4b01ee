#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/platform.h"

static void platforms_are_read_and_printed(void **state)
{
	static const char *const good[] = {"linux/amd64", "linux/arm64/v8", "windows/amd64", "linux/arm/v6"};
	static const char *const bad[] = {"",
	                                  "linux",
	                                  "linux/",
	                                  "/amd64",
	                                  "linux//v8",
	                                  "linux/a/b/c",
	                                  "linux/a b",
	                                  "linux/a\n",
	                                  "linux/amd64/",
	                                  "linux/an-architecture-longer-than-any-other"};
	struct platform p;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(platform_parse(good[i], &p, NULL), ERR_OK);
		assert_string_equal(platform_print(ctx, &p), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(platform_parse(bad[i], &p, NULL), ERR_INVALID);
}

static void variants_match_as_their_architecture_implies(void **state)
{
	static const struct {
		const char *have, *wish;
		bool matches;
	} cases[] = {
	    {"linux/amd64", "linux/amd64", true},        {"linux/amd64", "linux/arm64", false},
	    {"windows/amd64", "linux/amd64", false},     {"linux/arm64/v8", "linux/arm64", true},
	    {"linux/arm64", "linux/arm64/v8", true},     {"linux/arm/v6", "linux/arm/v7", false},
	    {"linux/arm", "linux/arm/v7", true},         {"linux/arm", "linux/arm/v6", false},
	    {"linux/amd64/v3", "linux/amd64/v1", false}, {"linux/amd64/v3", "linux/amd64", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct platform have, wish;

		assert_int_equal(platform_parse(cases[i].have, &have, NULL), ERR_OK);
		assert_int_equal(platform_parse(cases[i].wish, &wish, NULL), ERR_OK);
		if (platform_matches(&have, &wish) != cases[i].matches)
			fail_msg("%s for %s", cases[i].have, cases[i].wish);
	}
}

static void a_configuration_contradicts_a_wish_by_what_it_says_only(void **state)
{
	static const struct {
		struct platform have;
		const char *wish, *error;
	} cases[] = {
	    {{"linux", "amd64", ""}, "linux/amd64", NULL},
	    {{"linux", "amd64", ""},
	     "linux/arm64",
	     "no image for platform linux/arm64: the only one there is for linux/amd64"},
	    {{"windows", "amd64", ""},
	     "linux/amd64",
	     "no image for platform linux/amd64: the only one there is for windows/amd64"},
	    {{"linux", "arm", "v7"}, "linux/arm", NULL},
	    {{"linux", "arm", ""}, "linux/arm/v6", NULL},
	    {{"linux", "arm", "v7"},
	     "linux/arm/v6",
	     "no image for platform linux/arm/v6: the only one there is for linux/arm/v7"},
	    {{"", "", ""}, "linux/s390x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct platform wish;
		struct err e = {.text = ""};

		assert_int_equal(platform_parse(cases[i].wish, &wish, NULL), ERR_OK);
		assert_int_equal(platform_check(&cases[i].have, &wish, &e), cases[i].error ? ERR_NOT_FOUND : ERR_OK);
		assert_string_equal(e.text, cases[i].error ? cases[i].error : "");
	}
}

static void this_machine_has_a_platform(void **state)
{
	struct platform p = platform_default();

	(void)state;
	assert_string_equal(p.os, "linux");
	assert_true(p.architecture[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(platforms_are_read_and_printed),
	    cmocka_unit_test(variants_match_as_their_architecture_implies),
	    cmocka_unit_test(a_configuration_contradicts_a_wish_by_what_it_says_only),
	    cmocka_unit_test(this_machine_has_a_platform),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
