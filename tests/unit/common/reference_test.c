#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/reference.h"

#include <string.h>

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void canonical_form_is_as_expected(void **state)
{
	static const struct {
		const char *text, *canonical;
	} cases[] = {
	    {"debian", "docker.io/library/debian:latest"},
	    {"debian:12", "docker.io/library/debian:12"},
	    {"library/debian:12", "docker.io/library/debian:12"},
	    {"acme/app", "docker.io/acme/app:latest"},
	    {"docker.io/debian", "docker.io/library/debian:latest"},
	    {"index.docker.io/acme/app", "docker.io/acme/app:latest"},
	    {"registry-1.docker.io/acme/app", "docker.io/acme/app:latest"},
	    {"localhost/app", "localhost/app:latest"},
	    {"localhost:5000/app", "localhost:5000/app:latest"},
	    {"LOCALHOST/app", "localhost/app:latest"},
	    {"Registry.Example/a/b/c:V1.0", "registry.example/a/b/c:V1.0"},
	    {"10.0.0.1/app", "10.0.0.1/app:latest"},
	    {"[::1]:5000/app:x", "[::1]:5000/app:x"},
	    {"host:443/app", "host:443/app:latest"},
	    {"app@sha256:" HEX, "docker.io/library/app@sha256:" HEX},
	    {"r.example:1/app:t@sha256:" HEX, "r.example:1/app:t@sha256:" HEX},
	    {"a.b/c--d/e__f/g.h_i:_x-.y", "a.b/c--d/e__f/g.h_i:_x-.y"},
	    {"https://r.example/app", "r.example/app:latest"},
	    {"HTTP://r.example/app", "r.example/app:latest"},
	    {"http://host/app", "host:80/app:latest"},
	    {"https://host/app", "host:443/app:latest"},
	    {"http://host:80/app", "host:80/app:latest"},
	    {"app:5000", "docker.io/library/app:5000"},
	};
	struct reference r, again;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		if (reference_parse(cases[i].text, &r, &e) != ERR_OK)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_string_equal(reference_print(ctx, &r), cases[i].canonical);
		assert_int_equal(reference_parse(cases[i].canonical, &again, &e), ERR_OK);
		assert_string_equal(reference_print(ctx, &again), cases[i].canonical);
	}
}

static void bad_references_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
	    {"", "empty"},
	    {" app", "0x20"},
	    {"app\n", "0x0a at position 3"},
	    {"\xc3\xa4pp", "0xc3"},
	    {"App", "lower case"},
	    {"r.example/App", "lower case"},
	    {"app:", "where a tag is due"},
	    {"app:-x", "'-x' is not a tag"},
	    {"app:a/b:", "where a tag is due"},
	    {"r.example/app:a+b", "'a+b' is not a tag"},
	    {"r.example/", "'' is not a repository"},
	    {"r.example//app", "'' is not a repository"},
	    {"/app", "'' is not a repository"},
	    {"r.example/app/", "'' is not a repository"},
	    {"r.example/a..b", "'a..b' is not a repository"},
	    {"r.example/../../etc", "'..' is not a repository"},
	    {"r.example/a___b", "'a___b' is not"},
	    {"r.example/-a", "'-a' is not"},
	    {"r.example/a-", "'a-' is not"},
	    {"r.example/a%2fb", "'a%2fb' is not"},
	    {"r.example:0/app", "'0' is not a port"},
	    {"r.example:65536/app", "'65536' is not a port"},
	    {"r.example:x/app", "'x' is not a port"},
	    {"r.example:/app", "'' is not a port"},
	    {"-r.example/app", "'-r.example' is not a host"},
	    {"r..example/app", "is not a host"},
	    {"u:p@r.example/app", "is not a digest"},
	    {"[::1/app:x", "is not a"},
	    {"[zz::1]:5/app:x", "is not a host"},
	    {"http://r.example", "no repository after the host"},
	    {"https:///app", "is not a host"},
	    {"ftp://r.example/app", "only http and https"},
	    {"r.example/http://app", "only http and https"},
	    {"https:x://r.example/app", "only http and https"},
	    {"app@", "is not a digest"},
	    {"app@sha512:" HEX, "is not a digest"},
	    {"app@sha256:abc", "64 lower-case hex"},
	    {"app@sha256:" HEX "0", "64 lower-case hex"},
	    {"app@sha256:E3" HEX, "64 lower-case hex"},
	    {"app@sha256:0000000000000000000000000000000000000000000000000000000000000000", "zeros"},
	};
	struct reference r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (reference_parse(cases[i].text, &r, &e) != ERR_INVALID)
			fail_msg("'%s' was accepted", cases[i].text);
		if (!strstr(e.text, cases[i].reason))
			fail_msg("'%s': %s", cases[i].text, e.text);
		if (!strchr(cases[i].text, '\n') && cases[i].text[0] > ' ' && !strstr(e.text, cases[i].text))
			fail_msg("'%s' is not named in: %s", cases[i].text, e.text);
	}
}

static char *repeated(TALLOC_CTX *ctx, const char *before, char c, size_t count, const char *after)
{
	char *middle = talloc_zero_size(ctx, count + 1);

	memset(middle, c, count);
	return talloc_asprintf(ctx, "%s%s%s", before, middle, after);
}

static void lengths_are_limited_exactly(void **state)
{
	struct reference r;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_int_equal(reference_parse(repeated(ctx, "app:", 'x', 128, ""), &r, NULL), ERR_OK);
	assert_int_equal(reference_parse(repeated(ctx, "app:", 'x', 129, ""), &r, NULL), ERR_INVALID);
	assert_int_equal(reference_parse(repeated(ctx, "r.io/", 'x', 255, ""), &r, NULL), ERR_OK);
	assert_int_equal(reference_parse(repeated(ctx, "r.io/", 'x', 256, ""), &r, NULL), ERR_INVALID);
	assert_int_equal(reference_parse(repeated(ctx, "", 'x', 255 - strlen("library/"), ""), &r, NULL), ERR_OK);
	assert_int_equal(reference_parse(repeated(ctx, "", 'x', 256 - strlen("library/"), ""), &r, NULL), ERR_INVALID);
	assert_int_equal(reference_parse(repeated(ctx, "", 'x', 252, ".io/app"), &r, NULL), ERR_OK);
	assert_int_equal(reference_parse(repeated(ctx, "", 'x', 253, ".io/app"), &r, NULL), ERR_INVALID);
	assert_int_equal(reference_parse(repeated(ctx, "http://", 'x', 252, "/app"), &r, NULL), ERR_OK);
	assert_int_equal(reference_parse(repeated(ctx, "http://", 'x', 253, "/app"), &r, NULL), ERR_INVALID);
	assert_int_equal(reference_parse(repeated(ctx, "", 'x', 1000000, ""), &r, NULL), ERR_INVALID);
}

static void scheme_is_kept_beside_the_name(void **state)
{
	struct reference r;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_int_equal(reference_parse("http://r.example/app:1", &r, NULL), ERR_OK);
	assert_int_equal(r.scheme, REFERENCE_SCHEME_HTTP);
	assert_string_equal(reference_print_source(ctx, &r), "http://r.example/app:1");
	assert_string_equal(reference_print(ctx, &r), "r.example/app:1");
	assert_int_equal(reference_parse("r.example/app:1", &r, NULL), ERR_OK);
	assert_int_equal(r.scheme, REFERENCE_SCHEME_ANY);
	assert_string_equal(reference_print_source(ctx, &r), "r.example/app:1");
}

static void docker_io_is_reached_at_its_registry_host(void **state)
{
	struct reference r;

	(void)state;
	assert_int_equal(reference_parse("debian", &r, NULL), ERR_OK);
	assert_string_equal(reference_host(&r), "registry-1.docker.io");
	assert_int_equal(reference_parse("r.example:5/debian", &r, NULL), ERR_OK);
	assert_string_equal(reference_host(&r), "r.example:5");
}

static void pinning_adds_the_digest(void **state)
{
	struct reference r;
	struct digest d;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_true(digest_parse("sha256:" HEX, &d));
	assert_int_equal(reference_parse("r.example/app:1", &r, NULL), ERR_OK);
	reference_pin(&r, &d);
	assert_string_equal(reference_print(ctx, &r), "r.example/app:1@sha256:" HEX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(canonical_form_is_as_expected),
	    cmocka_unit_test(bad_references_are_refused_with_a_reason),
	    cmocka_unit_test(lengths_are_limited_exactly),
	    cmocka_unit_test(scheme_is_kept_beside_the_name),
	    cmocka_unit_test(docker_io_is_reached_at_its_registry_host),
	    cmocka_unit_test(pinning_adds_the_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
