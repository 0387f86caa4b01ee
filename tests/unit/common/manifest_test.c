#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/manifest.h"

#include <string.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs"

#define DESCRIPTOR(type, digest, size) "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define CONFIG "\"config\":" DESCRIPTOR("application/vnd.oci.image.config.v1+json", D1, "7")
#define LAYER DESCRIPTOR(OCI_LAYER "+gzip", D2, "10")
#define TYPE(t) "\"mediaType\":\"" t "\""
#define MANIFEST(members) "{\"schemaVersion\":2," members "}"
#define ENTRY(digest, platform) "{\"digest\":\"" digest "\",\"size\":5,\"platform\":{" platform "}}"
#define AMD64 "\"os\":\"linux\",\"architecture\":\"amd64\""
#define ARM(v) "\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"" v "\""

static void an_image_is_read(void **state)
{
	const char *text = MANIFEST(TYPE(MEDIA_OCI_MANIFEST) "," CONFIG ",\"layers\":[" LAYER "," DESCRIPTOR(
	    OCI_LAYER "+zstd", D3, "20") "," DESCRIPTOR(DOCKER_LAYER ".diff.tar", D2, "30") "]");
	enum manifest_kind kind;
	struct manifest m;
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_int_equal(manifest_kind_of(text, strlen(text), NULL, &kind, &e), ERR_OK);
	assert_int_equal(kind, MANIFEST_KIND_IMAGE);
	assert_int_equal(manifest_parse(ctx, text, strlen(text), &m, &e), ERR_OK);
	assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
	assert_string_equal(digest_text(&m.config.digest).text, D1);
	assert_int_equal(m.config.size, 7);
	assert_int_equal(m.layer_count, 3);
	assert_int_equal(m.layers[0].codec, CODEC_GZIP);
	assert_int_equal(m.layers[1].codec, CODEC_ZSTD);
	assert_string_equal(digest_text(&m.layers[1].blob.digest).text, D3);
	assert_int_equal(m.layers[2].codec, CODEC_NONE);
	assert_int_equal(m.layers_size, 60);
}

static void kinds_are_told_apart(void **state)
{
	static const struct {
		const char *text, *content_type;
		enum err_code code;
		enum manifest_kind kind;
	} cases[] = {
	    {MANIFEST(CONFIG), NULL, ERR_OK, MANIFEST_KIND_IMAGE},
	    {MANIFEST("\"manifests\":[]"), NULL, ERR_OK, MANIFEST_KIND_INDEX},
	    {MANIFEST(CONFIG), MEDIA_DOCKER_MANIFEST, ERR_OK, MANIFEST_KIND_IMAGE},
	    {MANIFEST(CONFIG), MEDIA_OCI_MANIFEST "; charset=utf-8", ERR_OK, MANIFEST_KIND_IMAGE},
	    {MANIFEST(CONFIG), "text/html", ERR_OK, MANIFEST_KIND_IMAGE},
	    {MANIFEST(CONFIG), MEDIA_OCI_INDEX, ERR_CORRUPT, 0},
	    {MANIFEST("\"manifests\":[]"), MEDIA_OCI_MANIFEST, ERR_CORRUPT, 0},
	    {MANIFEST(TYPE(MEDIA_OCI_INDEX) ",\"manifests\":[]"), MEDIA_DOCKER_LIST, ERR_CORRUPT, 0},
	    {MANIFEST(TYPE(MEDIA_OCI_INDEX) ",\"manifests\":[]"), "application/json", ERR_OK, MANIFEST_KIND_INDEX},
	    {MANIFEST(TYPE(MEDIA_OCI_INDEX) "," CONFIG), NULL, ERR_CORRUPT, 0},
	    {MANIFEST(CONFIG ",\"manifests\":[]"), NULL, ERR_CORRUPT, 0},
	    {MANIFEST("\"layers\":[],\"manifests\":[]"), NULL, ERR_CORRUPT, 0},
	    {MANIFEST("\"layers\":[]"), NULL, ERR_CORRUPT, 0},
	    {MANIFEST(TYPE("application/vnd.oci.artifact.manifest.v1+json")), NULL, ERR_UNSUPPORTED, 0},
	    {"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, ERR_UNSUPPORTED, 0},
	    {MANIFEST("\"fsLayers\":[]"), NULL, ERR_UNSUPPORTED, 0},
	    {MANIFEST(TYPE("application/vnd.docker.distribution.manifest.v1+prettyjws")), NULL, ERR_UNSUPPORTED, 0},
	    {"{\"schemaVersion\":3}", NULL, ERR_UNSUPPORTED, 0},
	    {"{\"schemaVersion\":\"2\"}", NULL, ERR_CORRUPT, 0},
	    {"{}", NULL, ERR_CORRUPT, 0},
	    {"<html>", NULL, ERR_CORRUPT, 0},
	    {"[1]", NULL, ERR_CORRUPT, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *text = cases[i].text;
		enum manifest_kind kind = MANIFEST_KIND_IMAGE;

		if (manifest_kind_of(text, strlen(text), cases[i].content_type, &kind, NULL) != cases[i].code ||
		    (cases[i].code == ERR_OK && kind != cases[i].kind))
			fail_msg("%s as %s", text, cases[i].content_type);
	}
}

static void bad_images_are_refused_by_name(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
		const char *reason;
	} cases[] = {
	    {MANIFEST(CONFIG), ERR_INVALID, "no layers"},
	    {MANIFEST(CONFIG ",\"layers\":[]"), ERR_INVALID, "no layers"},
	    {MANIFEST(CONFIG ",\"layers\":{}"), ERR_CORRUPT, "not a list"},
	    {MANIFEST(CONFIG ",\"layers\":[1]"), ERR_CORRUPT, "no digest"},
	    {MANIFEST(CONFIG ",\"layers\":[null]"), ERR_CORRUPT, "no digest"},
	    {MANIFEST("\"manifests\":[]"), ERR_INVALID, "index"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR("application/x-tar", D2, "1") "]"), ERR_UNSUPPORTED,
	     "application/x-tar"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER "+encrypted", D2, "1") "]"), ERR_UNSUPPORTED,
	     OCI_LAYER "+encrypted"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(DOCKER_LAYER ".foreign.diff.tar.gzip", D2, "1") "]"),
	     ERR_UNSUPPORTED, "foreign"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	                                                D2, "1") "]"),
	     ERR_UNSUPPORTED, "nondistributable"},
	    {MANIFEST("\"config\":" DESCRIPTOR("application/vnd.cncf.helm.config.v1+json", D1,
	                                       "1") ",\"layers\":[" LAYER "]"),
	     ERR_UNSUPPORTED, "helm"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, "sha512:11", "1") "]"), ERR_UNSUPPORTED,
	     "sha512:11"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, "sha256:11", "1") "]"), ERR_CORRUPT, "sha256:11"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, "sha256:../../x", "1") "]"), ERR_CORRUPT, "../"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, D2, "-1") "]"), ERR_CORRUPT, "size"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, D2, "1.5") "]"), ERR_CORRUPT, "size"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, D2, "\"1\"") "]"), ERR_CORRUPT, "size"},
	    {MANIFEST(CONFIG ",\"layers\":[" DESCRIPTOR(OCI_LAYER, D2, "1e15") "]"), ERR_TOO_LARGE, "claims"},
	    {MANIFEST(CONFIG
	              ",\"layers\":[" DESCRIPTOR(OCI_LAYER, D2, "1e13") "," DESCRIPTOR(OCI_LAYER, D2, "1e13") "]"),
	     ERR_TOO_LARGE, "together"},
	};
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct manifest m;
		struct err e = {0};

		if (manifest_parse(ctx, cases[i].text, strlen(cases[i].text), &m, &e) != cases[i].code ||
		    !strstr(e.text, cases[i].reason))
			fail_msg("%s: %s", cases[i].text, e.text);
	}
}

static void layers_are_limited_in_number(void **state)
{
	(void)state;
	for (size_t count = MANIFEST_LAYERS_MAX; count <= MANIFEST_LAYERS_MAX + 1; count++) {
		CLEANUP(buf_release) struct buf b;
		struct manifest m;
		SCRATCH_CTX(ctx);

		buf_init(&b, MANIFEST_SIZE_MAX);
		buf_add_text(&b, "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER);
		for (size_t i = 1; i < count; i++)
			buf_add_text(&b, "," LAYER);
		buf_add_text(&b, "]}");
		assert_int_equal(manifest_parse(ctx, b.bytes, b.len, &m, NULL),
		                 count > MANIFEST_LAYERS_MAX ? ERR_TOO_LARGE : ERR_OK);
	}
}

static void a_manifest_over_its_size_is_not_parsed(void **state)
{
	CLEANUP(buf_release) struct buf b;
	struct manifest m;
	SCRATCH_CTX(ctx);

	(void)state;
	buf_init(&b, MANIFEST_SIZE_MAX * 2);
	buf_add_text(&b, "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "]}");
	while (b.len <= MANIFEST_SIZE_MAX)
		buf_add_text(&b, "                                                                ");
	assert_int_equal(manifest_parse(ctx, b.bytes, b.len, &m, NULL), ERR_TOO_LARGE);
	assert_int_equal(manifest_parse(ctx, b.bytes, MANIFEST_SIZE_MAX, &m, NULL), ERR_OK);
}

/* Which of D1 to D3 is chosen from the entries for a wish, as a digit; '-' for ERR_NOT_FOUND. */
static char choose(TALLOC_CTX *ctx, const char *entries, const char *wish, struct err *e)
{
	char *text = talloc_asprintf(ctx, "{\"schemaVersion\":2,\"manifests\":[%s]}", entries);
	const struct manifest_entry *chosen;
	struct manifest_index index;
	struct platform platform;

	assert_int_equal(platform_parse(wish, &platform, e), ERR_OK);
	assert_int_equal(manifest_index_parse(ctx, text, strlen(text), &index, e), ERR_OK);
	if (manifest_index_choose(&index, &platform, &chosen, e) != ERR_OK) {
		assert_int_equal(e->code, ERR_NOT_FOUND);
		return '-';
	}
	return digest_hex(&chosen->manifest.digest).text[0];
}

static void the_platforms_image_is_chosen(void **state)
{
	static const struct {
		const char *entries, *wish;
		char chosen;
	} cases[] = {
	    {ENTRY(D1, AMD64) "," ENTRY(D2, ARM("v7")), "linux/amd64", '1'},
	    {ENTRY(D1, AMD64) "," ENTRY(D2, ARM("v7")), "linux/arm", '2'},
	    {ENTRY(D1, ARM("v6")) "," ENTRY(D2, ARM("v7")), "linux/arm/v7", '2'},
	    {ENTRY(D1, ARM("v6")) "," ENTRY(D2, ARM("v7")), "linux/arm/v5", '-'},
	    {ENTRY(D1, "\"os\":\"linux\",\"architecture\":\"arm\"") "," ENTRY(D2, ARM("v7")), "linux/arm/v7", '2'},
	    {ENTRY(D1, ARM("v7")) "," ENTRY(D2, "\"os\":\"linux\",\"architecture\":\"arm\""), "linux/arm", '2'},
	    {ENTRY(D1, AMD64) "," ENTRY(D2, AMD64), "linux/amd64", '1'},
	    {ENTRY(D1, "\"os\":\"unknown\",\"architecture\":\"unknown\"") "," ENTRY(D2, AMD64), "linux/amd64", '2'},
	    {ENTRY(D1, "\"os\":\"unknown\",\"architecture\":\"unknown\""), "unknown/unknown", '-'},
	    {"{\"digest\":\"" D1 "\",\"size\":5,\"platform\":{" AMD64
	     "},\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}}," ENTRY(D2, AMD64),
	     "linux/amd64", '2'},
	    {"{\"digest\":\"" D1 "\",\"size\":5}", "linux/amd64", '1'},
	    {"{\"digest\":\"" D1 "\",\"size\":5},{\"digest\":\"" D2 "\",\"size\":5}", "linux/amd64", '-'},
	    {"", "linux/amd64", '-'},
	};
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (choose(ctx, cases[i].entries, cases[i].wish, &e) != cases[i].chosen)
			fail_msg("%s from %s", cases[i].wish, cases[i].entries);
}

static void a_missing_platform_lists_what_there_is(void **state)
{
	struct err e;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_int_equal(choose(ctx, ENTRY(D1, AMD64) "," ENTRY(D2, ARM("v7")), "linux/s390x", &e), '-');
	assert_string_equal(e.text, "no image for platform linux/s390x; there is: linux/amd64, linux/arm/v7");
	assert_int_equal(choose(ctx, "", "linux/s390x", &e), '-');
	assert_string_equal(e.text, "no image for platform linux/s390x; there is: none");
}

static void bad_indexes_are_refused(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
	} cases[] = {
	    {MANIFEST(CONFIG ",\"layers\":[" LAYER "]"), ERR_INVALID},
	    {MANIFEST("\"manifests\":[{}]"), ERR_CORRUPT},
	    {MANIFEST("\"manifests\":[{\"digest\":\"" D1 "\"}]"), ERR_CORRUPT},
	    {MANIFEST("\"manifests\":[" ENTRY(
		 D1, "\"os\":\"0123456789012345678901234567890123456789\",\"architecture\":\"x\"") "]"),
	     ERR_CORRUPT},
	    {MANIFEST("\"manifests\":{}"), ERR_CORRUPT},
	};
	struct manifest_index index;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (manifest_index_parse(ctx, cases[i].text, strlen(cases[i].text), &index, NULL) != cases[i].code)
			fail_msg("%s", cases[i].text);
}

static void a_configuration_is_read(void **state)
{
	const char *text =
	    "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\",\"created\":\"2026-01-02T03:04:05Z\","
	    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"" D2 "\"]},"
	    "\"history\":[{\"created_by\":\"one\"},{\"created_by\":\"two\",\"empty_layer\":true},7]}";
	struct image_config config;
	SCRATCH_CTX(ctx);

	(void)state;
	assert_int_equal(image_config_parse(ctx, text, strlen(text), 2, &config, NULL), ERR_OK);
	assert_string_equal(platform_print(ctx, &config.platform), "linux/arm/v7");
	assert_string_equal(config.created, "2026-01-02T03:04:05Z");
	assert_int_equal(config.diff_id_count, 2);
	assert_string_equal(digest_text(&config.diff_ids[1]).text, D2);
	assert_int_equal(config.history_count, 3);
	assert_string_equal(config.history[0].created_by, "one");
	assert_false(config.history[0].empty_layer);
	assert_true(config.history[1].empty_layer);
	assert_string_equal(config.history[2].created_by, "");
}

static void diff_ids_must_fit_the_layers(void **state)
{
	static const struct {
		const char *text;
		size_t layers;
	} cases[] = {
	    {"{\"rootfs\":{\"diff_ids\":[\"" D1 "\"]}}", 2},
	    {"{\"rootfs\":{\"diff_ids\":[\"" D1 "\"]}}", 0},
	    {"{\"rootfs\":{\"diff_ids\":[\"" D1 "x\"]}}", 1},
	    {"{\"rootfs\":{\"diff_ids\":[1]}}", 1},
	    {"{\"rootfs\":{}}", 1},
	    {"{\"rootfs\":[]}", 1},
	    {"{}", 1},
	    {"[]", 1},
	    {"", 1},
	};
	struct image_config config;
	SCRATCH_CTX(ctx);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (image_config_parse(ctx, cases[i].text, strlen(cases[i].text), cases[i].layers, &config, NULL) !=
		    ERR_CORRUPT)
			fail_msg("%s", cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_image_is_read),
	    cmocka_unit_test(kinds_are_told_apart),
	    cmocka_unit_test(bad_images_are_refused_by_name),
	    cmocka_unit_test(layers_are_limited_in_number),
	    cmocka_unit_test(a_manifest_over_its_size_is_not_parsed),
	    cmocka_unit_test(the_platforms_image_is_chosen),
	    cmocka_unit_test(a_missing_platform_lists_what_there_is),
	    cmocka_unit_test(bad_indexes_are_refused),
	    cmocka_unit_test(a_configuration_is_read),
	    cmocka_unit_test(diff_ids_must_fit_the_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
