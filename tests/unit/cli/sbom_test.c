#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/json.h"
#include "services/cli/license.h"
#include "services/cli/sbom.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

struct stream {
	const struct package *items;
	size_t count, at;
	size_t fail_at; /* 0: never */
};

static enum err_code next(void *arg, const struct package **package, struct err *e)
{
	struct stream *s = arg;

	if (s->fail_at && s->at + 1 == s->fail_at)
		return ERR(e, ERR_UNAVAILABLE, "the catalog went away");
	*package = s->at < s->count ? &s->items[s->at++] : NULL;
	return ERR_OK;
}

static const char *mit[] = {"MIT"}, *mixed[] = {"apache-2.0", "Some licence of our own"},
		  *expression[] = {"MIT OR Apache-2.0"}, *both[] = {"MIT OR ISC", "zlib"};

static const struct package packages[] = {
    {.type = "dpkg",
     .name = "libc6",
     .version = "2.36-9",
     .arch = "amd64",
     .purl = "pkg:deb/debian/libc6@2.36-9?arch=amd64",
     .source = "glibc 2.36",
     .location = "var/lib/dpkg/status"},
    {.type = "npm",
     .name = "a",
     .version = "1.0.0",
     .purl = "pkg:npm/a@1.0.0",
     .licenses = {mit, 1},
     .location = "x/a"},
    {.type = "npm",
     .name = "a",
     .version = "1.0.0",
     .purl = "pkg:npm/a@1.0.0",
     .licenses = {mit, 1},
     .location = "y/a"},
    {.type = "npm", .name = "m", .purl = "pkg:npm/m", .licenses = {mixed, 2}, .location = "z/\"q\\\\n"},
    {.type = "npm", .name = "o", .version = "2", .purl = "pkg:npm/o@2", .licenses = {expression, 1}},
    {.type = "npm", .name = "p", .version = "2", .purl = "pkg:npm/p@2", .licenses = {both, 2}},
};

static struct digest digest(uint8_t n)
{
	struct digest d;

	memset(d.bytes, n, sizeof(d.bytes));
	return d;
}

static struct layer_item layers[2];
static struct distribution debian = {.id = "debian", .version = "12", .name = "Debian GNU/Linux 12"};

static struct image_detail whole_image(void)
{
	layers[0] = (struct layer_item){.digest = digest(1), .diff_id = digest(2)};
	layers[1] = (struct layer_item){.digest = digest(3), .diff_id = digest(4)};
	return (struct image_detail){.digest = digest(0xab),
	                             .status = ANALYSIS_ANALYSED,
	                             .reference = "host.example:5000/team/shop:1.5",
	                             .platform = "linux/arm64/v8",
	                             .created_at = 1704067200000,
	                             .distribution = &debian,
	                             .layers = layers,
	                             .layers_count = 2};
}

typedef enum err_code (*writer)(const struct sbom_source *source, FILE *out, struct err *e);

static char *document(writer write, const struct image_detail *image, const struct package *items, size_t count)
{
	struct stream stream = {items, count, 0, 0};
	struct sbom_source source = {image, next, &stream};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct err e = {0};

	if (write(&source, out, &e) != ERR_OK)
		fail_msg("%s", e.text);
	fclose(out);
	return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = json_text(object, name);

	if (!text)
		fail_msg("%s is missing", name);
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" is not %s", text, pattern);
	regfree(&re);
}

static bool has_other(const cJSON *array, const cJSON *item, const char *name)
{
	const cJSON *other;

	cJSON_ArrayForEach (other, array)
		if (other != item && strcmp(text_of(other, name), text_of(item, name)) == 0)
			return true;
	return false;
}

#define UUID "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
#define TIME "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"

/* CycloneDX 1.5: what the schema says of the parts that are used here. */
static void check_licenses(const cJSON *component)
{
	const cJSON *list = json_array(component, "licenses"), *item;

	cJSON_ArrayForEach (item, list) {
		const cJSON *license = json_object(item, "license");

		if (!license) {
			assert_true(license_is_expression(text_of(item, "expression")));
			assert_int_equal(cJSON_GetArraySize(list), 1); /* an expression stands alone */
			continue;
		}
		assert_true(json_has(license, "id") != json_has(license, "name"));
		if (json_has(license, "id"))
			assert_string_equal(license_id(json_text(license, "id")), json_text(license, "id"));
	}
}

static void check_component(const cJSON *all, const cJSON *component)
{
	const cJSON *property;

	assert_matches(text_of(component, "type"), "^(library|operating-system)$");
	assert_true(*text_of(component, "name"));
	assert_false(has_other(all, component, "bom-ref"));
	if (strcmp(json_text(component, "type"), "library") == 0)
		assert_matches(text_of(component, "purl"), "^pkg:[a-z]+/");
	check_licenses(component);
	cJSON_ArrayForEach (property, json_array(component, "properties")) {
		assert_matches(text_of(property, "name"), "^stowage:");
		text_of(property, "value");
	}
}

static void a_cyclonedx_document_keeps_to_the_schema(void **state)
{
	struct image_detail image = whole_image();
	char *text = document(sbom_cyclonedx, &image, packages, ARRAY_SIZE(packages));
	cJSON *bom = cJSON_Parse(text);
	const cJSON *components = json_array(bom, "components"), *component, *about;
	uint64_t version;

	(void)state;
	assert_string_equal(text_of(bom, "bomFormat"), "CycloneDX");
	assert_string_equal(text_of(bom, "specVersion"), "1.5");
	assert_matches(text_of(bom, "serialNumber"), UUID);
	assert_true(json_size(bom, "version", &version) && version == 1);
	about = json_object(json_object(bom, "metadata"), "component");
	assert_string_equal(text_of(about, "type"), "container");
	assert_string_equal(text_of(about, "name"), "host.example:5000/team/shop");
	assert_matches(text_of(about, "purl"), "^pkg:oci/shop@sha256%3A(ab){32}\\?arch=arm64&repository_url="
	                                       "host\\.example%3A5000/team/shop&tag=1\\.5$");
	assert_string_equal(text_of(json_object(bom, "metadata"), "timestamp"), "2024-01-01T00:00:00Z");
	assert_int_equal(cJSON_GetArraySize(components), ARRAY_SIZE(packages) + 1);
	cJSON_ArrayForEach (component, components)
		check_component(components, component);
	assert_non_null(strstr(text, "stowage:layer:1:diff_id"));
	cJSON_Delete(bom);
	free(text);
}

/* SPDX 2.3. */
static const cJSON *find_element(const cJSON *spdx, const char *id)
{
	const cJSON *p;

	if (strcmp(text_of(spdx, "SPDXID"), id) == 0)
		return spdx;
	cJSON_ArrayForEach (p, json_array(spdx, "packages"))
		if (strcmp(text_of(p, "SPDXID"), id) == 0)
			return p;
	return NULL;
}

static void check_spdx_package(const cJSON *spdx, const cJSON *p)
{
	static const char *const required[] = {"name", "downloadLocation", "licenseConcluded", "licenseDeclared",
	                                       "copyrightText"};
	const cJSON *member;

	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		assert_true(*text_of(p, required[i]));
	cJSON_ArrayForEach (member, p)
		assert_matches(member->string,
		               "^(name|SPDXID|versionInfo|primaryPackagePurpose|downloadLocation|filesAnalyzed|"
		               "license(Concluded|Declared|Comments)|copyrightText|comment|checksums|"
		               "externalRefs|sourceInfo|description)$");
	assert_matches(text_of(p, "SPDXID"), "^SPDXRef-[A-Za-z0-9.-]+$");
	assert_false(has_other(json_array(spdx, "packages"), p, "SPDXID"));
	assert_true(json_has(p, "filesAnalyzed"));
	assert_matches(text_of(p, "primaryPackagePurpose"), "^(CONTAINER|OPERATING_SYSTEM|LIBRARY)$");
}

static void an_spdx_document_keeps_to_the_schema(void **state)
{
	struct image_detail image = whole_image();
	char *text = document(sbom_spdx, &image, packages, ARRAY_SIZE(packages));
	cJSON *spdx = cJSON_Parse(text);
	const cJSON *item;
	size_t contained = 0;

	(void)state;
	assert_string_equal(text_of(spdx, "spdxVersion"), "SPDX-2.3");
	assert_string_equal(text_of(spdx, "dataLicense"), "CC0-1.0");
	assert_string_equal(text_of(spdx, "SPDXID"), "SPDXRef-DOCUMENT");
	assert_matches(text_of(spdx, "documentNamespace"), UUID);
	assert_matches(text_of(json_object(spdx, "creationInfo"), "created"), TIME);
	assert_int_equal(cJSON_GetArraySize(json_array(json_object(spdx, "creationInfo"), "creators")), 1);
	assert_int_equal(cJSON_GetArraySize(json_array(spdx, "packages")), ARRAY_SIZE(packages) + 2);
	cJSON_ArrayForEach (item, json_array(spdx, "packages"))
		check_spdx_package(spdx, item);
	cJSON_ArrayForEach (item, json_array(spdx, "relationships")) {
		assert_matches(text_of(item, "relationshipType"), "^(DESCRIBES|CONTAINS)$");
		assert_non_null(find_element(spdx, text_of(item, "spdxElementId")));
		assert_non_null(find_element(spdx, text_of(item, "relatedSpdxElement")));
		contained += strcmp(json_text(item, "relationshipType"), "CONTAINS") == 0;
	}
	assert_int_equal(contained, ARRAY_SIZE(packages) + 1);
	cJSON_Delete(spdx);
	free(text);
}

static void declared_licences_are_what_spdx_can_say(void **state)
{
	static const char *const wanted[] = {"NOASSERTION",          "MIT", "MIT", "NOASSERTION", "MIT OR Apache-2.0",
	                                     "(MIT OR ISC) AND Zlib"};
	struct image_detail image = whole_image();
	char *text = document(sbom_spdx, &image, packages, ARRAY_SIZE(packages)), id[48];
	cJSON *spdx = cJSON_Parse(text);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		snprintf(id, sizeof(id), "SPDXRef-Package-%zu", i + 1);
		assert_string_equal(text_of(find_element(spdx, id), "licenseDeclared"), wanted[i]);
	}
	assert_non_null(strstr(text, "as the package states it: apache-2.0; Some licence of our own"));
	cJSON_Delete(spdx);
	free(text);
}

static void the_same_image_gives_the_same_bytes(void **state)
{
	static const writer writers[] = {sbom_cyclonedx, sbom_spdx};
	struct image_detail image = whole_image(), later = whole_image();

	(void)state;
	/* What a later analysis or a restore changes is not in the document. */
	later.analysed_at = 5;
	later.added_at = 6;
	later.job = 7;
	later.residence = RESIDENCE_BOTH;
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		char *a = document(writers[i], &image, packages, ARRAY_SIZE(packages));
		char *b = document(writers[i], &later, packages, ARRAY_SIZE(packages));

		assert_string_equal(a, b);
		free(a);
		free(b);
	}
}

static void an_image_of_which_little_is_known_still_gives_a_document(void **state)
{
	struct image_detail image = {.digest = digest(7), .status = ANALYSIS_ANALYSED};
	char *cyclonedx = document(sbom_cyclonedx, &image, NULL, 0), *spdx = document(sbom_spdx, &image, NULL, 0);
	cJSON *bom = cJSON_Parse(cyclonedx), *doc = cJSON_Parse(spdx);

	(void)state;
	assert_int_equal(cJSON_GetArraySize(json_array(bom, "components")), 0);
	assert_false(json_has(json_object(bom, "metadata"), "timestamp"));
	assert_false(json_has(json_object(json_object(bom, "metadata"), "component"), "purl"));
	assert_string_equal(text_of(json_object(doc, "creationInfo"), "created"), "1970-01-01T00:00:00Z");
	cJSON_Delete(bom);
	cJSON_Delete(doc);
	free(cyclonedx);
	free(spdx);
}

static void two_images_have_two_names(void **state)
{
	SCRATCH_CTX(ctx);
	struct digest a = digest(1), b = digest(2);

	(void)state;
	assert_string_equal(sbom_uuid(ctx, "spdx", &a), sbom_uuid(ctx, "spdx", &a));
	assert_string_not_equal(sbom_uuid(ctx, "spdx", &a), sbom_uuid(ctx, "spdx", &b));
	assert_string_not_equal(sbom_uuid(ctx, "spdx", &a), sbom_uuid(ctx, "cyclonedx", &a));
}

static void a_stream_that_breaks_off_is_an_error(void **state)
{
	struct image_detail image = whole_image();
	struct stream stream = {packages, ARRAY_SIZE(packages), 0, 3};
	struct sbom_source source = {&image, next, &stream};
	FILE *out = fopen("/dev/null", "w");

	(void)state;
	assert_int_equal(sbom_cyclonedx(&source, out, NULL), ERR_UNAVAILABLE);
	stream.at = 0;
	assert_int_equal(sbom_spdx(&source, out, NULL), ERR_UNAVAILABLE);
	fclose(out);
}

static void a_full_disk_is_an_error(void **state)
{
	struct image_detail image = whole_image();
	struct stream stream = {packages, ARRAY_SIZE(packages), 0, 0};
	struct sbom_source source = {&image, next, &stream};
	FILE *out = fopen("/dev/full", "w");

	(void)state;
	setvbuf(out, NULL, _IONBF, 0);
	assert_int_equal(sbom_cyclonedx(&source, out, NULL), ERR_INTERNAL);
	fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cyclonedx_document_keeps_to_the_schema),
	    cmocka_unit_test(an_spdx_document_keeps_to_the_schema),
	    cmocka_unit_test(declared_licences_are_what_spdx_can_say),
	    cmocka_unit_test(the_same_image_gives_the_same_bytes),
	    cmocka_unit_test(an_image_of_which_little_is_known_still_gives_a_document),
	    cmocka_unit_test(two_images_have_two_names),
	    cmocka_unit_test(a_stream_that_breaks_off_is_an_error),
	    cmocka_unit_test(a_full_disk_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
