/* The signatures are those of AWS's published test suite and of the examples in its description of S3's signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/sigv4.h"

#include <stdio.h>
#include <string.h>

#define SUITE_TIME INT64_C(1440938160000) /* 2015-08-30T12:36:00Z */
#define S3_TIME INT64_C(1369353600000)    /* 2013-05-24T00:00:00Z */

static const struct sigv4_key suite_key = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL};
static const struct sigv4_key s3_key = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL};

struct vector {
	const char *name, *method, *path, *query;
	const char *headers[4];
	const char *body; /* NULL: none */
	const char *signed_headers, *signature;
};

static const struct vector suite[] = {
    {"get-vanilla",
     "GET",
     "/",
     NULL,
     {NULL},
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     "Param2=value2&Param1=value1",
     {NULL},
     NULL,
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-unreserved",
     "GET",
     "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     NULL,
     {NULL},
     NULL,
     "host;x-amz-date",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     NULL,
     {"My-Header1:value2", "My-Header1:value2", "My-Header1:value1", NULL},
     NULL,
     "host;my-header1;x-amz-date",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-trim",
     "GET",
     "/",
     NULL,
     {"My-Header1: value1", "My-Header2: \"a   b   c\"", NULL},
     NULL,
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     NULL,
     {NULL},
     NULL,
     "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-vanilla-query",
     "POST",
     "/",
     "Param1=value1",
     {NULL},
     NULL,
     "host;x-amz-date",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-x-www-form-urlencoded",
     "POST",
     "/",
     NULL,
     {"Content-Type:application/x-www-form-urlencoded", NULL},
     "Param1=value1",
     "content-type;host;x-amz-date",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
};

static const struct vector s3_examples[] = {
    {"get a range",
     "GET",
     "/test.txt",
     NULL,
     {"Range:bytes=0-9", NULL},
     NULL,
     "host;range;x-amz-content-sha256;x-amz-date",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"put",
     "PUT",
     "/test%24file.text",
     NULL,
     {"Date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class:REDUCED_REDUNDANCY", NULL},
     "Welcome to Amazon S3.",
     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"a parameter without a value",
     "GET",
     "/",
     "lifecycle",
     {NULL},
     NULL,
     "host;x-amz-content-sha256;x-amz-date",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"list",
     "GET",
     "/",
     "max-keys=2&prefix=J",
     {NULL},
     NULL,
     "host;x-amz-content-sha256;x-amz-date",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static struct sigv4_request request_of(const struct vector *v, const char *host, const char *service, int64_t wall_ms,
                                       const char *payload)
{
	return (struct sigv4_request){
	    .method = v->method,
	    .host = host,
	    .path = v->path,
	    .query = v->query,
	    .headers = v->headers,
	    .payload = payload,
	    .region = "us-east-1",
	    .service = service,
	    .wall_ms = wall_ms,
	};
}

static void expect_signature(const struct vector *v, const struct sigv4_key *key, const struct sigv4_request *request,
                             const char *scope)
{
	SCRATCH_CTX(ctx);
	struct sigv4_signed got = sigv4_sign(ctx, key, request);
	char *wanted = talloc_asprintf(ctx, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
	                               key->access_key, scope, v->signed_headers, v->signature);

	if (strcmp(got.authorization, wanted) != 0)
		fail_msg("%s:\n%s, not\n%s", v->name, got.authorization, wanted);
}

static struct digest_text hash_of(const char *body)
{
	struct digest d = digest_of(body ? body : "", body ? strlen(body) : 0);

	return digest_hex(&d);
}

static void the_published_suite_is_signed_as_published(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suite); i++) {
		struct digest_text payload = hash_of(suite[i].body);
		struct sigv4_request request =
		    request_of(&suite[i], "example.amazonaws.com", "service", SUITE_TIME, payload.text);

		expect_signature(&suite[i], &suite_key, &request, "20150830/us-east-1/service/aws4_request");
	}
}

static void the_published_examples_of_s3_are_signed_as_published(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(s3_examples); i++) {
		struct digest_text payload = hash_of(s3_examples[i].body);
		struct sigv4_request request =
		    request_of(&s3_examples[i], "examplebucket.s3.amazonaws.com", "s3", S3_TIME, payload.text);

		expect_signature(&s3_examples[i], &s3_key, &request, "20130524/us-east-1/s3/aws4_request");
	}
	assert_string_equal(hash_of(NULL).text, SIGV4_EMPTY);
}

static const char *find_header(const struct sigv4_signed *got, const char *name)
{
	for (size_t i = 0; got->headers[i]; i++)
		if (strncmp(got->headers[i], name, strlen(name)) == 0)
			return got->headers[i] + strlen(name);
	return NULL;
}

static void what_must_be_sent_is_handed_out(void **state)
{
	static const struct sigv4_key temporary = {"a", "b", "to/ken+"};
	SCRATCH_CTX(ctx);
	struct sigv4_request request = request_of(&s3_examples[0], "h", "s3", S3_TIME, SIGV4_UNSIGNED);
	struct sigv4_signed got = sigv4_sign(ctx, &temporary, &request);

	(void)state;
	assert_string_equal(got.headers[0], "Range:bytes=0-9");
	assert_string_equal(find_header(&got, "X-Amz-Date: "), "20130524T000000Z");
	assert_string_equal(find_header(&got, "X-Amz-Content-Sha256: "), "UNSIGNED-PAYLOAD");
	assert_string_equal(find_header(&got, "X-Amz-Security-Token: "), "to/ken+");
	assert_non_null(strstr(got.authorization, "x-amz-date;x-amz-security-token, "));
	request.service = "sts";
	got = sigv4_sign(ctx, &suite_key, &request);
	assert_null(find_header(&got, "X-Amz-Content-Sha256: "));
	assert_null(find_header(&got, "X-Amz-Security-Token: "));
}

/* Keys of Swift's S3 interface look so. */
static void a_key_may_hold_colons_and_everything_else(void **state)
{
	static const struct sigv4_key key = {"test:tester", "a:b/c d=%\"", ""};
	SCRATCH_CTX(ctx);
	struct sigv4_request request = request_of(&s3_examples[0], "h", "s3", S3_TIME, SIGV4_EMPTY);
	struct sigv4_signed got = sigv4_sign(ctx, &key, &request);
	struct sigv4_key other = {"test:tester", "a", ""};

	(void)state;
	assert_non_null(strstr(got.authorization, "Credential=test:tester/20130524/"));
	assert_string_not_equal(got.authorization, sigv4_sign(ctx, &other, &request).authorization);
}

/* Everything that a server looks at changes the signature. */
static void nothing_that_counts_is_left_unsigned(void **state)
{
	SCRATCH_CTX(ctx);
	struct sigv4_request base = request_of(&s3_examples[3], "h", "s3", S3_TIME, SIGV4_EMPTY);
	const char *signature = strstr(sigv4_sign(ctx, &s3_key, &base).authorization, "Signature=");
	struct sigv4_request other[] = {base, base, base, base, base, base, base, base, base};
	static const char *const more[] = {"X-Amz-Meta-A: 1", NULL};

	(void)state;
	other[0].method = "PUT";
	other[1].host = "h:8080";
	other[2].path = "//";
	other[3].query = "max-keys=2&prefix=K";
	other[4].headers = more;
	other[5].payload = SIGV4_UNSIGNED;
	other[6].region = "eu-west-1";
	other[7].service = "sts";
	other[8].wall_ms += 1000;
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_string_not_equal(strstr(sigv4_sign(ctx, &s3_key, &other[i]).authorization, "Signature="),
		                        signature);
	/* The order of parameters does not. */
	base.query = "prefix=J&max-keys=2";
	assert_string_equal(strstr(sigv4_sign(ctx, &s3_key, &base).authorization, "Signature="), signature);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_published_suite_is_signed_as_published),
	    cmocka_unit_test(the_published_examples_of_s3_are_signed_as_published),
	    cmocka_unit_test(what_must_be_sent_is_handed_out),
	    cmocka_unit_test(a_key_may_hold_colons_and_everything_else),
	    cmocka_unit_test(nothing_that_counts_is_left_unsigned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
