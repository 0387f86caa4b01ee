#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/messages.h"

#include <stdlib.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

static enum err_code decode(const struct proto_record *record, TALLOC_CTX *ctx, const char *text, void *into,
                            struct err *e)
{
	cJSON *json = cJSON_Parse(text);
	enum err_code code;

	assert_non_null(json);
	code = proto_decode(record, ctx, json, PROTO_REJECT_UNKNOWN, into, e);
	cJSON_Delete(json);
	return code;
}

struct bad_case {
	const char *json, *says;
};

/* Each names the message, the field, and what is wrong with it. */
static const struct bad_case bad_requests[] = {
    {"{}", "image_add_request.reference is missing"},
    {"{\"reference\":null}", "image_add_request.reference is missing"},
    {"{\"reference\":7}", "image_add_request.reference is not a string"},
    {"{\"reference\":\"\"}", "image_add_request.reference has 0 bytes, allowed are 1 to 1024"},
    {"{\"reference\":\"a\",\"force\":\"yes\"}", "image_add_request.force is neither true nor false"},
    {"{\"reference\":\"a\",\"colour\":1}", "image_add_request has no field \"colour\""},
    {"{\"reference\":\"a\",\"annotations\":[]}", "image_add_request.annotations is not an object"},
    {"{\"reference\":\"a\",\"annotations\":{\"k\":1}}",
     "image_add_request.annotations has a value that is not a string"},
    {"{\"reference\":\"\\udc80\"}", "image_add_request.reference is not UTF-8"},
    {"[]", "image_add_request is not an object"},
};

static void a_bad_request_is_refused_with_the_field_and_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		SCRATCH_CTX(ctx);
		struct image_add_request request;
		struct err e = {0};
		cJSON *json = cJSON_Parse(bad_requests[i].json);

		if (!json) /* cJSON itself refuses lone surrogates */
			continue;
		assert_int_equal(
		    proto_decode(record_image_add_request(), ctx, json, PROTO_REJECT_UNKNOWN, &request, &e),
		    ERR_INVALID);
		assert_non_null(strstr(e.text, bad_requests[i].says));
		cJSON_Delete(json);
	}
}

static const struct bad_case bad_commits[] = {
    {"{\"job\":0,\"token\":1,\"layers\":[]}", "job_commit_request.job is 0, allowed are 1 to"},
    {"{\"job\":1.5,\"token\":1,\"layers\":[]}", "job_commit_request.job is 1.5, not a whole number"},
    {"{\"job\":1e300,\"token\":1,\"layers\":[]}", "job_commit_request.job is 1e+300, not a whole number"},
    {"{\"job\":1,\"token\":1,\"layers\":[]}", "job_commit_request.layers has 0 items, allowed are 1 to 512"},
    {"{\"job\":1,\"token\":1,\"layers\":[7]}", "layer_item is not an object"},
    {"{\"job\":1,\"token\":1,\"layers\":[{\"digest\":\"sha256:12\"}]}", "layer_item.digest is \"sha256:12\""},
    {"{\"job\":1,\"token\":1,\"layers\":[{\"digest\":\"" DIGEST "\"}]}", "layer_item.diff_id is missing"},
};

static void bad_items_in_lists_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_commits); i++) {
		SCRATCH_CTX(ctx);
		struct job_commit_request request;
		struct err e = {0};

		assert_int_equal(decode(record_job_commit_request(), ctx, bad_commits[i].json, &request, &e),
		                 ERR_INVALID);
		assert_non_null(strstr(e.text, bad_commits[i].says));
	}
}

static void a_choice_outside_its_table_is_refused(void **state)
{
	SCRATCH_CTX(ctx);
	struct image_list_request request;
	struct err e = {0};

	(void)state;
	assert_int_equal(decode(record_image_list_request(), ctx, "{\"status\":\"lost\"}", &request, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "image_list_request.status is \"lost\", which is no analysis_status"));
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
	SCRATCH_CTX(ctx);
	static const char *like[] = {"debian", "ubuntu"};
	static const char *incomplete[] = {"opt/x: broken"};
	struct distribution distribution = {.id = "mint", .version = "21", .like = {like, 2}};
	struct layer_item layers[2] = {{.size = 12, .known = true, .revision = "1"}, {.size = PROTO_MAX_NUMBER}};
	struct image_set sets[1] = {{.type = "dpkg", .packages = 3}};
	struct job_commit_request in = {.job = 7,
	                                .token = 9,
	                                .platform = "linux/amd64",
	                                .distribution = &distribution,
	                                .layers = layers,
	                                .layers_count = 2,
	                                .sets = sets,
	                                .sets_count = 1,
	                                .incomplete = {incomplete, 1}};
	struct job_commit_request out;
	struct err e = {0};
	cJSON *json;

	(void)state;
	assert_true(digest_parse(DIGEST, &layers[0].digest));
	layers[0].diff_id = layers[1].digest = layers[1].diff_id = sets[0].digest = layers[0].digest;
	assert_int_equal(proto_encode(record_job_commit_request(), &in, &json, &e), ERR_OK);
	assert_int_equal(proto_decode(record_job_commit_request(), ctx, json, PROTO_REJECT_UNKNOWN, &out, &e), ERR_OK);
	cJSON_Delete(json);
	assert_int_equal(out.job, 7);
	assert_string_equal(out.platform, "linux/amd64");
	assert_string_equal(out.distribution->like.items[1], "ubuntu");
	assert_null(out.distribution->name);
	assert_int_equal(out.layers_count, 2);
	assert_true(out.layers[0].known);
	assert_false(out.layers[1].known);
	assert_int_equal(out.layers[1].size, PROTO_MAX_NUMBER);
	assert_true(digest_equal(&out.layers[1].diff_id, &layers[1].diff_id));
	assert_string_equal(out.sets[0].type, "dpkg");
	assert_string_equal(out.incomplete.items[0], incomplete[0]);
	assert_null(out.cost);
}

static void a_struct_that_could_not_be_read_is_not_sent(void **state)
{
	struct image_add_request no_reference = {.platform = "linux/amd64"};
	struct image_add_request not_utf8 = {.reference = "caf\xe9"};
	struct err e = {0};
	cJSON *json = NULL;

	(void)state;
	assert_int_equal(proto_encode(record_image_add_request(), &no_reference, &json, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "image_add_request.reference is missing"));
	assert_int_equal(proto_encode(record_image_add_request(), &not_utf8, &json, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "image_add_request.reference is not UTF-8"));
	assert_null(json);
}

static void replies_from_newer_peers_are_read_without_their_new_fields(void **state)
{
	SCRATCH_CTX(ctx);
	struct job_fail_reply reply;
	struct err e = {0};
	cJSON *json = cJSON_Parse("{\"state\":\"queued\",\"mood\":\"good\"}");

	(void)state;
	assert_int_equal(proto_decode(record_job_fail_reply(), ctx, json, PROTO_IGNORE_UNKNOWN, &reply, &e), ERR_OK);
	assert_int_equal(reply.state, JOB_QUEUED);
	cJSON_Delete(json);
}

struct utf8_case {
	const char *bytes;
	bool good;
	const char *cleaned;
};

static const struct utf8_case utf8_cases[] = {
    {"plain", true, "plain"},
    {"gr\xc3\xbc\xc3\x9f", true, "gr\xc3\xbc\xc3\x9f"},
    {"\xe2\x82\xac\xf0\x9f\x90\xb3", true, "\xe2\x82\xac\xf0\x9f\x90\xb3"},
    {"caf\xe9", false, "caf\\351"},
    {"\xc0\xaf", false, "\\300\\257"},
    {"\xed\xa0\x80", false, "\\355\\240\\200"},
    {"\xf4\x90\x80\x80", false, "\\364\\220\\200\\200"},
    {"\xe2\x82", false, "\\342\\202"},
    {"a\nb\x7f", true, "a\\012b\\177"},
};

static void utf8_is_told_from_other_bytes_and_other_bytes_are_escaped(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(utf8_cases); i++) {
		char *clean = proto_clean_text(NULL, utf8_cases[i].bytes, 100);

		assert_int_equal(proto_is_utf8(utf8_cases[i].bytes, strlen(utf8_cases[i].bytes)), utf8_cases[i].good);
		assert_string_equal(clean, utf8_cases[i].cleaned);
		talloc_free(clean);
	}
	assert_false(proto_is_utf8("a\0b", 3));
}

static void a_cleaned_text_is_cut_between_characters(void **state)
{
	char *clean = proto_clean_text(NULL,
	                               "a\xe2\x82\xac"
	                               "b",
	                               3);

	(void)state;
	assert_string_equal(clean, "a");
	talloc_free(clean);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_bad_request_is_refused_with_the_field_and_the_reason),
	    cmocka_unit_test(bad_items_in_lists_are_refused),
	    cmocka_unit_test(a_choice_outside_its_table_is_refused),
	    cmocka_unit_test(what_is_encoded_decodes_to_the_same),
	    cmocka_unit_test(a_struct_that_could_not_be_read_is_not_sent),
	    cmocka_unit_test(replies_from_newer_peers_are_read_without_their_new_fields),
	    cmocka_unit_test(utf8_is_told_from_other_bytes_and_other_bytes_are_escaped),
	    cmocka_unit_test(a_cleaned_text_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
