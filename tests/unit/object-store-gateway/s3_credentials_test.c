/* Keys from the surroundings: each source alone, their order, and their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_credentials.h"

#include "tests/unit/object-store-gateway/s3_double.h"

#include <pthread.h>

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
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
};

/* Nothing is set up, and home is empty. */
static void bare_surroundings(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		unsetenv(variables[i]);
	setenv("HOME", registry_double.directory, 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	double_script("{}");
}

static char *write_file(TALLOC_CTX *ctx, const char *name, const char *text)
{
	char *path = talloc_asprintf(ctx, "%s/%s", registry_double.directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	return path;
}

static struct s3_credentials *automatic(TALLOC_CTX *ctx)
{
	const struct s3_credentials_options options = {.automatic = true, .region = "eu-west-1"};
	struct s3_credentials *c;
	struct err e;

	OK(s3_credentials_new(ctx, &options, &c, &e));
	return c;
}

static void expect_key(struct s3_credentials *c, const char *access, const char *secret, const char *token)
{
	SCRATCH_CTX(ctx);
	struct s3_key key;
	struct err e = {.text = ""};

	OK(s3_credentials_get(c, ctx, &key, &e));
	assert_string_equal(key.key.access_key, access);
	assert_string_equal(key.key.secret_key, secret);
	if (token)
		assert_string_equal(key.key.token, token);
	else
		assert_null(key.key.token);
}

static void expect_failure(TALLOC_CTX *ctx, enum err_code code, const char *says)
{
	struct s3_key key;
	struct err e = {.text = ""};

	assert_int_equal(s3_credentials_get(automatic(ctx), ctx, &key, &e), code);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not say '%s'", e.text, says);
}

/* An answer in JSON, as container and machine give it; seconds until it ends. */
static char *json_keys(TALLOC_CTX *ctx, const char *access, int64_t seconds)
{
	return talloc_asprintf(ctx,
	                       "{'text': '{\\\"Code\\\": \\\"Success\\\", \\\"AccessKeyId\\\": \\\"%s\\\","
	                       " \\\"SecretAccessKey\\\": \\\"s/+\\\", \\\"Token\\\": \\\"t=\\\","
	                       " \\\"Expiration\\\": \\\"%s\\\"}'}",
	                       access, clock_format(clock_wall_ms() + seconds * 1000).text);
}

static char *xml_keys(TALLOC_CTX *ctx, const char *access, int64_t seconds)
{
	return talloc_asprintf(ctx,
	                       "{'text': '<AssumeRoleWithWebIdentityResponse xmlns=\\\"https://sts.amazonaws.com/doc/"
	                       "2011-06-15/\\\"><AssumeRoleWithWebIdentityResult><Credentials>"
	                       "<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s/+</SecretAccessKey>"
	                       "<SessionToken>t=</SessionToken><Expiration>%s</Expiration></Credentials>"
	                       "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>'}",
	                       access, clock_format(clock_wall_ms() + seconds * 1000).text);
}

static void the_configured_key_is_used_as_it_is(void **state)
{
	SCRATCH_CTX(ctx);
	struct s3_credentials *c;
	struct err e;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "other", 1);
	OK(s3_credentials_new(ctx, &(struct s3_credentials_options){.access_key = "a:b", .secret_key = "c"}, &c, &e));
	expect_key(c, "a:b", "c", NULL);
	assert_false(s3_credentials_expired(c, 0));
	assert_int_equal(s3_credentials_new(ctx, &(struct s3_credentials_options){.access_key = "a"}, &c, &e),
	                 ERR_INVALID);
	assert_int_equal(s3_credentials_new(ctx, &(struct s3_credentials_options){.region = "x"}, &c, &e), ERR_INVALID);
}

static void the_environment_comes_first(void **state)
{
	SCRATCH_CTX(ctx);

	(void)state;
	bare_surroundings();
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere", 1);
	setenv("AWS_ACCESS_KEY_ID", "a", 1);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "AWS_SECRET_ACCESS_KEY");
	setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
	expect_key(automatic(ctx), "a", "b", NULL);
	setenv("AWS_SESSION_TOKEN", "t", 1);
	expect_key(automatic(ctx), "a", "b", "t");
}

static void without_any_source_there_are_none(void **state)
{
	SCRATCH_CTX(ctx);

	(void)state;
	bare_surroundings();
	expect_failure(ctx, ERR_UNAUTHENTICATED, "no credentials");
	/* A machine without a metadata service. */
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1", 1);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "no credentials");
}

static void the_shared_file_has_sections(void **state)
{
	static const char text[] = "# ours\n[ other ]\naws_access_key_id=o\naws_secret_access_key=p=q\n"
				   "aws_session_token = r\r\n\n[default]\n; none\n aws_access_key_id = a \n"
				   "colour = red\naws_secret_access_key = b/+=\n[last]\naws_access_key_id = x";
	SCRATCH_CTX(ctx);
	char *path;

	(void)state;
	bare_surroundings();
	path = write_file(ctx, "shared", text);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	expect_key(automatic(ctx), "a", "b/+=", NULL);
	setenv("AWS_PROFILE", "other", 1);
	expect_key(automatic(ctx), "o", "p=q", "r");
	setenv("AWS_PROFILE", "last", 1);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "[last]");
	setenv("AWS_PROFILE", "none", 1);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "[none]");
	unlink(path);
}

static void a_rotated_file_is_read_again_when_the_server_says_so(void **state)
{
	SCRATCH_CTX(ctx);
	struct s3_credentials *c;
	struct s3_key key;
	struct err e;
	char *path;

	(void)state;
	bare_surroundings();
	path = write_file(ctx, "shared", "[default]\naws_access_key_id=old\naws_secret_access_key=b\n");
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	c = automatic(ctx);
	OK(s3_credentials_get(c, ctx, &key, &e));
	write_file(ctx, "shared", "[default]\naws_access_key_id=new\naws_secret_access_key=b\n");
	expect_key(c, "old", "b", NULL);
	assert_true(s3_credentials_expired(c, key.generation));
	expect_key(c, "new", "b", NULL);
	/* Somebody who saw the old one refused does not throw the new one away. */
	write_file(ctx, "shared", "[default]\naws_access_key_id=newer\naws_secret_access_key=b\n");
	assert_true(s3_credentials_expired(c, key.generation));
	expect_key(c, "new", "b", NULL);
	unlink(path);
}

static void a_web_identity_is_exchanged_for_a_key(void **state)
{
	SCRATCH_CTX(ctx);
	char *path, *log;

	(void)state;
	bare_surroundings();
	path = write_file(ctx, "token", "ey.J+/=\n");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_ENDPOINT_URL_STS", double_url(ctx, DOUBLE_PLAIN, "/sts"), 1);
	double_script("{'pages': {'/sts': [{'status': 503}, %s]}}", xml_keys(ctx, "web", 3600));
	expect_key(automatic(ctx), "web", "s/+", "t=");
	log = double_log(ctx);
	assert_int_equal(count_of(log, "POST /sts|"), 2);
	assert_null(strstr(log, "authorization"));
	double_script("{'pages': {'/sts': [{'status': 403, 'text': '<ErrorResponse><Error><Code>AccessDenied</Code>"
	              "</Error></ErrorResponse>'}]}}");
	expect_failure(ctx, ERR_UNAUTHENTICATED, "AccessDenied");
	/* This service says 400 to what passes, too. */
	double_script("{'pages': {'/sts': [{'status': 400, 'text': '<ErrorResponse><Error><Code>Throttling</Code>"
	              "</Error></ErrorResponse>'}]}}");
	expect_failure(ctx, ERR_UNAVAILABLE, "Throttling");
	double_script("{'pages': {'/sts': [{'status': 400, 'text': '<ErrorResponse><Error><Code>IDPCommunicationError"
	              "</Code></Error></ErrorResponse>'}]}}");
	expect_failure(ctx, ERR_UNAVAILABLE, "IDPCommunicationError");
	double_script("{'pages': {'/sts': [{'text': '<html>'}]}}");
	expect_failure(ctx, ERR_UNAUTHENTICATED, "not understood");
	double_script("{'pages': {'/sts': [{'status': 503}]}}");
	expect_failure(ctx, ERR_UNAVAILABLE, "web identity");
	unlink(path);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "token");
}

static void a_container_has_an_endpoint(void **state)
{
	SCRATCH_CTX(ctx);
	char *path;

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	double_script("{'pages': {'/container': [%s]}}", json_keys(ctx, "c", 3600));
	expect_key(automatic(ctx), "c", "s/+", "t=");
	assert_null(strstr(double_log(ctx), "authorization"));
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "plain", 1);
	expect_key(automatic(ctx), "c", "s/+", "t=");
	assert_non_null(strstr(double_log(ctx), "authorization: plain"));
	path = write_file(ctx, "auth", "from a file\n");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path, 1);
	expect_key(automatic(ctx), "c", "s/+", "t=");
	assert_non_null(strstr(double_log(ctx), "authorization: from a file"));
	unlink(path);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "token");
	unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://stranger.example/", 1);
	expect_failure(ctx, ERR_UNAUTHENTICATED, "neither https nor this machine");
}

static void a_machine_has_metadata_of_version_two(void **state)
{
	SCRATCH_CTX(ctx);
	char *log;

	(void)state;
	bare_surroundings();
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", double_url(ctx, DOUBLE_PLAIN, "/"), 1);
	double_script("{'pages': {'/latest/api/token': [{'text': 'tok'}],"
	              " '/latest/meta-data/iam/security-credentials/': [{'text': 'my-role\\n'}],"
	              " '/latest/meta-data/iam/security-credentials/my-role': [%s]}}",
	              json_keys(ctx, "m", 3600));
	expect_key(automatic(ctx), "m", "s/+", "t=");
	log = double_log(ctx);
	assert_int_equal(count_of(log, "x-aws-ec2-metadata-token-ttl-seconds: 21600"), 1);
	assert_int_equal(count_of(log, "x-aws-ec2-metadata-token: tok"), 2);
	/* A machine without a role. */
	double_script("{'pages': {'/latest/api/token': [{'text': 'tok'}],"
	              " '/latest/meta-data/iam/security-credentials/': [{'status': 404}]}}");
	expect_failure(ctx, ERR_UNAUTHENTICATED, "no credentials");
}

static void hostile_answers_are_refused(void **state)
{
	static const char *const answers[] = {
	    "{'text': ''}",
	    "{'text': '[]'}",
	    "{'text': '{}'}",
	    "{'text': '{\\\"AccessKeyId\\\": 1, \\\"SecretAccessKey\\\": 2}'}",
	    "{'text': '{\\\"Code\\\": \\\"AssumeRoleUnauthorizedAccess\\\"}'}",
	    "{'pattern': 70000}",
	    "{'status': 404}",
	};
	SCRATCH_CTX(ctx);

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		double_script("{'pages': {'/container': [%s]}}", answers[i]);
		expect_failure(ctx, ERR_UNAUTHENTICATED, "container");
	}
}

static void a_key_is_replaced_before_it_ends(void **state)
{
	SCRATCH_CTX(ctx);
	struct s3_credentials *c;

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	double_script("{'pages': {'/container': [%s, %s]}}", json_keys(ctx, "first", 200),
	              json_keys(ctx, "second", 3600));
	c = automatic(ctx);
	expect_key(c, "first", "s/+", "t=");
	expect_key(c, "second", "s/+", "t=");
	expect_key(c, "second", "s/+", "t=");
	assert_int_equal(count_of(double_log(ctx), "GET /container|"), 2);
}

static void a_source_that_fails_does_not_end_a_key_that_is_good(void **state)
{
	SCRATCH_CTX(ctx);
	struct s3_credentials *c;

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	double_script("{'pages': {'/container': [%s, {'status': 400}]}}", json_keys(ctx, "first", 200));
	c = automatic(ctx);
	for (int i = 0; i < 5; i++)
		expect_key(c, "first", "s/+", "t=");
	/* It was asked once more, and then left alone. */
	assert_int_equal(count_of(double_log(ctx), "GET /container|"), 2);
}

struct asker {
	struct s3_credentials *credentials;
	bool right;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	SCRATCH_CTX(ctx);
	struct s3_key key;
	struct err e;

	a->right =
	    s3_credentials_get(a->credentials, ctx, &key, &e) == ERR_OK && strcmp(key.key.access_key, "only") == 0;
	return NULL;
}

static void many_threads_ask_the_source_once(void **state)
{
	enum { THREADS = 8 };
	SCRATCH_CTX(ctx);
	struct asker askers[THREADS];
	pthread_t threads[THREADS];
	struct s3_credentials *c;

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	double_script("{'pages': {'/container': [%s]}}", json_keys(ctx, "only", 3600));
	c = automatic(ctx);
	for (size_t i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){c, false};
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(askers[i].right);
	}
	assert_int_equal(count_of(double_log(ctx), "GET /container|"), 1);
}

/* The whole way: the driver signs with temporary keys, and the server ends them. */
static void the_driver_gets_new_keys_when_the_server_ends_the_old(void **state)
{
	SCRATCH_CTX(ctx);
	struct location at = s3_location(1);
	struct driver_conn *c;
	struct err e;
	char *text;

	(void)state;
	bare_surroundings();
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", double_url(ctx, DOUBLE_PLAIN, "/container"), 1);
	double_script("{'buckets': ['b'], 'region': 'us-east-1', 'clock': 0, 'keys': {'first': ['s/+', 't=']},"
	              " 'pages': {'/container': [%s]}}",
	              json_keys(ctx, "first", 3600));
	text = talloc_asprintf(ctx, "url: \"%s\", bucket: b, iamauto: true", double_url(ctx, DOUBLE_PLAIN, ""));
	OK(s3_try_open_with(ctx, text, &c, &e));
	double_script("{'keys': {'first': ['s/+', 't='], 'second': ['s/+', 't=']}, 'expired': ['first'],"
	              " 'pages': {'/container': [%s]}}",
	              json_keys(ctx, "second", 3600));
	OK(driver_s3.put(c, &at, "x", 1, &e));
	assert_int_equal(count_of(double_log(ctx), "PUT /b/"), 2);
	assert_int_equal(count_of(double_log(ctx), "GET /container|"), 1);
	driver_s3.close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_configured_key_is_used_as_it_is),
	    cmocka_unit_test(the_environment_comes_first),
	    cmocka_unit_test(without_any_source_there_are_none),
	    cmocka_unit_test(the_shared_file_has_sections),
	    cmocka_unit_test(a_rotated_file_is_read_again_when_the_server_says_so),
	    cmocka_unit_test(a_web_identity_is_exchanged_for_a_key),
	    cmocka_unit_test(a_container_has_an_endpoint),
	    cmocka_unit_test(a_machine_has_metadata_of_version_two),
	    cmocka_unit_test(hostile_answers_are_refused),
	    cmocka_unit_test(a_key_is_replaced_before_it_ends),
	    cmocka_unit_test(a_source_that_fails_does_not_end_a_key_that_is_good),
	    cmocka_unit_test(many_threads_ask_the_source_once),
	    cmocka_unit_test(the_driver_gets_new_keys_when_the_server_ends_the_old),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
