/* What is read and written on the wire: XML of strangers, refusals, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/drivers/s3_address.h"
#include "services/object-store-gateway/drivers/s3_refusal.h"
#include "services/object-store-gateway/drivers/s3_xml.h"

#include <string.h>

/* ---- XML ---- */

static enum err_code note(void *arg, const char *path, const char *text, struct err *e)
{
	char **all = arg;

	(void)e;
	*all = talloc_asprintf_append(*all, "%s=%s;", path, text);
	return ERR_OK;
}

static const struct {
	const char *xml, *seen; /* NULL: refused */
} documents[] = {
    {"<a/>", "a=;"},
    {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"http://x\"><b>1</b><c> 2 </c></a>\n", "a/b=1;a/c= 2 ;a=;"},
    {"<n:a xmlns:n='u'><n:b>x&amp;y&lt;&#65;</n:b></n:a>", "a/b=x&y<A;a=;"},
    {"<a><b>1</b><b>2</b>3<!-- no --><![CDATA[<]]></a>", "a/b=1;a/b=2;a=3<;"},
    {"", NULL},
    {"   ", NULL},
    {"text", NULL},
    {"<a>", NULL},
    {"<a></b>", NULL},
    {"<a/><b/>", NULL},
    {"<a b=1/>", NULL},
    {"<a>&unknown;</a>", NULL},
    {"<!DOCTYPE a><a/>", NULL},
    {"<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>", NULL},
    {"<a>\xff\xfe</a>", NULL},
    {"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a></a></a></"
     "a></a>",
     NULL},
};

static void documents_are_read_or_refused_as_a_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		SCRATCH_CTX(ctx);
		char *seen = talloc_strdup(ctx, "");
		struct err e = {.text = ""};
		enum err_code code = s3_xml_read(documents[i].xml, strlen(documents[i].xml), note, &seen, &e);

		if (documents[i].seen) {
			assert_int_equal(code, ERR_OK);
			assert_string_equal(seen, documents[i].seen);
		} else if (code != ERR_CORRUPT || !e.text[0]) {
			fail_msg("'%s' was read as %s", documents[i].xml, seen);
		}
	}
}

static void a_text_has_a_limit(void **state)
{
	SCRATCH_CTX(ctx);
	char *long_text = talloc_zero_size(ctx, 5001), *xml, *seen = talloc_strdup(ctx, "");
	struct err e;

	(void)state;
	memset(long_text, 'x', 5000);
	xml = talloc_asprintf(ctx, "<a>%s</a>", long_text);
	assert_int_equal(s3_xml_read(xml, strlen(xml), note, &seen, &e), ERR_CORRUPT);
	xml = talloc_asprintf(ctx, "<%s/>", long_text);
	assert_int_equal(s3_xml_read(xml, strlen(xml), note, &seen, &e), ERR_CORRUPT);
	long_text[4000] = '\0';
	xml = talloc_asprintf(ctx, "<a>%s</a>", long_text);
	assert_int_equal(s3_xml_read(xml, strlen(xml), note, &seen, &e), ERR_OK);
}

static void one_text_is_found_by_its_path(void **state)
{
	static const char xml[] = "<a><b><c>1</c></b><b><c>2</c></b></a>";
	SCRATCH_CTX(ctx);

	(void)state;
	assert_string_equal(s3_xml_text(ctx, xml, strlen(xml), "a/b/c"), "1");
	assert_null(s3_xml_text(ctx, xml, strlen(xml), "b/c"));
	assert_null(s3_xml_text(ctx, xml, strlen(xml) - 1, "a/b/c"));
}

/* ---- refusals ---- */

#define XML_ERROR(code) "<?xml version='1.0'?><Error><Code>" code "</Code><Message>why\n</Message></Error>"

static const struct {
	int status;
	const char *body;
	enum err_code code; /* ERR_OK: no refusal */
} refusals[] = {
    {200, "", ERR_OK},
    {204, "", ERR_OK},
    {200, "<ListBucketResult/>", ERR_OK},
    {200, "not XML at all", ERR_OK},
    {200, XML_ERROR("InternalError"), ERR_UNAVAILABLE},
    {200, XML_ERROR("AccessDenied"), ERR_FORBIDDEN},
    {400, XML_ERROR("ExpiredToken"), ERR_UNAUTHENTICATED},
    {400, XML_ERROR("RequestTimeout"), ERR_UNAVAILABLE},
    {400, XML_ERROR("NobodyKnowsThis"), ERR_INTERNAL},
    {400, "", ERR_INTERNAL},
    {401, "<html>", ERR_UNAUTHENTICATED},
    {403, XML_ERROR("AccessDenied"), ERR_FORBIDDEN},
    {403, XML_ERROR("SignatureDoesNotMatch"), ERR_UNAUTHENTICATED},
    {403, XML_ERROR("InvalidAccessKeyId"), ERR_UNAUTHENTICATED},
    {403, XML_ERROR("RequestTimeTooSkewed"), ERR_UNAUTHENTICATED},
    {403, XML_ERROR("QuotaExceeded"), ERR_EXHAUSTED},
    {403, XML_ERROR("NobodyKnowsThis"), ERR_FORBIDDEN},
    {403, "", ERR_FORBIDDEN},
    {404, XML_ERROR("NoSuchKey"), ERR_NOT_FOUND},
    {404, XML_ERROR("NoSuchBucket"), ERR_NOT_FOUND},
    {404, "<html>not found</html>", ERR_INTERNAL},
    {404, "", ERR_INTERNAL},
    {405, XML_ERROR("MethodNotAllowed"), ERR_UNSUPPORTED},
    {408, "", ERR_UNAVAILABLE},
    {409, XML_ERROR("OperationAborted"), ERR_UNAVAILABLE},
    {412, XML_ERROR("PreconditionFailed"), ERR_PRECONDITION},
    {412, "", ERR_PRECONDITION},
    {429, "", ERR_UNAVAILABLE},
    {500, "", ERR_UNAVAILABLE},
    {501, XML_ERROR("NotImplemented"), ERR_UNSUPPORTED},
    {503, XML_ERROR("SlowDown"), ERR_UNAVAILABLE},
    {503, "<html>", ERR_UNAVAILABLE},
    {507, "", ERR_EXHAUSTED},
    {302, "", ERR_INTERNAL},
    {700, "", ERR_UNAVAILABLE},
};

static void each_refusal_has_its_meaning(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct http_response response = {.status = refusals[i].status};
		struct s3_refusal r;
		struct err e = {.text = ""};

		buf_init(&response.headers, 100);
		buf_init(&response.body, 1000);
		buf_add_text(&response.body, refusals[i].body);
		if (s3_refusal_read(&response, &r)) {
			assert_int_equal(s3_refusal_error(&r, "put k", &e), refusals[i].code);
			assert_non_null(strstr(e.text, "put k"));
			assert_null(strchr(e.text, '\n'));
		} else {
			assert_int_equal(refusals[i].code, ERR_OK);
		}
		http_response_release(&response);
	}
}

static void what_a_refusal_says_has_limits(void **state)
{
	struct http_response response = {.status = 400};
	struct s3_refusal r;
	struct err e;

	(void)state;
	buf_init(&response.headers, 1000);
	buf_init(&response.body, 10000);
	buf_add_text(&response.headers, "x-amz-bucket-region: "
	                                "a-region-with-a-name-that-is-much-longer-than-any-region-will-ever-have\n");
	buf_add_text(&response.body, "<Error><Code>");
	for (int i = 0; i < 300; i++)
		buf_add_text(&response.body, "Code");
	buf_add_text(&response.body, "</Code></Error>");
	assert_true(s3_refusal_read(&response, &r));
	assert_int_equal(strlen(r.code), sizeof(r.code) - 1);
	assert_int_equal(strlen(r.region), sizeof(r.region) - 1);
	assert_int_equal(s3_refusal_error(&r, "x", &e), ERR_INTERNAL);
	http_response_release(&response);
}

/* ---- addresses ---- */

static const struct {
	const char *url, *region, *bucket;
	enum s3_style style;
	const char *key, *query, *wanted; /* NULL: refused */
} addresses[] = {
    {NULL, "us-east-1", "my-bucket", S3_STYLE_AUTO, "a/b c", NULL,
     "https://my-bucket.s3.us-east-1.amazonaws.com/a/b%20c"},
    {NULL, "us-east-1", "my-bucket", S3_STYLE_PATH, "k", "x=1", "https://s3.us-east-1.amazonaws.com/my-bucket/k?x=1"},
    {NULL, "us-east-1", "my.bucket", S3_STYLE_AUTO, "k", NULL, "https://s3.us-east-1.amazonaws.com/my.bucket/k"},
    {NULL, "us-east-1", "My_Bucket", S3_STYLE_AUTO, "k", NULL, "https://s3.us-east-1.amazonaws.com/My_Bucket/k"},
    {NULL, "cn-north-1", "bbb", S3_STYLE_AUTO, NULL, NULL, "https://bbb.s3.cn-north-1.amazonaws.com.cn/"},
    {"https://s3.eu-west-1.amazonaws.com", "eu-west-1", "bbb", S3_STYLE_AUTO, "k", NULL,
     "https://bbb.s3.eu-west-1.amazonaws.com/k"},
    {"http://minio:9000", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, "http://minio:9000/bbb/k"},
    {"http://minio:9000/", "us-east-1", "bbb", S3_STYLE_AUTO, NULL, "delete=", "http://minio:9000/bbb?delete="},
    {"https://h:443/s3/x//", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, "https://h/s3/x/bbb/k"},
    {"HTTP://h:80", "us-east-1", "bbb", S3_STYLE_HOST, "k", NULL, "http://bbb.h/k"},
    {"https://h:80", "us-east-1", "bbb", S3_STYLE_PATH, "k", NULL, "https://h:80/bbb/k"},
    {"http://[::1]:8080", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, "http://[::1]:8080/bbb/k"},
    {"http://h", "us-east-1", "bbb", S3_STYLE_AUTO, "\xc3\xa9+&=?#%", NULL, "http://h/bbb/%C3%A9%2B%26%3D%3F%23%25"},
    {"ftp://h", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, NULL},
    {"h:9000", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, NULL},
    {"http://user:secret@h", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, NULL},
    {"http://h/?a=b", "us-east-1", "bbb", S3_STYLE_AUTO, "k", NULL, NULL},
    {"http://h", "us-east-1", "a/b", S3_STYLE_AUTO, "k", NULL, NULL},
    {"http://h", "us-east-1", "..", S3_STYLE_AUTO, "k", NULL, NULL},
    {"http://h", "us-east-1", "", S3_STYLE_AUTO, "k", NULL, NULL},
};

static void addresses_are_written_in_their_style(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		SCRATCH_CTX(ctx);
		struct s3_address *a;
		struct err e = {.text = ""};
		enum err_code code = s3_address_new(ctx, addresses[i].url, addresses[i].region, addresses[i].bucket,
		                                    addresses[i].style, &a, &e);

		if (addresses[i].wanted) {
			assert_int_equal(code, ERR_OK);
			assert_string_equal(s3_address_target(ctx, a, addresses[i].key, addresses[i].query).url,
			                    addresses[i].wanted);
		} else {
			assert_int_equal(code, ERR_INVALID);
		}
	}
}

static void only_amazons_address_follows_the_region(void **state)
{
	SCRATCH_CTX(ctx);
	struct s3_address *a;
	struct err e;

	(void)state;
	assert_int_equal(s3_address_new(ctx, NULL, "us-east-1", "bbb", S3_STYLE_AUTO, &a, &e), ERR_OK);
	s3_address_move(a, "eu-west-1");
	assert_string_equal(s3_address_target(ctx, a, "k", NULL).host, "bbb.s3.eu-west-1.amazonaws.com");
	assert_int_equal(s3_address_new(ctx, "http://h:1", "us-east-1", "bbb", S3_STYLE_AUTO, &a, &e), ERR_OK);
	s3_address_move(a, "eu-west-1");
	assert_string_equal(s3_address_target(ctx, a, "k", NULL).host, "h:1");
}

static const struct {
	const char *from, *location, *wanted; /* NULL: refused */
} redirects[] = {
    {"http://h", "http://other:81/x/y?z=1", "http://other:81/x/y?z=1"},
    {"http://h", "https://other", "https://other/"},
    {"http://h", "https://other?a", "https://other/?a"},
    {"https://h", "http://other/", NULL},
    {"http://h", "/relative", NULL},
    {"http://h", "", NULL},
    {"http://h", "ftp://other/", NULL},
    {"http://h", "http://user:word@other/", NULL},
};

static void redirects_lead_to_http_and_never_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(redirects); i++) {
		SCRATCH_CTX(ctx);
		struct s3_address *a;
		struct s3_target from, to;
		struct err e;
		enum err_code code;

		assert_int_equal(s3_address_new(ctx, redirects[i].from, "r", "bbb", S3_STYLE_AUTO, &a, &e), ERR_OK);
		from = s3_address_target(ctx, a, "k", NULL);
		code = s3_target_redirect(ctx, &from, redirects[i].location, &to, &e);
		assert_int_equal(code, redirects[i].wanted ? ERR_OK : ERR_INTERNAL);
		if (redirects[i].wanted)
			assert_string_equal(to.url, redirects[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents_are_read_or_refused_as_a_whole),
	    cmocka_unit_test(a_text_has_a_limit),
	    cmocka_unit_test(one_text_is_found_by_its_path),
	    cmocka_unit_test(each_refusal_has_its_meaning),
	    cmocka_unit_test(what_a_refusal_says_has_limits),
	    cmocka_unit_test(addresses_are_written_in_their_style),
	    cmocka_unit_test(only_amazons_address_follows_the_region),
	    cmocka_unit_test(redirects_lead_to_http_and_never_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
