/* Which of several sources of keys counts, and what a section that was pasted from elsewhere means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_credentials.h"

#include "tests/unit/object-store-gateway/s3_double.h"

#define ROLES "/latest/meta-data/iam/security-credentials/"

static const char *const variables[] = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
};

static char *write_file(TALLOC_CTX *ctx, const char *name, const char *text)
{
	char *path = talloc_asprintf(ctx, "%s/%s", registry_double.directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	return path;
}

static char *json_keys(TALLOC_CTX *ctx, const char *access, const char *end)
{
	return talloc_asprintf(ctx,
	                       "{'text': '{\\\"Code\\\": \\\"Success\\\", \\\"AccessKeyId\\\": \\\"%s\\\","
	                       " \\\"SecretAccessKey\\\": \\\"s\\\", \\\"Token\\\": \\\"t\\\", \\\"Expiration\\\": "
	                       "\\\"%s\\\"}'}",
	                       access, end);
}

static char *xml_keys(TALLOC_CTX *ctx, const char *access, const char *end)
{
	return talloc_asprintf(
	    ctx,
	    "{'text': '<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
	    "<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
	    "<Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
	    "</AssumeRoleWithWebIdentityResponse>'}",
	    access, end);
}

/* Every source has keys, of its own name. */
static void rich_surroundings(TALLOC_CTX *ctx)
{
	const char *end = talloc_strdup(ctx, clock_format(clock_wall_ms() + 3600000).text);

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		unsetenv(variables[i]);
	setenv("AWS_ACCESS_KEY_ID", "environment", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE",
	       write_file(ctx, "shared", "[default]\naws_access_key_id = file\naws_secret_access_key = s\n"), 1);
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file(ctx, "token", "jwt"), 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_ENDPOINT_URL_STS", double_url(ctx, DOUBLE_PLAIN, "/sts"), 1);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", double_url(ctx, DOUBLE_PLAIN, ""), 1);
	double_script("{'pages': {'/sts': [%s], '/container': [%s], '/latest/api/token': [{'text': 'tok'}], '" ROLES
	              "': [{'text': 'r'}], '" ROLES "r': [%s]}}",
	              xml_keys(ctx, "web identity", end), json_keys(ctx, "container", end),
	              json_keys(ctx, "machine", end));
}

static void the_first_source_that_is_set_up_counts(void **state)
{
	static const struct {
		const char *name, *unset; /* to come to the next one */
	} order[] = {
	    {"environment", "AWS_ACCESS_KEY_ID"},
	    {"file", "AWS_SHARED_CREDENTIALS_FILE"},
	    {"web identity", "AWS_WEB_IDENTITY_TOKEN_FILE"},
	    {"container", "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
	    {"machine", "AWS_EC2_METADATA_SERVICE_ENDPOINT"},
	};
	SCRATCH_CTX(ctx);

	(void)state;
	setenv("HOME", "/nowhere", 1);
	rich_surroundings(ctx);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		const struct s3_credentials_options options = {.automatic = true};
		struct s3_credentials *c;
		struct s3_key key;
		struct err e;

		OK(s3_credentials_new(ctx, &options, &c, &e));
		OK(s3_credentials_get(c, ctx, &key, &e));
		assert_string_equal(key.key.access_key, order[i].name);
		unsetenv(order[i].unset);
		if (i == 0)
			unsetenv("AWS_SECRET_ACCESS_KEY");
	}
	unlink(talloc_asprintf(ctx, "%s/shared", registry_double.directory));
	unlink(talloc_asprintf(ctx, "%s/token", registry_double.directory));
}

/* As elsewhere, where "False" stands for nothing, and keys come before iamauto. */
static void a_section_from_elsewhere_means_here_what_it_meant_there(void **state)
{
	static const char *const more[] = {"region: False",  "region: false", "region: ''",          "region: null",
	                                   "iamauto: False", "iamauto: True", "prefix: internaltest"};

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "another", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *c;
		char *log;

		s3_script("");
		c = s3_open(ctx, more[i]);
		log = double_log(ctx);
		if (count_of(log, "Credential=test:key/") != count_of(log, "\n") ||
		    count_of(log, "/us-east-1/s3/aws4_request") != count_of(log, "\n"))
			fail_msg("%s: %s", more[i], log);
		driver_s3.close(c);
	}
}

static void empty_keys_are_none(void **state)
{
	SCRATCH_CTX(ctx);
	char *text = talloc_asprintf(ctx, "url: \"%s\", bucket: b, access_key: '', secret_key: \"\", iamauto: True",
	                             double_url(ctx, DOUBLE_PLAIN, "/"));
	struct driver_conn *c;
	struct err e;

	(void)state;
	s3_script("");
	setenv("AWS_ACCESS_KEY_ID", "test:key", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "se:cret/+", 1);
	OK(s3_try_open_with(ctx, text, &c, &e));
	driver_s3.close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_source_that_is_set_up_counts),
	    cmocka_unit_test(a_section_from_elsewhere_means_here_what_it_meant_there),
	    cmocka_unit_test(empty_keys_are_none),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
