#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/image.h"
#include "proto/document/purl.h"

#include <string.h>

#define LAYERS 4

/* A stack of layers, each from the lines of its files document and of its summary. */
struct stack {
	TALLOC_CTX *ctx;
	struct files_memory memory[LAYERS];
	struct image_layer layers[LAYERS];
	size_t count;
	struct image_result *result;
	struct err e;
};

static void add_layer(struct stack *s, const char *files, const char *findings)
{
	static const char end[] =
	    "{\"end\":{\"diff_id\":\"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\","
	    "\"unpacked\":1,\"entries\":1,\"bytes\":1,\"whiteouts\":0,\"opaques\":0,\"lower_links\":0}}\n";
	struct summary *summary;
	size_t lines = 0;
	char *text;

	for (const char *at = files; *at; at++)
		lines += *at == '\n';
	text = talloc_asprintf(s->ctx, "stowage files 1\n%send %zu\n", files, lines);
	s->memory[s->count] = (struct files_memory){.bytes = text, .len = strlen(text)};
	text = talloc_asprintf(s->ctx, "{\"summary\":1,\"analyzer\":\"1\"}\n%s%s", findings, end);
	assert_int_equal(summary_decode(s->ctx, text, strlen(text), &summary, &s->e), ERR_OK);
	s->layers[s->count] =
	    (struct image_layer){.summary = summary, .files = files_memory_source(&s->memory[s->count])};
	s->count++;
}

static enum err_code assemble(struct stack *s)
{
	return image_assemble(s->ctx, s->layers, s->count, &s->result, &s->e);
}

#define NPM(path, name, version)                                                                                       \
	"{\"packages\":[{\"name\":\"" name "\",\"version\":\"" version                                                 \
	"\"}],\"cataloger\":\"npm\",\"type\":\"npm\",\"evidence\":\"" path "\"}\n"
#define DPKG(path, name, version)                                                                                      \
	"{\"packages\":[{\"name\":\"" name "\",\"version\":\"" version                                                 \
	"\",\"arch\":\"amd64\"}],\"cataloger\":\"dpkg\",\"type\":\"deb\",\"evidence\":\"" path "\"}\n"
#define RELEASE(path, id, version)                                                                                     \
	"{\"distribution\":{\"id\":\"" id "\",\"version_id\":\"" version "\"},\"evidence\":\"" path "\"}\n"
#define RELEASE_LINK(path, link) "{\"distribution\":{\"link\":\"" link "\"},\"evidence\":\"" path "\"}\n"

static void packages_count_where_their_evidence_is_visible(void **state)
{
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};

	(void)state;
	add_layer(&s, "db f 644\nx/package.json f 644\ny/package.json f 644\n",
	          DPKG("db", "old", "1") NPM("x/package.json", "x", "1") NPM("y/package.json", "y", "1"));
	add_layer(&s, "db f 644\ny w\n", DPKG("db", "new", "2"));
	assert_int_equal(assemble(&s), ERR_OK);
	assert_int_equal(s.result->package_count, 2);
	assert_string_equal(s.result->packages[0].about.name, "new");
	assert_int_equal(s.result->packages[0].layer, 1);
	assert_string_equal(s.result->packages[1].about.name, "x");
	assert_int_equal(s.result->packages[1].layer, 0);
}

static void a_package_found_twice_is_one_with_two_evidences(void **state)
{
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};

	(void)state;
	add_layer(&s, "b f 644\n", NPM("b", "x", "1"));
	add_layer(&s, "a f 644\nc f 644\n", NPM("a", "x", "1") NPM("c", "x", "2"));
	assert_int_equal(assemble(&s), ERR_OK);
	assert_int_equal(s.result->package_count, 2);
	assert_int_equal(s.result->packages[0].evidence_count, 2);
	assert_string_equal(s.result->packages[0].evidence[0], "a");
	assert_string_equal(s.result->packages[0].evidence[1], "b");
	assert_string_equal(s.result->packages[1].about.version, "2");
}

static void what_a_system_package_owns_is_not_reported_again(void **state)
{
	static const struct {
		const char *owned, *evidence;
		bool claimed;
	} cases[] = {
	    {"usr/lib/x/package.json", "usr/lib/x/package.json", true},
	    {"lib/x/package.json", "usr/lib/x/package.json", true},
	    {"usr/lib/x/package.json", "lib/x/package.json", true},
	    {"usr/share/package.json", "share/package.json", false},
	    {"usr/lib/y/package.json", "usr/lib/x/package.json", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct stack s = {.ctx = ctx};

		add_layer(
		    &s, "l f 644\n",
		    talloc_asprintf(ctx, "{\"claims\":[\"a\",\"%s\",\"z\"],\"evidence\":\"l\"}\n", cases[i].owned));
		add_layer(&s, "z f 644\n",
		          talloc_asprintf(ctx,
		                          "{\"packages\":[{\"name\":\"n\",\"version\":\"1\"}],\"cataloger\":\"npm\","
		                          "\"type\":\"npm\",\"evidence\":\"%s\"}\n",
		                          cases[i].evidence));
		assert_int_equal(assemble(&s), ERR_OK);
		assert_int_equal(s.result->package_count, cases[i].claimed ? 0 : 1);
		assert_int_equal(s.result->claimed, cases[i].claimed ? 1 : 0);
	}
}

static void a_claim_that_is_hidden_claims_nothing(void **state)
{
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};

	(void)state;
	add_layer(&s, "l f 644\np f 644\n", "{\"claims\":[\"p\"],\"evidence\":\"l\"}\n" NPM("p", "n", "1"));
	assert_int_equal(assemble(&s), ERR_OK);
	assert_int_equal(s.result->package_count, 0);
	add_layer(&s, "l w\n", "");
	assert_int_equal(assemble(&s), ERR_OK);
	assert_int_equal(s.result->package_count, 1);
}

static void the_distribution_is_found_through_links(void **state)
{
	static const struct {
		const char *name, *findings[2], *files[2], *id;
	} cases[] = {
	    {"none", {""}, {""}, NULL},
	    {"etc", {RELEASE("etc/os-release", "Debian", "12")}, {"etc/os-release f 644\n"}, "debian"},
	    {"usr/lib alone", {RELEASE("usr/lib/os-release", "debian", "12")}, {"z f 644\n"}, "debian"},
	    {"etc before usr/lib",
	     {RELEASE("usr/lib/os-release", "a", "1") RELEASE("etc/os-release", "b", "1")},
	     {"z f 644\n"},
	     "b"},
	    {"relative link",
	     {RELEASE_LINK("etc/os-release", "../usr/lib/os-release") RELEASE("usr/lib/os-release", "a", "1")},
	     {"z f 644\n"},
	     "a"},
	    {"absolute link to elsewhere",
	     {RELEASE_LINK("etc/os-release", "/opt/./x/../os-release-1") RELEASE("opt/os-release-1", "c", "1")
	          RELEASE("usr/lib/os-release", "a", "1")},
	     {"z f 644\n"},
	     "c"},
	    {"link to nothing falls back",
	     {RELEASE_LINK("etc/os-release", "nowhere") RELEASE("usr/lib/os-release", "a", "1")},
	     {"z f 644\n"},
	     "a"},
	    {"circle",
	     {RELEASE_LINK("etc/os-release", "os-release2") RELEASE_LINK("etc/os-release2", "os-release")},
	     {"z f 644\n"},
	     NULL},
	    {"link above the root",
	     {RELEASE_LINK("etc/os-release", "../../../usr/lib/os-release") RELEASE("usr/lib/os-release", "a", "1")},
	     {"z f 644\n"},
	     "a"},
	    {"an upper layer's link over a lower layer's file",
	     {RELEASE("etc/os-release", "old", "1"),
	      RELEASE_LINK("etc/os-release", "/usr/lib/os-release") RELEASE("usr/lib/os-release", "new", "2")},
	     {"etc/os-release f 644\n", "etc/os-release l link=/usr/lib/os-release\nusr/lib/os-release f 644\n"},
	     "new"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct stack s = {.ctx = ctx};

		for (size_t l = 0; l < 2 && cases[i].findings[l]; l++)
			add_layer(&s, cases[i].files[l], cases[i].findings[l]);
		assert_int_equal(assemble(&s), ERR_OK);
		if (!cases[i].id) {
			assert_null(s.result->distribution.id);
			continue;
		}
		if (!s.result->distribution.id || strcmp(s.result->distribution.id, cases[i].id) != 0)
			fail_msg("%s: %s", cases[i].name, s.result->distribution.id);
	}
}

static void a_visible_database_that_cannot_be_read_fails_the_image(void **state)
{
	static const char bad[] =
	    "{\"unparsed\":\"line 9\",\"cataloger\":\"dpkg\",\"evidence\":\"var/lib/dpkg/status\",\"fatal\":true}\n";
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};

	(void)state;
	add_layer(&s, "var/lib/dpkg/status f 644\n", bad);
	assert_int_equal(assemble(&s), ERR_CORRUPT);
	assert_string_equal(s.e.text, "dpkg database \"var/lib/dpkg/status\" cannot be read: line 9");
	add_layer(&s, "var/lib/dpkg/status f 644\n", "");
	assert_int_equal(assemble(&s), ERR_OK);
}

static void stray_files_that_cannot_be_read_are_listed(void **state)
{
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};

	(void)state;
	add_layer(&s, "b f 644\nc f 644\n",
	          "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"c\"}\n"
	          "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"b\"}\n");
	add_layer(&s, "a f 644\nc w\n", "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"a\"}\n");
	assert_int_equal(assemble(&s), ERR_OK);
	assert_int_equal(s.result->unparsed_count, 2);
	assert_string_equal(s.result->unparsed[0].about->evidence, "a");
	assert_string_equal(s.result->unparsed[1].about->evidence, "b");
}

/* Layers that hide one another's evidence in all ways, and evidence of all kinds. */
static void add_hiding_layers(struct stack *s)
{
	add_layer(s, "a d 755\na/p f 644\na/q f 644\nb f 644\ndb f 644\netc/os-release f 644\n",
	          DPKG("db", "old", "1") NPM("a/p", "ap", "1") NPM("a/q", "aq", "1") NPM("b", "b", "1")
	              RELEASE("etc/os-release", "debian", "11"));
	add_layer(s, "a/q w\nc f 644\ndb f 644\nl f 644\n",
	          "{\"claims\":[\"b\"],\"evidence\":\"l\"}\n" DPKG("db", "new", "2") NPM("c", "c", "1"));
	add_layer(s, "a d 755\na o\na/r f 644\netc/os-release f 644\n",
	          NPM("a/r", "ar", "1") RELEASE("etc/os-release", "debian", "12"));
	add_layer(s, "c d 755\nl w\nu f 644\n", "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"u\"}\n");
}

static char *print_result(TALLOC_CTX *ctx, const struct image_result *r)
{
	char *text = talloc_asprintf(ctx, "%s %s\n", r->distribution.id, r->distribution.version_id);

	for (size_t i = 0; i < r->package_count; i++) {
		const struct image_package *p = &r->packages[i];

		text = talloc_asprintf_append(text, "%s %zu %zu %s\n", p->purl, p->layer, p->evidence_count,
		                              p->evidence[0]);
	}
	for (size_t i = 0; i < r->unparsed_count; i++)
		text = talloc_asprintf_append(text, "? %s %zu\n", r->unparsed[i].about->evidence, r->unparsed[i].layer);
	for (size_t i = 0; i < r->sight.count; i++)
		text = talloc_asprintf_append(text, "%u ", r->sight.hidden_by[i]);
	return text;
}

static void what_is_known_of_a_stack_serves_all_that_begin_like_it(void **state)
{
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};
	struct image_result *results[LAYERS + 1], *upon;

	(void)state;
	add_hiding_layers(&s);
	for (size_t count = 0; count <= LAYERS; count++)
		assert_int_equal(image_assemble(ctx, s.layers, count, &results[count], &s.e), ERR_OK);
	for (size_t source = 0; source <= LAYERS; source++) {
		for (size_t known = 0; known <= source; known++) {
			struct image_sight sight = results[source]->sight;

			sight.layers = known;
			for (size_t count = known; count <= LAYERS; count++) {
				struct image_layer layers[LAYERS];

				memcpy(layers, s.layers, sizeof(layers));
				for (size_t l = 0; l < known; l++) /* reading one would crash */
					layers[l].files = (struct files_source){0};
				assert_int_equal(image_assemble_upon(ctx, layers, count, &sight, &upon, &s.e), ERR_OK);
				assert_string_equal(print_result(ctx, upon), print_result(ctx, results[count]));
				assert_int_equal(upon->sight.layers, count);
			}
		}
	}
}

static void what_is_known_of_other_documents_is_left_aside(void **state)
{
	static const uint16_t hidden_by[] = {1, 1, 1, 1, 1, 1, 1};
	struct image_sight cases[] = {{2, 7, hidden_by}, {LAYERS + 1, 7, hidden_by}};
	SCRATCH_CTX(ctx);
	struct stack s = {.ctx = ctx};
	struct image_result *upon;

	(void)state;
	add_hiding_layers(&s);
	assert_int_equal(assemble(&s), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(image_assemble_upon(ctx, s.layers, s.count, &cases[i], &upon, &s.e), ERR_OK);
		assert_string_equal(print_result(ctx, upon), print_result(ctx, s.result));
	}
}

static void purls_are_canonical(void **state)
{
	static const struct {
		struct purl_parts parts;
		const char *purl;
	} cases[] = {
	    {{"deb", "libstdc++6", "12.2.0-14", "amd64", "debian", "12"},
	     "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12"},
	    {{"deb", "x", "1:2.0~rc1+b1", NULL, "Ubuntu", "22.04"},
	     "pkg:deb/ubuntu/x@1:2.0~rc1%2Bb1?distro=ubuntu-22.04"},
	    {{"deb", "x", "1", "all", NULL, NULL}, "pkg:deb/debian/x@1?arch=all"},
	    {{"deb", "x", "1", NULL, "debian", NULL}, "pkg:deb/debian/x@1?distro=debian"},
	    {{"apk", "musl", "1.2.4-r2", "x86_64", "alpine", "3.18.4"},
	     "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4"},
	    {{"npm", "@babel/core", "7.23.0", NULL, "debian", "12"}, "pkg:npm/%40babel/core@7.23.0"},
	    {{"npm", "left pad", NULL, NULL, NULL, NULL}, "pkg:npm/left%20pad"},
	    {{"npm", "a/b?#@", "1", NULL, NULL, NULL}, "pkg:npm/a%2Fb%3F%23%40@1"},
	    {{"pypi", "Ruamel.YAML__x-_y", "0.18.5", NULL, NULL, NULL}, "pkg:pypi/ruamel-yaml-x-y@0.18.5"},
	    {{"pypi", "caf\xc3\xa9", "1", NULL, NULL, NULL}, "pkg:pypi/caf%C3%A9@1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		assert_string_equal(purl_make(ctx, &cases[i].parts), cases[i].purl);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(packages_count_where_their_evidence_is_visible),
	    cmocka_unit_test(a_package_found_twice_is_one_with_two_evidences),
	    cmocka_unit_test(what_a_system_package_owns_is_not_reported_again),
	    cmocka_unit_test(a_claim_that_is_hidden_claims_nothing),
	    cmocka_unit_test(the_distribution_is_found_through_links),
	    cmocka_unit_test(a_visible_database_that_cannot_be_read_fails_the_image),
	    cmocka_unit_test(stray_files_that_cannot_be_read_are_listed),
	    cmocka_unit_test(what_is_known_of_a_stack_serves_all_that_begin_like_it),
	    cmocka_unit_test(what_is_known_of_other_documents_is_left_aside),
	    cmocka_unit_test(purls_are_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
