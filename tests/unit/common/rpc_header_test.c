#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rpc_header.h"

#include <string.h>

#define TRACE "0123456789abcdef0123456789abcdef"

static enum err_code read_request(TALLOC_CTX *ctx, const char *json, struct rpc_request_header *header, cJSON **body)
{
	struct err e;

	return rpc_header_read_request(ctx, json, strlen(json), header, body, &e);
}

static void a_request_reads_as_it_was_written(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf out;
	struct rpc_request_header header = {
	    .id = "id-1",
	    .method = "image.add",
	    .account = "acme",
	    .principal = "cli/host",
	    .trace_id = TRACE,
	    .deadline_ms = 1234,
	    .sent_at_ms = INT64_C(1790000000123),
	};
	struct rpc_request_header got;
	cJSON *body;
	struct err e;

	(void)state;
	buf_init(&out, RPC_HEADER_MAX);
	rpc_header_write_request(&out, &header, "{\"a\":\"\\\"\"}", 10);
	assert_int_equal(rpc_header_read_request(ctx, out.bytes, out.len, &got, &body, &e), ERR_OK);
	assert_string_equal(got.id, header.id);
	assert_string_equal(got.method, header.method);
	assert_string_equal(got.account, header.account);
	assert_string_equal(got.principal, header.principal);
	assert_string_equal(got.trace_id, TRACE);
	assert_int_equal(got.deadline_ms, header.deadline_ms);
	assert_int_equal(got.sent_at_ms, header.sent_at_ms);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(body, "a")), "\"");
	buf_reset(&out);
	rpc_header_write_request(&out, &(struct rpc_request_header){.id = "1", .method = "m"}, NULL, 0);
	assert_int_equal(rpc_header_read_request(ctx, out.bytes, out.len, &got, &body, &e), ERR_OK);
	assert_string_equal(got.account, "");
	assert_string_equal(got.trace_id, "");
	assert_int_equal(cJSON_GetArraySize(body), 0);
}

#define TIMES "\"deadline\":1,\"sent_at\":1"
#define ID64 "0123456789012345678901234567890123456789012345678901234567890123"

static void only_well_formed_requests_are_read(void **state)
{
	static const struct {
		const char *json;
		enum err_code code;
	} cases[] = {
	    {"{\"id\":\"a\",\"method\":\"m\"," TIMES "}", ERR_OK},
	    {"{\"id\":\"a\",\"method\":\"m\"," TIMES ",\"unknown\":[{}]}", ERR_OK},
	    {"{\"id\":\"" ID64 "\",\"method\":\"m\"," TIMES "}", ERR_OK},
	    {"{\"id\":\"" ID64 "x\",\"method\":\"m\"," TIMES "}", ERR_INVALID},
	    {"", ERR_INVALID},
	    {"null", ERR_INVALID},
	    {"[]", ERR_INVALID},
	    {"{\"id\":\"a\"", ERR_INVALID},
	    {"{\"method\":\"m\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"\",\"method\":\"m\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":1,\"method\":\"m\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a b\",\"method\":\"m\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\\n\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"\xc3\xa4\"," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"account\":7," TIMES "}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"account\":null," TIMES "}", ERR_OK},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"sent_at\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":-1,\"sent_at\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":86400001,\"sent_at\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":1e999,\"sent_at\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":1,\"sent_at\":1e300}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\",\"deadline\":\"1\",\"sent_at\":1}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\"," TIMES ",\"body\":null}", ERR_OK},
	    {"{\"id\":\"a\",\"method\":\"m\"," TIMES ",\"body\":[]}", ERR_INVALID},
	    {"{\"id\":\"a\",\"method\":\"m\"," TIMES ",\"body\":\"x\"}", ERR_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct rpc_request_header header;
		cJSON *body;
		enum err_code code = read_request(ctx, cases[i].json, &header, &body);

		if (code != cases[i].code)
			print_error("%s\n", cases[i].json);
		assert_int_equal(code, cases[i].code);
	}
}

static void a_trace_is_read_only_when_it_is_one(void **state)
{
	static const struct {
		const char *parent, *trace_id;
	} cases[] = {
	    {"\"00-" TRACE "-0123456789abcdef-01\"", TRACE},
	    {"\"01-" TRACE "-0123456789abcdef-01\"", ""},
	    {"\"00-" TRACE "-0123456789abcdef\"", ""},
	    {"\"00-0123456789ABCDEF0123456789abcdef-0123456789abcdef-01\"", ""},
	    {"\"\"", ""},
	    {"7", ""},
	    {"null", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct rpc_request_header header;
		cJSON *body;
		char *json = talloc_asprintf(ctx, "{\"id\":\"a\",\"method\":\"m\"," TIMES ",\"traceparent\":%s}",
		                             cases[i].parent);

		assert_int_equal(read_request(ctx, json, &header, &body), ERR_OK);
		assert_string_equal(header.trace_id, cases[i].trace_id);
	}
}

static void errors_go_there_and_come_back(void **state)
{
	static const enum err_code codes[] = {
#define ERROR(name, wire, text, retry, http, exit) name,
#include "common/errors.def"
#undef ERROR
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf out;
		struct err sent = {.code = codes[i], .retry_ms = 250, .text = "image \"x\" is\nnot there"}, got = {0};
		bool answered = false;
		cJSON *body;

		buf_init(&out, RPC_HEADER_MAX);
		rpc_header_write_error(&out, &sent);
		assert_int_equal(rpc_header_read_reply(ctx, out.bytes, out.len, &body, &answered, &got), codes[i]);
		assert_true(answered);
		assert_int_equal(got.code, codes[i]);
		assert_int_equal(got.retry_ms, 250);
		assert_string_equal(got.text, sent.text);
		assert_string_equal(got.file, "peer");
	}
}

static void replies_of_all_shapes_are_read_safely(void **state)
{
	static const struct {
		const char *json;
		bool answered;
		enum err_code code;
		unsigned retry_ms;
	} cases[] = {
	    {"{\"ok\":true}", true, ERR_OK, 0},
	    {"{\"ok\":true,\"body\":{\"a\":1}}", true, ERR_OK, 0},
	    {"{\"ok\":true,\"body\":[]}", false, ERR_INVALID, 0},
	    {"{\"ok\":false}", false, ERR_INVALID, 0},
	    {"{}", false, ERR_INVALID, 0},
	    {"", false, ERR_INVALID, 0},
	    {"{\"error\":{\"code\":4}}", true, ERR_NOT_FOUND, 0},
	    {"{\"error\":{\"code\":9999,\"name\":\"conflict\"}}", true, ERR_CONFLICT, 0},
	    {"{\"error\":{\"code\":9999,\"name\":\"new in a later version\"}}", true, ERR_INTERNAL, 0},
	    {"{\"error\":{\"code\":0}}", true, ERR_INTERNAL, 0},
	    {"{\"error\":{\"code\":-1}}", true, ERR_INTERNAL, 0},
	    {"{\"error\":{\"code\":\"x\",\"message\":7,\"retry_after_ms\":\"y\"}}", true, ERR_INTERNAL, 0},
	    {"{\"error\":{\"code\":14,\"retry_after_ms\":-5}}", true, ERR_UNAVAILABLE, 0},
	    {"{\"error\":{\"code\":14,\"retry_after_ms\":1e300}}", true, ERR_UNAVAILABLE, 600000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct err e = {0};
		bool answered = false;
		cJSON *body = NULL;
		enum err_code code =
		    rpc_header_read_reply(ctx, cases[i].json, strlen(cases[i].json), &body, &answered, &e);

		if (code != cases[i].code || answered != cases[i].answered)
			print_error("%s\n", cases[i].json);
		assert_int_equal(code, cases[i].code);
		assert_int_equal(answered, cases[i].answered);
		assert_int_equal(e.retry_ms, cases[i].retry_ms);
	}
}

static void a_reply_has_its_limit(void **state)
{
	SCRATCH_CTX(ctx);
	char *text = talloc_array(ctx, char, RPC_HEADER_MAX + 1);
	CLEANUP(buf_release) struct buf out;
	cJSON *body = cJSON_CreateObject();
	struct err e;

	(void)state;
	memset(text, 'x', RPC_HEADER_MAX);
	text[RPC_HEADER_MAX] = '\0';
	cJSON_AddStringToObject(body, "t", text);
	buf_init(&out, RPC_HEADER_MAX);
	assert_int_equal(rpc_header_write_reply(&out, body, &e), ERR_TOO_LARGE);
	cJSON_Delete(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_reads_as_it_was_written),
	    cmocka_unit_test(only_well_formed_requests_are_read),
	    cmocka_unit_test(a_trace_is_read_only_when_it_is_one),
	    cmocka_unit_test(errors_go_there_and_come_back),
	    cmocka_unit_test(replies_of_all_shapes_are_read_safely),
	    cmocka_unit_test(a_reply_has_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
