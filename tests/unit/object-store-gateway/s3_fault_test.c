/* The table of faults: what a caller of the driver s3 sees for each, and how often the server was asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/s3_double.h"

#define OBJECT "object_store/"

enum operation { PUT, GET, REMOVE, REMOVE_MANY, LIST };

/* Before each case there is chunk 1 with the bytes "content"; a put is of chunk 2. */
static enum err_code perform(struct driver_conn *c, enum operation operation, struct err *e)
{
	struct location one = s3_location(1), two = s3_location(2), both[] = {one, two}, listed[4];
	char room[64];
	size_t count;

	switch (operation) {
	case PUT:
		return driver_s3.put(c, &two, "new content", 11, e);
	case GET:
		TRY(driver_s3.get(c, &one, room, sizeof(room), &count, e));
		return count == 7 && memcmp(room, "content", 7) == 0 ? ERR_OK : ERR(e, ERR_CORRUPT, "other bytes");
	case REMOVE:
		return driver_s3.remove(c, &one, 1, e);
	case REMOVE_MANY:
		return driver_s3.remove(c, both, 2, e);
	case LIST:
	default:
		TRY(driver_s3.list(c, NULL, listed, ARRAY_SIZE(listed), &count, e));
		return count == 1 && listed[0].number == 1 ? ERR_OK : ERR(e, ERR_CORRUPT, "another listing");
	}
}

/* Whatever happened, afterwards the bytes are whole or not there. */
static bool is_whole(struct driver_conn *c, enum operation operation)
{
	struct location at = s3_location(operation == PUT ? 2 : 1);
	const char *wanted = operation == PUT ? "new content" : "content";
	char room[64];
	struct err e;
	size_t got;
	enum err_code code = driver_s3.get(c, &at, room, sizeof(room), &got, &e);

	return code == ERR_NOT_FOUND || (code == ERR_OK && got == strlen(wanted) && memcmp(room, wanted, got) == 0);
}

struct fault_case {
	const char *name;
	enum operation operation;
	const char *faults;
	enum err_code code;
	unsigned requests; /* that the server saw; 0: any number */
	bool hurried;      /* an attempt may take half a second only */
};

static const struct fault_case fault_cases[] = {
    {"no fault", PUT, "", ERR_OK, 1},
    {"no fault", GET, "", ERR_OK, 1},
    {"no fault", REMOVE, "", ERR_OK, 1},
    {"no fault", REMOVE_MANY, "", ERR_OK, 1},
    {"no fault", LIST, "", ERR_OK, 1},

    {"503 once", PUT, "['PUT', '', {'status': 503}]", ERR_OK, 2},
    {"503 SlowDown thrice", GET, "['GET', '', {'status': 503, 'error': 'SlowDown', 'times': 3}]", ERR_OK, 4},
    {"500 InternalError twice", REMOVE, "['DELETE', '', {'status': 500, 'error': 'InternalError', 'times': 2}]", ERR_OK,
     3},
    {"429", LIST, "['GET', '', {'status': 429}]", ERR_OK, 2},
    {"503 storm", PUT, "['PUT', '', {'status': 503, 'times': 100}]", ERR_UNAVAILABLE, 5},
    {"503 storm", GET, "['GET', '', {'status': 503, 'times': 100}]", ERR_UNAVAILABLE, 5},
    {"502 with a page of a proxy", GET, "['GET', '', {'status': 502, 'text': '<html>bad gateway'}]", ERR_OK, 2},
    {"request timeout, as 400", PUT, "['PUT', '', {'status': 400, 'error': 'RequestTimeout'}]", ERR_OK, 2},

    {"reset before the answer", PUT, "['PUT', '', {'refuse': true}]", ERR_OK, 2},
    {"reset in the middle of the upload", PUT, "['PUT', '', {'read': 5}]", ERR_OK, 2},
    {"reset after it was done", PUT, "['PUT', '', {'act': true, 'refuse': true}]", ERR_OK, 0},
    {"reset after it was done", REMOVE, "['DELETE', '', {'act': true, 'refuse': true}]", ERR_OK, 2},
    {"reset after it was done", REMOVE_MANY, "['POST', '', {'act': true, 'refuse': true}]", ERR_OK, 2},
    {"reset in the middle of the answer", GET, "['GET', '', {'text': 'content', 'send': 3}]", ERR_OK, 2},
    {"reset for ever", GET, "['GET', '', {'refuse': true, 'times': 100}]", ERR_UNAVAILABLE, 0},
    {"truncated body", GET, "['GET', '', {'text': 'conte', 'promise': 7}]", ERR_OK, 2},
    {"truncated for ever", GET, "['GET', '', {'text': 'conte', 'promise': 7, 'times': 100}]", ERR_UNAVAILABLE, 5},

    /* The chunk's own digest tells these, above the driver. */
    {"wrong bytes", GET, "['GET', '', {'flip': true}]", ERR_CORRUPT, 1},
    {"fewer bytes, well framed", GET, "['GET', '', {'text': 'cont'}]", ERR_CORRUPT, 1},
    {"more bytes than there is room for", GET, "['GET', '', {'pattern': 65}]", ERR_CORRUPT, 1},
    {"the same without a length", GET, "['GET', '', {'pattern': 65, 'length': 'chunked'}]", ERR_CORRUPT, 1},
    {"part of it, unasked", GET, "['GET', '', {'status': 206, 'text': 'content'}]", ERR_INTERNAL, 1},

    {"a stall in the middle", GET, "['GET', '', {'stall': 0.9}]", ERR_OK, 2, true},
    {"a slow drip", GET, "['GET', '', {'drip': 0.2}]", ERR_OK, 2, true},
    {"no answer", PUT, "['PUT', '', {'delay': 0.9}]", ERR_OK, 2, true},

    {"200 with an error", PUT, "['PUT', '', {'error': 'InternalError'}]", ERR_OK, 2},
    {"200 with an error", REMOVE_MANY, "['POST', '', {'error': 'InternalError'}]", ERR_OK, 2},
    {"200 with an error", LIST, "['GET', '', {'error': 'SlowDown'}]", ERR_OK, 2},
    {"200 with an error for good", PUT, "['PUT', '', {'error': 'AccessDenied'}]", ERR_UNAVAILABLE, 1},

    {"stale 404", GET, "['GET', '', {'status': 404, 'error': 'NoSuchKey'}]", ERR_OK, 2},
    {"404 for ever", GET, "['GET', '', {'status': 404, 'error': 'NoSuchKey', 'times': 100}]", ERR_NOT_FOUND, 3},
    {"404 of somebody else", GET, "['GET', '', {'status': 404, 'text': '<html>not here</html>'}]", ERR_INTERNAL, 1},
    {"404", REMOVE, "['DELETE', '', {'status': 404, 'error': 'NoSuchKey'}]", ERR_OK, 1},
    {"the bucket is gone", GET, "['GET', '', {'status': 404, 'error': 'NoSuchBucket'}]", ERR_UNAVAILABLE, 1},
    {"the bucket is gone", PUT, "['PUT', '', {'status': 404, 'error': 'NoSuchBucket'}]", ERR_UNAVAILABLE, 1},
    {"the bucket is gone", REMOVE, "['DELETE', '', {'status': 404, 'error': 'NoSuchBucket'}]", ERR_UNAVAILABLE, 1},
    {"no permission any more", GET, "['GET', '', {'status': 403, 'error': 'AccessDenied'}]", ERR_UNAVAILABLE, 1},
    {"the key was revoked", PUT, "['PUT', '', {'status': 403, 'error': 'InvalidAccessKeyId'}]", ERR_UNAVAILABLE, 1},

    {"no space", PUT, "['PUT', '', {'status': 507}]", ERR_EXHAUSTED, 1},
    {"over the quota", PUT, "['PUT', '', {'status': 403, 'error': 'QuotaExceeded'}]", ERR_EXHAUSTED, 1},
    {"damaged on the way", PUT, "['PUT', '', {'status': 400, 'error': 'BadDigest'}]", ERR_OK, 2},
    {"somebody puts it just now", PUT, "['PUT', '', {'status': 409, 'error': 'ConditionalRequestConflict'}]", ERR_OK,
     2},
    {"a status of another protocol", PUT, "['PUT', '', {'status': 418}]", ERR_INTERNAL, 1},

    {"redirect to where it is not", GET,
     "['GET', '', {'status': 307, 'headers': {'Location': 'http://@OTHER/b/elsewhere'}}]", ERR_OK, 3},
    {"redirect without a place", GET, "['GET', '', {'status': 307}]", ERR_INTERNAL, 1},
    {"redirect to no http", GET, "['GET', '', {'status': 307, 'headers': {'Location': 'ftp://@OTHER/b'}}]",
     ERR_INTERNAL, 1},
    {"redirects for ever", PUT,
     "['PUT', '', {'status': 307, 'times': 100, 'headers': {'Location': 'http://@PLAIN/b/x'}}]", ERR_INTERNAL, 5},

    {"some could not be removed", REMOVE_MANY,
     "['POST', '', {'text': '<DeleteResult><Error><Key>@KEY</Key><Code>InternalError</Code></Error></DeleteResult>'}]",
     ERR_OK, 2},
    {"removal of many is not known", REMOVE_MANY, "['POST', '', {'status': 501, 'error': 'NotImplemented'}]", ERR_OK,
     3},
    {"removal of many is not understood", REMOVE_MANY, "['POST', '', {'status': 400, 'error': 'MalformedXML'}]", ERR_OK,
     3},
    {"half an answer about many", REMOVE_MANY, "['POST', '', {'text': '<DeleteResult><Err'}]", ERR_OK, 3},
    {"an answer about others", REMOVE_MANY,
     "['POST', '', {'text': '<DeleteResult><Error><Key>x</Key><Code>A</Code></Error></DeleteResult>'}]", ERR_OK, 3},
    {"half a listing", LIST, "['GET', '', {'text': '<ListBucketResult><Contents><Key>'}]", ERR_INTERNAL, 1},
    {"a listing that goes nowhere", LIST,
     "['GET', '', {'text': '<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>'}]", ERR_INTERNAL, 1},
    {"a listing with a document type", LIST,
     "['GET', '', {'text': '<!DOCTYPE a [<!ENTITY b \\\"c\\\">]><ListBucketResult>&b;</ListBucketResult>'}]",
     ERR_INTERNAL, 1},
};

/* The fault's text with @KEY replaced by the key of chunk 1. */
static char *with_key(TALLOC_CTX *ctx, const char *text)
{
	struct location one = s3_location(1);
	const char *at = strstr(text, "@KEY");

	if (!at)
		return talloc_strdup(ctx, text);
	return talloc_asprintf(ctx, "%.*s" OBJECT "%s-1%s", (int)(at - text), text, digest_hex(&one.sha256).text,
	                       at + 4);
}

static void run_fault_case(const struct fault_case *f)
{
	SCRATCH_CTX(ctx);
	struct location one = s3_location(1);
	struct driver_conn *c;
	struct err e = {.text = ""};
	enum err_code code;
	unsigned requests;

	s3_script("");
	c = s3_open(ctx, f->hurried ? "timeout: 500ms" : "");
	OK(driver_s3.put(c, &one, "content", 7, &e));
	s3_faults(with_key(ctx, f->faults));
	code = perform(c, f->operation, &e);
	if (code != f->code || (code != ERR_OK && e.code != code))
		fail_msg("%s: %s, not %s: %s", f->name, err_name(code), err_name(f->code), e.text);
	requests = s3_requests();
	if (f->requests && requests != f->requests)
		fail_msg("%s: %u requests, not %u", f->name, requests, f->requests);
	s3_faults("");
	if (!is_whole(c, f->operation))
		fail_msg("%s: something half is left", f->name);
	driver_s3.close(c);
}

static void each_fault_is_what_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fault_cases); i++)
		run_fault_case(&fault_cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_fault_is_what_the_table_says),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
