#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/catalogers/catalogers.h"

#include <string.h>

static void each_path_has_its_cataloger(void **state)
{
	static const struct {
		const char *path, *cataloger;
	} cases[] = {
	    {"var/lib/dpkg/status", "dpkg"},
	    {"var/lib/dpkg/status-old", NULL},
	    {"var/lib/dpkg/stat", NULL},
	    {"var/lib/dpkg/status.d/base", "dpkg"},
	    {"var/lib/dpkg/status.d/base.md5sums", "dpkg"},
	    {"var/lib/dpkg/status.d/", NULL},
	    {"var/lib/dpkg/info/bash.list", "dpkg"},
	    {"var/lib/dpkg/info/bash.md5sums", NULL},
	    {"srv/var/lib/dpkg/status", NULL},
	    {"lib/apk/db/installed", "apk"},
	    {"usr/lib/apk/db/installed", "apk"},
	    {"x/lib/apk/db/installed", NULL},
	    {"installed", NULL},
	    {"package.json", "npm"},
	    {"a/node_modules/@b/c/package.json", "npm"},
	    {"a/package.json5", NULL},
	    {"a/xpackage.json", NULL},
	    {"x.dist-info/METADATA", "python"},
	    {"a/x.dist-info/METADATA", "python"},
	    {"METADATA", NULL},
	    {"x.dist-info/x/METADATA", NULL},
	    {"a/x.egg-info/PKG-INFO", "python"},
	    {"a/x.egg/EGG-INFO/PKG-INFO", "python"},
	    {"a/x.egg-info", "python"},
	    {"a/.egg-info", NULL},
	    {"PKG-INFO", NULL},
	    {"etc/os-release", "distribution"},
	    {"usr/lib/os-release", "distribution"},
	    {"opt/os-release-image", "distribution"},
	    {"etc/my-os-release", NULL},
	    {"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cataloger *c = catalogers_find(cases[i].path, strlen(cases[i].path));

		if (c ? !cases[i].cataloger || strcmp(c->name, cases[i].cataloger) != 0 : cases[i].cataloger != NULL)
			fail_msg("%s: %s", cases[i].path, c ? c->name : "none");
	}
}

/* A file and the lines of the summary that it makes. */
struct reading {
	const char *path, *content, *lines;
};

#define DPKG_TAIL "],\"cataloger\":\"dpkg\",\"type\":\"deb\",\"evidence\":\"var/lib/dpkg/status\"}\n"
#define APK_TAIL "],\"cataloger\":\"apk\",\"type\":\"apk\",\"evidence\":\"lib/apk/db/installed\"}\n"
#define NPM_TAIL "],\"cataloger\":\"npm\",\"type\":\"npm\",\"evidence\":\"package.json\"}\n"
#define PYTHON_TAIL "],\"cataloger\":\"python\",\"type\":\"pypi\",\"evidence\":\"x.dist-info/METADATA\"}\n"
#define UNPARSED(reason, cataloger, path, rest)                                                                        \
	"{\"unparsed\":\"" reason "\",\"cataloger\":\"" cataloger "\",\"evidence\":\"" path "\"" rest "}\n"

static const struct reading readings[] = {
    /* dpkg */
    {"var/lib/dpkg/status",
     "Package: bash\nStatus: install ok installed\nMaintainer: A <a@b>\nArchitecture: amd64\nSource: bash-src (5.2)\n"
     "Version: 5.2.15-2+b7\nDescription: shell\n words: more\n .\n\nPackage: gone\nStatus: deinstall ok config-files\n"
     "Version: 1\n\nPackage: held\nStatus: hold ok installed\nVersion: 1:2\n\nPackage: half\n"
     "Status: install ok half-installed\nVersion: 1\n",
     "{\"packages\":[{\"name\":\"bash\",\"version\":\"5.2.15-2+b7\",\"arch\":\"amd64\",\"source\":\"bash-src\","
     "\"source_version\":\"5.2\",\"origin\":\"A <a@b>\"},{\"name\":\"held\",\"version\":\"1:2\"}" DPKG_TAIL},
    {"var/lib/dpkg/status", "", ""},
    {"var/lib/dpkg/status", "\n\n\n", ""},
    {"var/lib/dpkg/status", "Package: a\nVersion: 1", "{\"packages\":[{\"name\":\"a\",\"version\":\"1\"}" DPKG_TAIL},
    {"var/lib/dpkg/status", "package: a\r\nVERSION: 1\r\n\r\n",
     "{\"packages\":[{\"name\":\"a\",\"version\":\"1\"}" DPKG_TAIL},
    {"var/lib/dpkg/status", "Package: a\nVersion: 1\n\nwhat is this\n",
     UNPARSED("line 4 is not a field", "dpkg", "var/lib/dpkg/status", ",\"fatal\":true")},
    {"var/lib/dpkg/status", "Package: a\n\n",
     UNPARSED("the package before line 2 has no version", "dpkg", "var/lib/dpkg/status", ",\"fatal\":true")},
    {"var/lib/dpkg/status", "\n\n continued\n",
     UNPARSED("line 3 is not a field", "dpkg", "var/lib/dpkg/status", ",\"fatal\":true")},
    {"var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
     "{\"packages\":[{\"name\":\"tzdata\",\"version\":\"2024a\",\"arch\":\"all\"}],\"cataloger\":\"dpkg\","
     "\"type\":\"deb\",\"evidence\":\"var/lib/dpkg/status.d/tzdata\"}\n"},
    {"var/lib/dpkg/info/x.list", "/.\n/usr/share/doc\n/usr/lib/x.dist-info/METADATA\n/opt/package.json",
     "{\"claims\":[\"usr/lib/x.dist-info/METADATA\",\"opt/package.json\"],"
     "\"evidence\":\"var/lib/dpkg/info/x.list\"}\n"},
    {"var/lib/dpkg/info/x.list", "/.\n", ""},
    {"var/lib/dpkg/status.d/x.md5sums", "0123456789abcdef  usr/lib/x.egg-info\nnonsense\n  \n",
     "{\"claims\":[\"usr/lib/x.egg-info\"],\"evidence\":\"var/lib/dpkg/status.d/x.md5sums\"}\n"},
    /* apk */
    {"lib/apk/db/installed",
     "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl-src\nm:A\nF:lib\nR:ld.so\na:0:0:755\nF:usr/lib/y.egg-info\n"
     "R:PKG-INFO\n\nP:b\nV:2\nF:\nR:package.json\n",
     "{\"packages\":[{\"name\":\"musl\",\"version\":\"1.2.4-r2\",\"arch\":\"x86_64\",\"source\":\"musl-src\","
     "\"source_version\":\"1.2.4-r2\",\"license\":\"MIT\",\"origin\":\"A\"},{\"name\":\"b\",\"version\":\"2\"}" APK_TAIL
     "{\"claims\":[\"usr/lib/y.egg-info/PKG-INFO\",\"package.json\"],\"evidence\":\"lib/apk/db/installed\"}\n"},
    {"lib/apk/db/installed", "P:a\n\n",
     UNPARSED("the package before line 2 has no version", "apk", "lib/apk/db/installed", ",\"fatal\":true")},
    {"lib/apk/db/installed", "P:a\nV:1\n?\n",
     UNPARSED("line 3 is not a field", "apk", "lib/apk/db/installed", ",\"fatal\":true")},
    {"lib/apk/db/installed", "", ""},
    /* npm */
    {"package.json", "{\"name\":\"@s/x\",\"version\":\"1.0.0\",\"license\":\"MIT\",\"author\":\"A <a@b>\"}",
     "{\"packages\":[{\"name\":\"@s/x\",\"version\":\"1.0.0\",\"license\":\"MIT\",\"origin\":\"A <a@b>\"}" NPM_TAIL},
    {"package.json",
     "\xef\xbb\xbf{\"version\":\"1\",\"name\":\"x\",\"license\":{\"type\":\"ISC\"},\"author\":{\"name\":\"B\"}}\n",
     "{\"packages\":[{\"name\":\"x\",\"version\":\"1\",\"license\":\"ISC\",\"origin\":\"B\"}" NPM_TAIL},
    {"package.json", "{\"name\":\"x\",\"version\":\"1\",\"licenses\":[{\"type\":\"MIT\"},{\"url\":1},\"ISC\",7]}",
     "{\"packages\":[{\"name\":\"x\",\"version\":\"1\",\"license\":\"MIT AND ISC\"}" NPM_TAIL},
    {"package.json", "{\"name\":\"x\",\"version\":\"1\",\"license\":[],\"author\":7}",
     "{\"packages\":[{\"name\":\"x\",\"version\":\"1\"}" NPM_TAIL},
    {"package.json", "{\"type\":\"module\"}", ""},
    {"package.json", "{\"name\":\"x\"}", ""},
    {"package.json", "{\"name\":7,\"version\":\"1\"}", ""},
    {"package.json", "{\"name\":\" \",\"version\":\"1\"}", ""},
    /* python */
    {"x.dist-info/METADATA",
     "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nAuthor: A\nLicense: UNKNOWN\n"
     "Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: MIT License\n"
     "Classifier: License :: Public Domain\nClassifier: Topic :: X\n\nName: not this\n",
     "{\"packages\":[{\"name\":\"Foo_Bar\",\"version\":\"1.0\",\"license\":\"MIT License AND Public Domain\","
     "\"origin\":\"A\"}" PYTHON_TAIL},
    {"x.dist-info/METADATA",
     "Name: a\nVersion: 1\nMaintainer: M\nLicense: Long\n        text\n  of it\nLicense-Expression: Apache-2.0\n",
     "{\"packages\":[{\"name\":\"a\",\"version\":\"1\",\"license\":\"Apache-2.0\",\"origin\":\"M\"}" PYTHON_TAIL},
    {"x.dist-info/METADATA", "Name: a\nVersion: 1\nLicense: BSD\ngarbage\nAuthor: UNKNOWN\n",
     "{\"packages\":[{\"name\":\"a\",\"version\":\"1\",\"license\":\"BSD\"}" PYTHON_TAIL},
    {"x.dist-info/METADATA", "Name: a\n\nVersion: 1\n",
     UNPARSED("the metadata has no Version", "python", "x.dist-info/METADATA", "")},
    {"x.dist-info/METADATA", "", UNPARSED("the metadata has no Name", "python", "x.dist-info/METADATA", "")},
    /* distribution */
    {"etc/os-release",
     "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n# comment\nNAME='Debian'\nVERSION_ID=\"12\"\n"
     "VERSION_CODENAME=bookworm\n  ID=debian\nID_LIKE=\nX_ID=no\n",
     "{\"distribution\":{\"format\":\"os-release\",\"id\":\"debian\",\"version_id\":\"12\","
     "\"version_codename\":\"bookworm\",\"name\":\"Debian\",\"pretty_name\":\"Debian GNU/Linux 12 (bookworm)\"},"
     "\"evidence\":\"etc/os-release\"}\n"},
    {"etc/os-release", "NAME=\"a \\\"b\\\" \\$c\"d\nID='x\\y",
     "{\"distribution\":{\"format\":\"os-release\",\"id\":\"x\\\\y\",\"name\":\"a \\\"b\\\" "
     "$cd\"},\"evidence\":\"etc/os-release\"}\n"},
    {"etc/os-release", "", "{\"distribution\":{\"format\":\"os-release\"},\"evidence\":\"etc/os-release\"}\n"},
};

static void read_file(const char *path, const char *content, size_t len, struct buf *lines, uint64_t *packages)
{
	struct cataloger_file file = {.path = path, .bytes = content, .len = len};
	const struct cataloger *c = catalogers_find(path, strlen(path));

	assert_non_null(c);
	catalogers_read(c, &file, lines, packages);
	assert_false(buf_failed(lines));
}

static void files_say_what_they_prove(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
		CLEANUP(buf_release) struct buf lines;
		uint64_t packages = 0;

		buf_init(&lines, MIB);
		buf_add_text(&lines, "");
		read_file(readings[i].path, readings[i].content, strlen(readings[i].content), &lines, &packages);
		if (strcmp(lines.bytes, readings[i].lines) != 0)
			fail_msg("reading %zu (%s) says\n%sinstead of\n%s", i, readings[i].path, lines.bytes,
			         readings[i].lines);
	}
}

static void json_that_is_none_is_noted_and_not_fatal(void **state)
{
	static const char *const cases[] = {"", "{", "[]", "\"x\"", "{\"name\":\"x\",}", "\xff\xfe", "{} trailing"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_release) struct buf lines;
		uint64_t packages = 0;

		buf_init(&lines, MIB);
		read_file("a/package.json", cases[i], strlen(cases[i]), &lines, &packages);
		assert_int_equal(strncmp(lines.bytes, "{\"unparsed\":", 12), 0);
		assert_null(strstr(lines.bytes, "fatal"));
		assert_int_equal(packages, 0);
	}
}

static void deep_nesting_is_noted(void **state)
{
	static char deep[100000];
	CLEANUP(buf_release) struct buf lines;
	uint64_t packages = 0;

	(void)state;
	memset(deep, '[', sizeof(deep) - 1);
	memcpy(deep, "{\"a\":", 5);
	buf_init(&lines, MIB);
	read_file("package.json", deep, sizeof(deep) - 1, &lines, &packages);
	assert_int_equal(strncmp(lines.bytes, "{\"unparsed\":", 12), 0);
}

/* Every prefix and a flipped bit in every byte: nothing but findings or "unparsed" may come of it. */
static void damaged_files_do_no_harm(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
		size_t len = strlen(readings[i].content);

		for (size_t at = 0; at < len; at++) {
			SCRATCH_CTX(ctx);
			CLEANUP(buf_release) struct buf lines;
			char *copy = talloc_strndup(ctx, readings[i].content, len);
			uint64_t packages = 0;

			buf_init(&lines, MIB);
			copy[at] = (char)(copy[at] ^ 0x80);
			read_file(readings[i].path, copy, len, &lines, &packages);
			copy[at] = '\0';
			read_file(readings[i].path, copy, len, &lines, &packages);
			read_file(readings[i].path, copy, at, &lines, &packages);
		}
	}
}

static void packages_are_counted(void **state)
{
	CLEANUP(buf_release) struct buf lines;
	uint64_t packages = 5;

	(void)state;
	buf_init(&lines, MIB);
	read_file("var/lib/dpkg/status", readings[0].content, strlen(readings[0].content), &lines, &packages);
	assert_int_equal(packages, 7);
}

static void files_over_their_limit_are_noted(void **state)
{
	CLEANUP(buf_release) struct buf lines;

	(void)state;
	buf_init(&lines, MIB);
	catalogers_refuse(&cataloger_dpkg, "var/lib/dpkg/status", 100 * MIB, &lines);
	assert_string_equal(lines.bytes, UNPARSED("104857600 bytes, 67108864 are the most", "dpkg",
	                                          "var/lib/dpkg/status", ",\"fatal\":true"));
}

static void links_in_the_place_of_os_release_are_noted(void **state)
{
	CLEANUP(buf_release) struct buf lines;

	(void)state;
	buf_init(&lines, MIB);
	catalogers_link(&cataloger_npm, "package.json", "x", &lines);
	assert_int_equal(lines.len, 0);
	catalogers_link(&cataloger_distribution, "etc/os-release", "../usr/lib/os-release", &lines);
	assert_string_equal(lines.bytes,
	                    "{\"distribution\":{\"format\":\"os-release\",\"link\":\"../usr/lib/os-release\"},"
	                    "\"evidence\":\"etc/os-release\"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_path_has_its_cataloger),
	    cmocka_unit_test(files_say_what_they_prove),
	    cmocka_unit_test(json_that_is_none_is_noted_and_not_fatal),
	    cmocka_unit_test(deep_nesting_is_noted),
	    cmocka_unit_test(damaged_files_do_no_harm),
	    cmocka_unit_test(packages_are_counted),
	    cmocka_unit_test(files_over_their_limit_are_noted),
	    cmocka_unit_test(links_in_the_place_of_os_release_are_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
