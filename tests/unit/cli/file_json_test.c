/* A file as JSON: what each kind has, and names that are not UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/file_json.h"

#include <stdlib.h>
#include <string.h>

static char *printed(const struct files_entry *f)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	struct json_writer *w = json_writer_new(NULL, to);

	json_open_object(w, NULL);
	file_json_path(w, f);
	file_json_state(w, f);
	json_close(w);
	talloc_free(w);
	fclose(to);
	return text;
}

/* Without white space, which is for people. */
static char *squeezed(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++)
		if (*at != ' ' && *at != '\n')
			*to++ = *at;
	*to = 0;
	return text;
}

#define NAME(text) .path = (text), .path_len = sizeof(text) - 1
#define LINK(text) .link = (text), .link_len = sizeof(text) - 1

static const struct {
	struct files_entry entry;
	const char *json;
} cases[] = {
    {{NAME("etc"), .type = FILES_DIRECTORY, .mode = 0755, .uid = 1, .gid = 2, .size = 7},
     "{\"path\":\"etc\",\"type\":\"d\",\"mode\":\"0755\",\"uid\":1,\"gid\":2}"},
    {{NAME("a"), .type = FILES_REGULAR, .mode = 04711, .size = 7},
     "{\"path\":\"a\",\"type\":\"f\",\"mode\":\"4711\",\"uid\":0,\"gid\":0,\"size\":7,\"sha256\":"
     "\"0000000000000000000000000000000000000000000000000000000000000000\"}"},
    {{NAME("l"), .type = FILES_SYMLINK, .mode = 0777, LINK("to")},
     "{\"path\":\"l\",\"type\":\"l\",\"mode\":\"0777\",\"uid\":0,\"gid\":0,\"link\":\"to\"}"},
    {{NAME("null"), .type = FILES_CHAR, .mode = 0666, .dev_major = 1, .dev_minor = 3},
     "{\"path\":\"null\",\"type\":\"c\",\"mode\":\"0666\",\"uid\":0,\"gid\":0,\"device\":\"1,3\"}"},
    {{NAME("\xff"), .type = FILES_SYMLINK, .mode = 0777, LINK("\xfe")},
     "{\"path\":\"\\ufffd\",\"path_escaped\":\"\\\\377\",\"type\":\"l\",\"mode\":\"0777\",\"uid\":0,\"gid\":0,"
     "\"link\":\"\\ufffd\",\"link_escaped\":\"\\\\376\"}"},
};

static void each_kind_has_its_members(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = squeezed(printed(&cases[i].entry));

		assert_string_equal(text, cases[i].json);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_kind_has_its_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
