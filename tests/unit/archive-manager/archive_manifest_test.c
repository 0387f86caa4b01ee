#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/archive-manager/archive_manifest.h"

#include <string.h>

#define A "sha256:00000000000000000000000000000000000000000000000000000000000000aa"
#define B "sha256:00000000000000000000000000000000000000000000000000000000000000bb"

static struct digest digest(const char *text)
{
	struct digest d;

	assert_true(digest_parse(text, &d));
	return d;
}

static void what_was_printed_is_read_back(void **state)
{
	SCRATCH_CTX(ctx);
	static const char *tags[] = {"host/app:1", "host/app:\xc3\xbc"};
	struct object objects[] = {{.bucket = "images", .key = "aa/config", .size = 3, .sha256 = digest(B)},
	                           {.bucket = "layers", .key = "1/bb/files", .size = 1ULL << 40, .sha256 = digest(A)}};
	struct archive_manifest m = {.digest = digest(A),
	                             .analysed_at = 1769900000123,
	                             .tags = {tags, 2},
	                             .record = "{\"a\": \"quotes \\\" and \\\\ stay\", \"n\": 1.50}",
	                             .objects = {objects, 2}};
	struct archive_manifest got;
	char *text = archive_manifest_print(ctx, &m);

	(void)state;
	assert_string_equal(text, archive_manifest_print(ctx, &m));
	assert_int_equal(archive_manifest_parse(ctx, text, strlen(text), &m.digest, &got, NULL), ERR_OK);
	assert_true(digest_equal(&got.digest, &m.digest));
	assert_int_equal(got.analysed_at, m.analysed_at);
	assert_string_equal(got.record, m.record);
	assert_int_equal(got.tags.count, 2);
	assert_string_equal(got.tags.items[1], tags[1]);
	assert_int_equal(got.objects.count, 2);
	assert_string_equal(got.objects.items[1].key, "1/bb/files");
	assert_int_equal(got.objects.items[1].size, 1ULL << 40);
	assert_true(digest_equal(&got.objects.items[0].sha256, &objects[0].sha256));
	assert_ptr_equal(objects_find(&got.objects, "layers", "1/bb/files"), &got.objects.items[1]);
	assert_null(objects_find(&got.objects, "images", "1/bb/files"));
}

#define OBJECT "{\"bucket\":\"b\",\"key\":\"k\",\"size\":1,\"sha256\":\"" B "\"}"
#define HEAD "{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":5,\"tags\":[],\"record\":\"{}\","

static void what_is_no_manifest_is_corrupt(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", NULL},
	    {"{", NULL},
	    {"[]", NULL},
	    {"{}", "format"},
	    {"{\"format\":2}", "format"},
	    {"{\"format\":1}", "(none)"},
	    {"{\"format\":1,\"digest\":\"" B "\"}", B},
	    {"{\"format\":1,\"digest\":\"" A "\"}", "time"},
	    {"{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":-1}", "time"},
	    {"{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":5}", "record"},
	    {"{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":5,\"record\":{}}", "record"},
	    {"{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":5,\"record\":\"{}\"}", "tags"},
	    {"{\"format\":1,\"digest\":\"" A "\",\"analysed_at\":5,\"record\":\"{}\",\"tags\":[1]}", "tag"},
	    {HEAD "\"objects\":[]}", "0 objects"},
	    {HEAD "\"objects\":{}}", "objects"},
	    {HEAD "\"objects\":[{}]}", "object"},
	    {HEAD "\"objects\":[{\"bucket\":\"b\",\"key\":\"k\",\"size\":-1,\"sha256\":\"" B "\"}]}", "object"},
	    {HEAD "\"objects\":[{\"bucket\":\"b\",\"key\":\"k\",\"size\":1,\"sha256\":\"sha256:12\"}]}", "object"},
	    {HEAD "\"objects\":[" OBJECT "]} x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct digest image = digest(A);
		struct archive_manifest m;
		struct err e = {0};

		assert_int_equal(archive_manifest_parse(ctx, cases[i].text, strlen(cases[i].text), &image, &m, &e),
		                 ERR_CORRUPT);
		if (cases[i].says && !strstr(e.text, cases[i].says))
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, e.text, cases[i].says);
	}
}

static void more_objects_than_an_image_can_have_are_refused(void **state)
{
	SCRATCH_CTX(ctx);
	struct digest image = digest(A);
	struct archive_manifest m;
	char *text = talloc_strdup(ctx, HEAD "\"objects\":[" OBJECT);

	(void)state;
	for (int i = 0; i < ARCHIVE_MANIFEST_OBJECTS_MAX; i++)
		text = talloc_strdup_append_buffer(text, "," OBJECT);
	text = talloc_strdup_append_buffer(text, "]}");
	assert_int_equal(archive_manifest_parse(ctx, text, strlen(text), &image, &m, NULL), ERR_CORRUPT);
}

static void the_key_names_the_image(void **state)
{
	SCRATCH_CTX(ctx);
	struct digest image = digest(A);

	(void)state;
	assert_string_equal(archive_manifest_key(ctx, &image),
	                    "00000000000000000000000000000000000000000000000000000000000000aa/manifest");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_printed_is_read_back),
	    cmocka_unit_test(what_is_no_manifest_is_corrupt),
	    cmocka_unit_test(more_objects_than_an_image_can_have_are_refused),
	    cmocka_unit_test(the_key_names_the_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
