#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/registry_auth.h"

static void challenges_are_understood(void **state)
{
	static const struct {
		const char *values[3];
		enum challenge_scheme scheme;
		const char *realm, *service, *scope;
	} cases[] = {
	    {{"Basic realm=\"x\""}, CHALLENGE_BASIC, "x", "", ""},
	    {{"basic"}, CHALLENGE_BASIC, "", "", ""},
	    {{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x/y:pull\""},
	     CHALLENGE_BEARER,
	     "https://a/t",
	     "s",
	     "repository:x/y:pull"},
	    {{"bearer  REALM = https://a/t , Service=s"}, CHALLENGE_BEARER, "https://a/t", "s", ""},
	    {{"Bearer realm=\"https://a/t?x=\\\"1\\\",2\", scope=\"repository:a:pull,push repository:b:pull\""},
	     CHALLENGE_BEARER,
	     "https://a/t?x=\"1\",2",
	     "",
	     "repository:a:pull,push repository:b:pull"},
	    {{"Basic realm=\"x\"", "Bearer realm=\"https://a/t\""}, CHALLENGE_BEARER, "https://a/t", "", ""},
	    {{"Bearer realm=\"https://a/t\"", "Basic realm=\"x\""}, CHALLENGE_BEARER, "https://a/t", "", ""},
	    {{"Basic realm=\"x\", Bearer realm=\"https://a/t\", service=\"s\""},
	     CHALLENGE_BEARER,
	     "https://a/t",
	     "s",
	     ""},
	    {{"Negotiate abc==, Basic realm=\"x\""}, CHALLENGE_BASIC, "x", "", ""},
	    {{"Digest realm=\"x\", nonce=\"1\""}, CHALLENGE_NONE, "", "", ""},
	    {{"Bearer service=\"s\""}, CHALLENGE_NONE, "", "", ""},
	    {{"Bearer realm=\"https://a/t"}, CHALLENGE_NONE, "", "", ""},
	    {{"Bearer realm="}, CHALLENGE_NONE, "", "", ""},
	    {{"Bearer realm=\"https://a/t\\"}, CHALLENGE_NONE, "", "", ""},
	    {{""}, CHALLENGE_NONE, "", "", ""},
	    {{",,,=,\"\"=="}, CHALLENGE_NONE, "", "", ""},
	    {{NULL}, CHALLENGE_NONE, "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *values[3] = {NULL};
		struct challenge c;
		SCRATCH_CTX(ctx);

		for (size_t j = 0; cases[i].values[j]; j++)
			values[j] = talloc_strdup(ctx, cases[i].values[j]);
		challenge_parse(ctx, values, &c);
		if (c.scheme != cases[i].scheme)
			fail_msg("scheme of %s", cases[i].values[0]);
		assert_string_equal(c.realm, cases[i].realm);
		assert_string_equal(c.service, cases[i].service);
		assert_string_equal(c.scope, cases[i].scope);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(challenges_are_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
