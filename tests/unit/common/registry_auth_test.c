#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/registry.h"

#include "tests/unit/common/registry_double.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define MANIFEST                                                                                                       \
	"{\\\"schemaVersion\\\":2,\\\"config\\\":{\\\"mediaType\\\":\\\"application/vnd.oci.image.config.v1+json\\\"," \
	"\\\"digest\\\":\\\"" D1 "\\\",\\\"size\\\":7},\\\"layers\\\":[{\\\"mediaType\\\":"                            \
	"\\\"application/vnd.oci.image.layer.v1.tar+gzip\\\",\\\"digest\\\":\\\"" D2 "\\\",\\\"size\\\":10}]}"
#define BASIC "Basic dXNlcjpwYXNz" /* user:pass */

static const struct registry_options user = {.user = "user", .password = "pass"}, nobody = {0};

static struct registry *new_registry(TALLOC_CTX *ctx, struct registry_options options)
{
	struct registry *r;
	struct err e;

	options.retry = (struct retry_policy){.attempts = 3, .base_ms = 1, .cap_ms = 5, .budget_ms = 1000};
	OK(registry_new(ctx, double_host(ctx, DOUBLE_PLAIN), &options, &r, &e));
	return r;
}

static enum err_code resolve(struct registry *r, TALLOC_CTX *ctx, struct err *e)
{
	const char *name = talloc_asprintf(ctx, "%s/app:1", double_host(ctx, DOUBLE_PLAIN));
	struct registry_image image;
	struct reference reference;

	assert_int_equal(reference_parse(name, &reference, e), ERR_OK);
	return registry_resolve(r, ctx, &reference, NULL, NULL, &image, e);
}

static void basic_credentials_are_sent_when_asked_for(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, user);
	char *log;

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'auth': '" BASIC "', 'challenge': 'Basic realm=x', 'text': '" MANIFEST
	              "'}]}");
	OK(resolve(r, ctx, &e));
	OK(resolve(r, ctx, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, "GET "), 3);
	assert_int_equal(count_of(log, "authorization: " BASIC), 2);
}

static void wrong_or_missing_basic_credentials_end_it(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'auth': 'Basic other', 'challenge': 'Basic realm=x'}]}");
	assert_int_equal(resolve(new_registry(ctx, user), ctx, &e), ERR_UNAUTHENTICATED);
	assert_non_null(strstr(e.text, "/app for user 'user': the registry refuses access"));
	assert_null(strstr(e.text, "pass"));
	assert_int_equal(count_of(double_log(ctx), "GET "), 2);
	assert_int_equal(resolve(new_registry(ctx, nobody), ctx, &e), ERR_UNAUTHENTICATED);
	assert_non_null(strstr(e.text, "wants a user name and a password"));
}

/* A registry that accepts the token T, from a token server that answers with token_answers. */
static void script_tokens(const char *token_answers)
{
	double_script(
	    "{'/v2/app/manifests/1': [{'auth': 'Bearer T', 'challenge': 'Bearer "
	    "realm=\\\"http://127.0.0.1:%d/token\\\","
	    "service=\\\"the registry\\\",scope=\\\"repository:app:pull,push repository:b:pull\\\"', 'text': '" MANIFEST
	    "'}], '/token': [%s]}",
	    registry_double.ports[DOUBLE_OTHER], token_answers);
}

static void a_token_is_fetched_once_and_kept(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, user);
	char *log;

	(void)state;
	script_tokens("{'text': '{\\\"token\\\":\\\"T\\\",\\\"expires_in\\\":300}'}");
	OK(resolve(r, ctx, &e));
	OK(resolve(r, ctx, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, " /token?"), 1);
	assert_int_equal(count_of(log, " /token?client_id=stowage&service=the%20registry&account=user"
	                               "&scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Ab%3Apull|"),
	                 1);
	assert_int_equal(count_of(log, "authorization: " BASIC), 1);
	assert_int_equal(count_of(log, "authorization: Bearer T"), 2);
}

static void an_anonymous_token_is_asked_for_without_credentials(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	script_tokens("{'text': '{\\\"access_token\\\":\\\"T\\\"}'}");
	OK(resolve(new_registry(ctx, nobody), ctx, &e));
	assert_null(strstr(double_log(ctx), "authorization: Basic"));
	assert_null(strstr(double_log(ctx), "account="));
}

static void an_expired_token_is_replaced(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, user);

	(void)state;
	/* By our own clock. */
	script_tokens("{'text': '{\\\"token\\\":\\\"T\\\",\\\"expires_in\\\":0}'}");
	OK(resolve(r, ctx, &e));
	OK(resolve(r, ctx, &e));
	assert_int_equal(count_of(double_log(ctx), " /token?"), 2);
	/* By the registry's word. */
	r = new_registry(ctx, user);
	script_tokens("{'text': '{\\\"token\\\":\\\"T\\\",\\\"expires_in\\\":9000}'}");
	OK(resolve(r, ctx, &e));
	double_script("{'/v2/app/manifests/1': [{'auth': 'Bearer U', 'challenge': 'Bearer "
	              "realm=\\\"http://127.0.0.1:%d/token\\\"', 'text': '" MANIFEST
	              "'}], '/token': [{'text': '{\\\"token\\\":\\\"U\\\"}'}]}",
	              registry_double.ports[DOUBLE_OTHER]);
	OK(resolve(r, ctx, &e));
	assert_int_equal(count_of(double_log(ctx), " /token?"), 1);
	assert_int_equal(count_of(double_log(ctx), "scope=repository%3Aapp%3Apull|"), 1);
}

static void a_token_that_is_refused_is_renewed_once_only(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	script_tokens("{'text': '{\\\"token\\\":\\\"WRONG\\\"}'}");
	assert_int_equal(resolve(new_registry(ctx, user), ctx, &e), ERR_UNAUTHENTICATED);
	assert_int_equal(count_of(double_log(ctx), " /token?"), 1);
	assert_int_equal(count_of(double_log(ctx), " /v2/"), 2);
}

static void what_a_token_server_says_becomes_an_error(void **state)
{
	static const struct {
		const char *answer;
		enum err_code code;
		const char *reason;
	} cases[] = {
	    {"{'status': 401}", ERR_UNAUTHENTICATED, "refuses the credentials of user 'user'"},
	    {"{'status': 403}", ERR_FORBIDDEN, "token server of registry"},
	    {"{'status': 503}", ERR_UNAVAILABLE, "token server of registry"},
	    {"{'refuse': true}", ERR_UNAVAILABLE, "token server of registry"},
	    {"{'text': 'hello'}", ERR_CORRUPT, "answer of the token server is not JSON"},
	    {"{'text': '{}'}", ERR_CORRUPT, "no usable token"},
	    {"{'text': '{\\\"token\\\":\\\"a\\\\r\\\\nX-Evil: 1\\\"}'}", ERR_CORRUPT, "no usable token"},
	    {"{'pattern': 3000000}", ERR_TOO_LARGE, "larger than"},
	    {"{'status': 302, 'headers': {'Location': 'http://@PLAIN/steal'}}", ERR_INVALID, "status 302"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = {0};
		SCRATCH_CTX(ctx);

		script_tokens(cases[i].answer);
		if (resolve(new_registry(ctx, user), ctx, &e) != cases[i].code || !strstr(e.text, cases[i].reason))
			fail_msg("%s: %s: %s", cases[i].answer, err_name(e.code), e.text);
		assert_null(strstr(double_log(ctx), "/steal"));
	}
}

static void a_token_servers_failures_are_tried_again(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	script_tokens("{'status': 503}, {'text': '{\\\"token\\\":\\\"T\\\"}'}");
	OK(resolve(new_registry(ctx, user), ctx, &e));
}

static void credentials_do_not_go_to_a_token_server_elsewhere_in_the_clear(void **state)
{
	static const char *const realms[] = {"http://localhost:%d/token", "ftp://127.0.0.1:%d/token", "nonsense%d"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(realms); i++) {
		struct err e;
		SCRATCH_CTX(ctx);
		char *realm = talloc_asprintf(ctx, "%.*s%d%s", (int)(strstr(realms[i], "%d") - realms[i]), realms[i],
		                              registry_double.ports[DOUBLE_OTHER], strstr(realms[i], "%d") + 2);

		double_script("{'/v2/app/manifests/1': [{'status': 401, 'headers': {'WWW-Authenticate': "
		              "'Bearer realm=\\\"%s\\\"'}}], '/token': [{'text': '{\\\"token\\\":\\\"T\\\"}'}]}",
		              realm);
		assert_int_equal(resolve(new_registry(ctx, user), ctx, &e), i == 0 ? ERR_FORBIDDEN : ERR_CORRUPT);
		assert_null(strstr(double_log(ctx), "/token"));
		assert_null(strstr(double_log(ctx), "authorization"));
	}
}

static void a_given_token_is_sent_as_it_is(void **state)
{
	const struct registry_options given = {.token = "G"};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'auth': 'Bearer G', 'challenge': 'x', 'text': '" MANIFEST "'}]}");
	OK(resolve(new_registry(ctx, given), ctx, &e));
	double_script("{'/v2/app/manifests/1': [{'auth': 'Bearer H', 'challenge': 'Basic realm=x'}]}");
	assert_int_equal(resolve(new_registry(ctx, given), ctx, &e), ERR_UNAUTHENTICATED);
	assert_non_null(strstr(e.text, "refuses the token"));
}

static void no_credentials_along_a_redirect_to_another_place(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, user);
	char *log;

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'auth': '" BASIC "', 'challenge': 'Basic realm=x', 'status': 307,"
	              " 'headers': {'Location': 'http://@OTHER/store?signature=secret'}}],"
	              " '/store': [{'status': 503}, {'text': '" MANIFEST "'}]}");
	OK(resolve(r, ctx, &e));
	log = double_log(ctx);
	assert_int_equal(count_of(log, " /store?"), 2);
	assert_int_equal(count_of(log, "authorization: "), 2);
	for (char *at = log; (at = strstr(at, "GET /store")); at++)
		assert_null(memmem(at, strcspn(at, "\n"), "authorization", strlen("authorization")));
}

static void a_place_elsewhere_is_not_answered_with_credentials(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script(
	    "{'/v2/app/manifests/1': [{'status': 307, 'headers': {'Location': 'http://@OTHER/store?s=secret'}}],"
	    " '/store': [{'status': 401, 'headers': {'WWW-Authenticate': 'Bearer "
	    "realm=\\\"http://@OTHER/token\\\"'}}], '/token': [{'text': '{\\\"token\\\":\\\"T\\\"}'}]}");
	assert_int_equal(resolve(new_registry(ctx, user), ctx, &e), ERR_UNAUTHENTICATED);
	assert_null(strstr(e.text, "secret"));
	assert_null(strstr(double_log(ctx), "authorization"));
	assert_null(strstr(double_log(ctx), "/token"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(basic_credentials_are_sent_when_asked_for),
	    cmocka_unit_test(wrong_or_missing_basic_credentials_end_it),
	    cmocka_unit_test(a_token_is_fetched_once_and_kept),
	    cmocka_unit_test(an_anonymous_token_is_asked_for_without_credentials),
	    cmocka_unit_test(an_expired_token_is_replaced),
	    cmocka_unit_test(a_token_that_is_refused_is_renewed_once_only),
	    cmocka_unit_test(what_a_token_server_says_becomes_an_error),
	    cmocka_unit_test(a_token_servers_failures_are_tried_again),
	    cmocka_unit_test(credentials_do_not_go_to_a_token_server_elsewhere_in_the_clear),
	    cmocka_unit_test(a_given_token_is_sent_as_it_is),
	    cmocka_unit_test(no_credentials_along_a_redirect_to_another_place),
	    cmocka_unit_test(a_place_elsewhere_is_not_answered_with_credentials),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
