#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/registry.h"

#include "tests/unit/common/registry_double.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

/* In the way of double_script: single quotes. */
#define MANIFEST                                                                                                       \
	"{'schemaVersion':2,'config':{'mediaType':'application/vnd.oci.image.config.v1+json','digest':'" D1            \
	"','size':7},'layers':[{'mediaType':'application/vnd.oci.image.layer.v1.tar+gzip','digest':'" D2               \
	"','size':10}]}"
#define ARM64_ENTRY "{'digest':'" D2 "','size':5,'platform':{'os':'linux','architecture':'arm64'}}"

static const struct retry_policy quick = {.attempts = 4, .base_ms = 1, .cap_ms = 5, .budget_ms = 3000};

/* JSON as the registry sends it, from the form with single quotes. */
static char *json(TALLOC_CTX *ctx, const char *quoted)
{
	char *text = talloc_strdup(ctx, quoted);

	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	return text;
}

/* The same as a JSON string's content, for a script. */
static char *escaped(TALLOC_CTX *ctx, const char *quoted)
{
	char *text = talloc_strdup(ctx, "");

	for (const char *c = quoted; *c; c++)
		text = talloc_asprintf_append(text, *c == '\'' ? "\\\"" : "%c", *c);
	return text;
}

static struct registry *new_registry(TALLOC_CTX *ctx, enum double_port port, struct registry_options options)
{
	struct registry *r;
	struct err e;

	options.retry = quick;
	options.connect_ms = 2000;
	OK(registry_new(ctx, double_host(ctx, port), &options, &r, &e));
	return r;
}

static struct reference reference_to(TALLOC_CTX *ctx, enum double_port port, const char *name)
{
	struct reference reference;
	struct err e;

	OK(reference_parse(talloc_asprintf(ctx, "%s/%s", double_host(ctx, port), name), &reference, &e));
	return reference;
}

static enum err_code resolve_at(struct registry *r, TALLOC_CTX *ctx, enum double_port port, const char *name,
                                struct registry_image *image, struct err *e)
{
	const struct platform amd64 = {.os = "linux", .architecture = "amd64"};
	struct reference reference = reference_to(ctx, port, name);

	return registry_resolve(r, ctx, &reference, &amd64, NULL, image, e);
}

static enum err_code resolve(TALLOC_CTX *ctx, const char *name, struct registry_image *image, struct err *e)
{
	struct registry *r = new_registry(ctx, DOUBLE_PLAIN, (struct registry_options){0});

	return resolve_at(r, ctx, DOUBLE_PLAIN, name, image, e);
}

static void a_tag_resolves_to_the_digest_of_its_bytes(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);
	const char *bytes = json(ctx, MANIFEST);
	struct digest digest = digest_of(bytes, strlen(bytes));

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'text': '%s', 'headers': {'Docker-Content-Digest': '" D1 "'}}]}",
	              escaped(ctx, MANIFEST));
	OK(resolve(ctx, "app:1", &image, &e));
	assert_true(digest_equal(&image.digest, &digest));
	assert_true(digest_equal(&image.manifest_digest, &digest));
	assert_true(digest_is_none(&image.index_digest));
	assert_int_equal(image.manifest_len, strlen(bytes));
	assert_memory_equal(image.manifest_bytes, bytes, image.manifest_len);
	assert_int_equal(image.manifest.layer_count, 1);
	assert_non_null(strstr(double_log(ctx), "accept: " MEDIA_DOCKER_MANIFEST ", "));
}

static void an_index_leads_to_the_platforms_manifest(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);
	const char *manifest = json(ctx, MANIFEST);
	struct digest inner = digest_of(manifest, strlen(manifest)), outer;
	const char *index =
	    talloc_asprintf(ctx,
	                    "{'schemaVersion':2,'mediaType':'" MEDIA_OCI_INDEX "','manifests':[" ARM64_ENTRY
	                    ",{'digest':'%s','size':%zu,'platform':{'os':'linux','architecture':'amd64'}}]}",
	                    digest_text(&inner).text, strlen(manifest));
	struct digest_text outer_text;

	(void)state;
	outer = digest_of(json(ctx, index), strlen(index));
	outer_text = digest_text(&outer);
	double_script("{'/v2/app/manifests/1': [{'text': '%s'}], '/v2/app/manifests/%s': [{'text': '%s'}],"
	              " '/v2/app/manifests/%s': [{'text': '%s'}]}",
	              escaped(ctx, index), outer_text.text, escaped(ctx, index), digest_text(&inner).text,
	              escaped(ctx, MANIFEST));
	OK(resolve(ctx, "app:1", &image, &e));
	assert_true(digest_equal(&image.digest, &outer));
	assert_true(digest_equal(&image.index_digest, &outer));
	assert_true(digest_equal(&image.manifest_digest, &inner));
	OK(resolve(ctx, talloc_asprintf(ctx, "app@%s", outer_text.text), &image, &e));
	assert_true(digest_equal(&image.manifest_digest, &inner));
}

static void what_a_registry_says_becomes_a_clear_error(void **state)
{
	static const struct {
		const char *name, *answer;
		enum err_code code;
		const char *reason;
	} cases[] = {
	    {"app:1",
	     "'status': 404, 'text': '{\\\"errors\\\":[{\\\"code\\\":\\\"MANIFEST_UNKNOWN\\\",\\\"message\\\":\\\"not "
	     "here\\\\u0007\\\"}]}'",
	     ERR_NOT_FOUND, "/app:1: not in the registry (MANIFEST_UNKNOWN: not here?): status 404"},
	    {"app:1", "'status': 404, 'text': '<html>'", ERR_NOT_FOUND, "/app:1: not in the registry: status 404"},
	    {"app:1", "'status': 404, 'text': '{\\\"errors\\\":7}'", ERR_NOT_FOUND, "not in the registry: status"},
	    {"app:1", "'status': 404, 'pattern': 9000000", ERR_NOT_FOUND, "not in the registry"},
	    {"app:1", "'status': 403", ERR_FORBIDDEN, "denies access"},
	    {"app:1", "'status': 401", ERR_UNAUTHENTICATED, "denies access"},
	    {"app:1", "'status': 405", ERR_INVALID, "refuses the request"},
	    {"app:1", "'status': 500", ERR_UNAVAILABLE, "the registry fails: status 500"},
	    {"app:1", "'refuse': true", ERR_UNAVAILABLE, "connection lost"},
	    {"app:1", "'text': 'hello'", ERR_CORRUPT, "/app:1: manifest is not JSON"},
	    {"app:1", "'text': ''", ERR_CORRUPT, "empty manifest"},
	    {"app:1", "'text': '{\\\"schemaVersion\\\":1}'", ERR_UNSUPPORTED, "/app:1: manifest has Docker schema 1"},
	    {"app:1", "'text': '{\\\"config\\\":{}}'", ERR_CORRUPT, "/app:1: configuration has no digest"},
	    {"app:1", "'pattern': 5000000", ERR_TOO_LARGE, "larger than 4194304"},
	    {"app@" D1, "'text': '{}'", ERR_CORRUPT, "has under this digest is sha256:44136fa355b3678a"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct registry_image image;
		struct err e = {0};
		SCRATCH_CTX(ctx);

		double_script("{'/v2/app/manifests/%s': [{%s}]}", cases[i].name + strlen("app") + 1, cases[i].answer);
		if (resolve(ctx, cases[i].name, &image, &e) != cases[i].code || !strstr(e.text, cases[i].reason))
			fail_msg("%s: %s: %s", cases[i].answer, err_name(e.code), e.text);
		if (!strstr(e.text, double_host(ctx, DOUBLE_PLAIN)) || count_of(e.text, "/app") > 1)
			fail_msg("reference in: %s", e.text);
	}
}

static void a_platform_that_is_missing_is_named(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'text': '%s'}]}",
	              escaped(ctx, "{'schemaVersion':2,'manifests':[" ARM64_ENTRY "]}"));
	assert_int_equal(resolve(ctx, "app:1", &image, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "/app:1: no image for platform linux/amd64; there is: linux/arm64"));
}

static void an_index_that_holds_only_indexes_is_left(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);
	char *script = talloc_strdup(ctx, ""), *index = talloc_strdup(ctx, MANIFEST);

	(void)state;
	for (int depth = 0; depth < 5; depth++) {
		struct digest inner = digest_of(json(ctx, index), strlen(index));

		script = talloc_asprintf_append(script, "'/v2/app/manifests/%s': [{'text': '%s'}], ",
		                                digest_text(&inner).text, escaped(ctx, index));
		index = talloc_asprintf(ctx, "{'schemaVersion':2,'manifests':[{'digest':'%s','size':%zu}]}",
		                        digest_text(&inner).text, strlen(index));
	}
	double_script("{%s'/v2/app/manifests/1': [{'text': '%s'}]}", script, escaped(ctx, index));
	assert_int_equal(resolve(ctx, "app:1", &image, &e), ERR_TOO_LARGE);
	assert_non_null(strstr(e.text, "nested deeper"));
}

static void a_storm_of_failures_is_outlasted(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'status': 503}, {'refuse': true}, {'pattern': 900, 'close': 100},"
	              " {'text': '%s'}]}",
	              escaped(ctx, MANIFEST));
	OK(resolve(ctx, "app:1", &image, &e));
	double_script("{'/v2/app/manifests/1': [{'status': 502}]}");
	assert_int_equal(resolve(ctx, "app:1", &image, &e), ERR_UNAVAILABLE);
	assert_int_equal(count_of(double_log(ctx), "GET "), quick.attempts);
}

static void retry_after_is_honoured_up_to_the_budget(void **state)
{
	int64_t start = clock_monotonic_ms();
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'status': 429, 'headers': {'Retry-After': '1'}}, {'text': '%s'}]}",
	              escaped(ctx, MANIFEST));
	OK(resolve(ctx, "app:1", &image, &e));
	assert_true(clock_monotonic_ms() - start >= 1000);
	start = clock_monotonic_ms();
	double_script("{'/v2/app/manifests/1': [{'status': 429, 'headers': {'Retry-After': '600'}}]}");
	assert_int_equal(resolve(ctx, "app:1", &image, &e), ERR_EXHAUSTED);
	assert_int_equal(e.retry_ms, 600000);
	assert_true(clock_monotonic_ms() - start < 30000);
}

static void an_unreachable_registry_is_named(void **state)
{
	static const char *const hosts[] = {"127.0.0.1:1", "registry.invalid"};
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct registry_options options = {.retry = quick};
		struct reference reference;
		struct registry *r;

		OK(reference_parse(talloc_asprintf(ctx, "%s/app:1", hosts[i]), &reference, &e));
		OK(registry_new(ctx, hosts[i], &options, &r, &e));
		assert_int_equal(registry_resolve(r, ctx, &reference, NULL, NULL, &image, &e), ERR_UNAVAILABLE);
		assert_non_null(strstr(e.text, hosts[i]));
	}
}

static void plain_http_is_for_those_that_are_allowed_it(void **state)
{
	struct registry_options options = {.retry = quick};
	struct registry_image image;
	struct reference reference;
	struct registry *r;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	OK(reference_parse("http://registry.invalid/app:1", &reference, &e));
	OK(registry_new(ctx, reference.registry, &options, &r, &e));
	assert_int_equal(registry_resolve(r, ctx, &reference, NULL, NULL, &image, &e), ERR_FORBIDDEN);
	options.insecure = true;
	OK(registry_new(ctx, reference.registry, &options, &r, &e));
	assert_int_equal(registry_resolve(r, ctx, &reference, NULL, NULL, &image, &e), ERR_UNAVAILABLE);
	/* A reference that says https means it. */
	OK(reference_parse(double_url(ctx, DOUBLE_PLAIN, "/app:1") + strlen("http://"), &reference, &e));
	reference.scheme = REFERENCE_SCHEME_HTTPS;
	double_script("{}");
	r = new_registry(ctx, DOUBLE_PLAIN, options);
	assert_int_equal(registry_resolve(r, ctx, &reference, NULL, NULL, &image, &e), ERR_UNAVAILABLE);
	assert_string_equal(double_log(ctx), "");
}

static void the_scheme_that_works_is_remembered(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, DOUBLE_OTHER, (struct registry_options){0});
	int before;

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'text': '%s'}]}", escaped(ctx, MANIFEST));
	before = double_connections();
	for (int i = 0; i < 3; i++)
		OK(resolve_at(r, ctx, DOUBLE_OTHER, "app:1", &image, &e));
	/* One that tried TLS, one in the clear that serves all three. */
	assert_int_equal(double_connections() - before, 2);
}

static void a_bad_request_does_not_decide_the_scheme(void **state)
{
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);
	struct registry *r = new_registry(ctx, DOUBLE_PLAIN, (struct registry_options){0});

	(void)state;
	/* A TLS server answers 400 to plain http; so might this one, if it were one. */
	double_script("{'/v2/app/manifests/1': [{'status': 400}]}");
	assert_int_equal(resolve_at(r, ctx, DOUBLE_PLAIN, "app:1", &image, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "no TLS connection"));
	double_script("{'/v2/app/manifests/1': [{'status': 404}, {'status': 400}]}");
	assert_int_equal(resolve_at(r, ctx, DOUBLE_PLAIN, "app:1", &image, &e), ERR_NOT_FOUND);
	assert_int_equal(resolve_at(r, ctx, DOUBLE_PLAIN, "app:1", &image, &e), ERR_INVALID);
}

static void tls_needs_a_trusted_certificate(void **state)
{
	struct registry_options trusting = {.ca_file = registry_double.certificate}, insecure = {.insecure = true};
	struct registry_image image;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'/v2/app/manifests/1': [{'text': '%s'}]}", escaped(ctx, MANIFEST));
	assert_int_equal(resolve_at(new_registry(ctx, DOUBLE_TLS, insecure), ctx, DOUBLE_TLS, "app:1", &image, &e),
	                 ERR_PRECONDITION);
	assert_string_equal(double_log(ctx), "");
	OK(resolve_at(new_registry(ctx, DOUBLE_TLS, trusting), ctx, DOUBLE_TLS, "app:1", &image, &e));
}

static void a_deadline_ends_retries(void **state)
{
	const struct patience patience = {.deadline_ms = clock_monotonic_ms() + 500};
	struct registry_options options = {
	    .retry = {.attempts = 1000, .base_ms = 50, .cap_ms = 50, .budget_ms = 60000}};
	int64_t start = clock_monotonic_ms();
	struct registry_image image;
	struct reference reference;
	struct registry *r;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	reference = reference_to(ctx, DOUBLE_PLAIN, "app:1");
	OK(registry_new(ctx, reference.registry, &options, &r, &e));
	double_script("{'/v2/app/manifests/1': [{'status': 503}]}");
	assert_int_not_equal(registry_resolve(r, ctx, &reference, NULL, &patience, &image, &e), ERR_OK);
	assert_true(clock_monotonic_ms() - start < 3000);
	assert_true(count_of(double_log(ctx), "GET ") > 2);
}

static void impossible_credentials_are_refused(void **state)
{
	static const struct registry_options cases[] = {
	    {.user = "u", .token = "t"}, {.user = "a:b"}, {.user = "u", .password = "a\nb"}, {.token = "a\r\nX: y"}};
	struct registry *r;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(registry_new(ctx, "r.example", &cases[i], &r, NULL), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_tag_resolves_to_the_digest_of_its_bytes),
	    cmocka_unit_test(an_index_leads_to_the_platforms_manifest),
	    cmocka_unit_test(what_a_registry_says_becomes_a_clear_error),
	    cmocka_unit_test(a_platform_that_is_missing_is_named),
	    cmocka_unit_test(an_index_that_holds_only_indexes_is_left),
	    cmocka_unit_test(a_storm_of_failures_is_outlasted),
	    cmocka_unit_test(retry_after_is_honoured_up_to_the_budget),
	    cmocka_unit_test(an_unreachable_registry_is_named),
	    cmocka_unit_test(plain_http_is_for_those_that_are_allowed_it),
	    cmocka_unit_test(the_scheme_that_works_is_remembered),
	    cmocka_unit_test(a_bad_request_does_not_decide_the_scheme),
	    cmocka_unit_test(tls_needs_a_trusted_certificate),
	    cmocka_unit_test(a_deadline_ends_retries),
	    cmocka_unit_test(impossible_credentials_are_refused),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
