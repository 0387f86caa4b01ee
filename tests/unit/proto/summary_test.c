#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/summary.h"

#include <string.h>

#define DIFF_ID "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define END                                                                                                            \
	"{\"end\":{\"diff_id\":\"" DIFF_ID                                                                             \
	"\",\"unpacked\":1,\"entries\":2,\"bytes\":3,\"whiteouts\":4,\"opaques\":5,"                                   \
	"\"lower_links\":6}}\n"
#define HEAD "{\"summary\":1,\"analyzer\":\"7\"}\n"

static void everything_comes_back(void **state)
{
	struct summary_package packages[] = {
	    {.name = "libstdc++6", .version = "12.2.0-14", .arch = "amd64", .source = "gcc-12", .source_version = "12"},
	    {.name = "@s/\"q\"\\", .version = "1\n2", .license = "MIT AND ISC", .origin = "J\xc3\xa9r\xc3\xb4me <j@x>"},
	};
	struct summary_group group = {"dpkg", "deb", "var/lib/dpkg/status.d/\xff\\ \n", packages, 2};
	const char *paths[] = {"usr/lib/x.dist-info/METADATA", "b\xfe"};
	struct summary_claim claim = {.evidence = "var/lib/dpkg/info/x.list", .paths = paths, .count = 2};
	struct summary_unparsed unparsed[] = {{"npm", "a/package.json", "not JSON", false},
	                                      {"dpkg", "var/lib/dpkg/status", "line 1", true}};
	struct summary_distribution distributions[] = {
	    {.evidence = "etc/os-release", .link = "../usr/lib/os-release"},
	    {.evidence = "usr/lib/os-release", .id = "debian", .version_id = "12", .pretty_name = "Debian \"12\""},
	};
	struct summary s = {
	    .analyzer = "7",
	    .unpacked = 1ull << 50,
	    .counts = {.entries = 9, .bytes = 8, .whiteouts = 7, .opaques = 6, .lower_links = 5},
	    .groups = &group,
	    .group_count = 1,
	    .claims = &claim,
	    .claim_count = 1,
	    .unparsed = unparsed,
	    .unparsed_count = 2,
	    .distributions = distributions,
	    .distribution_count = 2,
	};
	CLEANUP(buf_release) struct buf text;
	SCRATCH_CTX(ctx);
	struct summary *back;
	struct err e;

	(void)state;
	buf_init(&text, MIB);
	assert_true(digest_parse(DIFF_ID, &s.diff_id));
	summary_encode(&text, &s);
	assert_false(buf_failed(&text));
	assert_int_equal(summary_decode(ctx, text.bytes, text.len, &back, &e), ERR_OK);
	assert_string_equal(back->analyzer, "7");
	assert_true(digest_equal(&back->diff_id, &s.diff_id));
	assert_int_equal(back->unpacked, s.unpacked);
	assert_int_equal(back->counts.entries, 9);
	assert_int_equal(back->counts.lower_links, 5);
	assert_int_equal(back->counts.packages, 2);
	assert_int_equal(back->group_count, 1);
	assert_string_equal(back->groups[0].evidence, group.evidence);
	assert_string_equal(back->groups[0].type, "deb");
	assert_int_equal(back->groups[0].count, 2);
	assert_string_equal(back->groups[0].packages[0].source_version, "12");
	assert_null(back->groups[0].packages[0].license);
	assert_string_equal(back->groups[0].packages[1].name, packages[1].name);
	assert_string_equal(back->groups[0].packages[1].version, packages[1].version);
	assert_string_equal(back->groups[0].packages[1].origin, packages[1].origin);
	assert_int_equal(back->claim_count, 1);
	assert_string_equal(back->claims[0].paths[1], paths[1]);
	assert_int_equal(back->unparsed_count, 2);
	assert_false(back->unparsed[0].fatal);
	assert_true(back->unparsed[1].fatal);
	assert_string_equal(back->unparsed[1].reason, "line 1");
	assert_int_equal(back->distribution_count, 2);
	assert_string_equal(back->distributions[0].link, "../usr/lib/os-release");
	assert_null(back->distributions[0].id);
	assert_string_equal(back->distributions[1].pretty_name, "Debian \"12\"");
}

static void long_groups_are_several_lines_and_one_group(void **state)
{
	enum { COUNT = 1234 };
	static struct summary_package packages[COUNT];
	struct summary_group groups[] = {{"dpkg", "deb", "a", packages, COUNT}, {"dpkg", "deb", "b", packages, 1}};
	struct summary s = {.analyzer = "7", .groups = groups, .group_count = 2};
	CLEANUP(buf_release) struct buf text;
	SCRATCH_CTX(ctx);
	struct summary *back;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		packages[i] = (struct summary_package){.name = talloc_asprintf(ctx, "p%zu", i), .version = "1"};
	buf_init(&text, MIB);
	summary_encode(&text, &s);
	assert_int_equal(summary_decode(ctx, text.bytes, text.len, &back, &e), ERR_OK);
	assert_int_equal(back->group_count, 2);
	assert_int_equal(back->groups[0].count, COUNT);
	assert_string_equal(back->groups[0].packages[COUNT - 1].name, "p1233");
}

static void bytes_that_are_no_text_are_marked(void **state)
{
	static const struct {
		const char *name, *back;
	} cases[] = {
	    {"a\xff", "a\xef\xbf\xbd"},
	    {"\xc3", "\xef\xbf\xbd"},
	    {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
	    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
	    {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	    {"\x01\x7f\t", "\x01\x7f\t"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct summary_package package = {.name = cases[i].name, .version = "1"};
		struct summary_group group = {"npm", "npm", "a", &package, 1};
		struct summary s = {.analyzer = "7", .groups = &group, .group_count = 1};
		CLEANUP(buf_release) struct buf text;
		SCRATCH_CTX(ctx);
		struct summary *back;
		struct err e;

		buf_init(&text, MIB);
		summary_encode(&text, &s);
		assert_int_equal(summary_decode(ctx, text.bytes, text.len, &back, &e), ERR_OK);
		assert_string_equal(back->groups[0].packages[0].name, cases[i].back);
	}
}

static void what_is_no_summary_is_refused(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
	} cases[] = {
	    {HEAD END, ERR_OK},
	    {"", ERR_CORRUPT},
	    {HEAD, ERR_CORRUPT},
	    {END, ERR_CORRUPT},
	    {"{\"summary\":2,\"analyzer\":\"7\"}\n" END, ERR_UNSUPPORTED},
	    {"{\"summary\":1}\n" END, ERR_CORRUPT},
	    {HEAD END END, ERR_CORRUPT},
	    {HEAD "{\"end\":{}}\n", ERR_CORRUPT},
	    {HEAD "nonsense\n" END, ERR_CORRUPT},
	    {HEAD "{\"else\":1,\"evidence\":\"a\"}\n" END, ERR_CORRUPT},
	    {HEAD "{\"unparsed\":\"x\",\"cataloger\":\"npm\"}\n" END, ERR_CORRUPT},
	    {HEAD "{\"unparsed\":\"x\",\"evidence\":\"a\"}\n" END, ERR_CORRUPT},
	    {HEAD "{\"packages\":[{\"name\":\"a\"}],\"cataloger\":\"c\",\"type\":\"t\",\"evidence\":\"a\"}\n" END,
	     ERR_CORRUPT},
	    {HEAD "{\"packages\":[],\"type\":\"t\",\"evidence\":\"a\"}\n" END, ERR_CORRUPT},
	    {HEAD "{\"claims\":[1],\"evidence\":\"a\"}\n" END, ERR_CORRUPT},
	    {HEAD "{\"claims\":[\"a\"],\"evidence\":\"a\\\\9\"}\n" END, ERR_CORRUPT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct summary *back;
		struct err e;

		if (summary_decode(ctx, cases[i].text, strlen(cases[i].text), &back, &e) != cases[i].code)
			fail_msg("case %zu: %s", i, cases[i].text);
	}
}

static void a_document_cut_anywhere_is_corrupt(void **state)
{
	static const char text[] = HEAD "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"a\"}\n" END;
	SCRATCH_CTX(ctx);
	struct summary *back;
	struct err e;

	(void)state;
	for (size_t cut = 0; cut < sizeof(text) - 1; cut++)
		assert_int_equal(summary_decode(ctx, text, cut, &back, &e), ERR_CORRUPT);
	assert_int_equal(summary_decode(ctx, text, sizeof(text) - 1, &back, &e), ERR_OK);
}

static void lines_are_renamed_for_their_cataloger_only(void **state)
{
	static const char lines[] = "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"a\"}\n"
				    "{\"unparsed\":\"y\",\"cataloger\":\"python\",\"evidence\":\"a\"}\n"
				    "{\"claims\":[\"c\"],\"evidence\":\"a\"}\n";
	CLEANUP(buf_release) struct buf out;
	struct err e;

	(void)state;
	buf_init(&out, MIB);
	assert_int_equal(summary_rename(lines, sizeof(lines) - 1, "npm", "b\xff\"", &out, &e), ERR_OK);
	assert_string_equal(out.bytes, "{\"unparsed\":\"x\",\"cataloger\":\"npm\",\"evidence\":\"b\\\\377\\\"\"}\n"
	                               "{\"claims\":[\"c\"],\"evidence\":\"b\\\\377\\\"\"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_comes_back),
	    cmocka_unit_test(long_groups_are_several_lines_and_one_group),
	    cmocka_unit_test(bytes_that_are_no_text_are_marked),
	    cmocka_unit_test(what_is_no_summary_is_refused),
	    cmocka_unit_test(a_document_cut_anywhere_is_corrupt),
	    cmocka_unit_test(lines_are_renamed_for_their_cataloger_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
