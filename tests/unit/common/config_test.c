#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
	const char *name, *secret, *url, *home;
	int64_t number, duration;
	bool flag;
	struct config_list list, two;
	const struct config_node *tree;
};

#define AT(field) offsetof(struct settings, field)

static const struct config_option options[] = {
    {"name", CONFIG_TEXT, AT(name), "nobody", .help = "Who it is."},
    {"secret", CONFIG_TEXT, AT(secret), .secret = true, .help = "What nobody else may know."},
    {"database.url", CONFIG_TEXT, AT(url), .secret = true},
    {"catalog.number", CONFIG_NUMBER, AT(number), "7", .least = -5, .most = 100},
    {"catalog.duration", CONFIG_DURATION, AT(duration), "90s", .least = 0, .most = 86400000},
    {"catalog.flag", CONFIG_FLAG, AT(flag)},
    {"lists.one", CONFIG_LIST, AT(list), "[a, b]"},
    {"lists.two", CONFIG_LIST, AT(two)},
    {"home", CONFIG_TEXT, AT(home), "${STOWAGE_TEST_HOME:-/nowhere}/x"},
    {"catalog.tree", CONFIG_TREE, AT(tree)},
    {"theirs", CONFIG_REFUSED, .default_value = "usual", .help = "write name."},
    {"lists.old", CONFIG_REFUSED, .help = "write lists.one."},
    CONFIG_END,
};

static char directory[] = "/tmp/stowage-config-XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink("a.yaml");
	unlink("b.yaml");
	unlink("secret.txt");
	unlink("render.yaml");
	return rmdir(directory);
}

static void write_bytes(const char *name, const char *bytes, size_t len)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static enum err_code load(TALLOC_CTX *ctx, const char *a, const char *b, struct settings *s, struct err *e)
{
	const char *files[] = {"a.yaml", "b.yaml"};

	write_bytes("a.yaml", a, strlen(a));
	if (b)
		write_bytes("b.yaml", b, strlen(b));
	*s = (struct settings){0};
	*e = (struct err){.text = ""};
	return config_load(ctx, files, b ? 2 : 1, options, s, e);
}

static void defaults_stand_where_nothing_is_given(void **state)
{
	static const char *const files[] = {
	    "",
	    "# nothing\n",
	    "---\n",
	    "catalog:\n",
	    "name:\nlists: ~\ndatabase: {url: null}\n",
	    "name: ${NOT_SET:-}\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct err e;

		assert_int_equal(load(ctx, files[i], NULL, &s, &e), ERR_OK);
		assert_string_equal(s.name, "nobody");
		assert_null(s.secret);
		assert_null(s.url);
		assert_int_equal(s.number, 7);
		assert_int_equal(s.duration, 90000);
		assert_false(s.flag);
		assert_int_equal(s.list.count, 2);
		assert_string_equal(s.list.items[1], "b");
		assert_int_equal(s.two.count, 0);
		assert_string_equal(s.home, "/nowhere/x");
		assert_null(s.tree);
	}
}

static void every_type_is_read(void **state)
{
	SCRATCH_CTX(ctx);
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load(ctx,
	                      "name: \"\"\nsecret: s3cret\ndatabase: {url: 'postgresql://x'}\n"
	                      "catalog:\n  number: -5\n  duration: 1500ms\n  flag: yes\n"
	                      "  tree: {deep: [1, 2]}\n"
	                      "lists:\n  one: alone\n  two:\n    - x y\n    - \"z\"\n",
	                      NULL, &s, &e),
	                 ERR_OK);
	assert_string_equal(s.name, "");
	assert_string_equal(s.secret, "s3cret");
	assert_string_equal(s.url, "postgresql://x");
	assert_int_equal(s.number, -5);
	assert_int_equal(s.duration, 1500);
	assert_true(s.flag);
	assert_int_equal(s.list.count, 1);
	assert_string_equal(s.list.items[0], "alone");
	assert_int_equal(s.two.count, 2);
	assert_string_equal(s.two.items[0], "x y");
	assert_non_null(s.tree);
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} cases[] = {
	    {"250ms", 250},
	    {"10s", 10000},
	    {"5m", 300000},
	    {"2h", 7200000},
	    {"1d", 86400000},
	    {"0", 0},
	    {"0s", 0},
	    {"10", -1},
	    {"s", -1},
	    {"1.5s", -1},
	    {"-1s", -1},
	    {"2d", -1},
	    {"1 s", -1},
	    {"1w", -1},
	    {"99999999999999999999s", -1},
	    {"9223372036854775807d", -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct err e;
		char *text = talloc_asprintf(ctx, "catalog: {duration: '%s'}\n", cases[i].text);

		assert_int_equal(load(ctx, text, NULL, &s, &e), cases[i].ms < 0 ? ERR_INVALID : ERR_OK);
		if (cases[i].ms >= 0)
			assert_int_equal(s.duration, cases[i].ms);
	}
}

static void later_files_win_mapping_by_mapping(void **state)
{
	SCRATCH_CTX(ctx);
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load(ctx, "name: first\ncatalog: {number: 1, flag: true}\nlists: {two: [a, b, c]}\n",
	                      "catalog: {number: 2}\nlists: {two: [d]}\nhome: /h\n", &s, &e),
	                 ERR_OK);
	assert_string_equal(s.name, "first");
	assert_int_equal(s.number, 2);
	assert_true(s.flag);
	assert_int_equal(s.two.count, 1);
	assert_string_equal(s.home, "/h");
	/* The place of a mistake is the file that made it. */
	assert_int_equal(load(ctx, "catalog: {number: 1}\n", "\n\ncatalog:\n  number: x\n", &s, &e), ERR_INVALID);
	assert_string_equal(e.text, "b.yaml:4: catalog.number must be a number, not \"x\"");
}

static void variables_are_replaced(void **state)
{
	static const struct {
		const char *text, *value; /* NULL: refused */
	} cases[] = {
	    {"${STOWAGE_TEST_A}", "alpha"},
	    {"<${STOWAGE_TEST_A}-${STOWAGE_TEST_A}>", "<alpha-alpha>"},
	    {"'${STOWAGE_TEST_NONE:-other thing}'", "other thing"},
	    {"${STOWAGE_TEST_A:-other}", "alpha"},
	    {"'${STOWAGE_TEST_EMPTY:-other}'", "other"},
	    {"x${STOWAGE_TEST_EMPTY}y", "xy"},
	    {"$$", "$"},
	    {"$${STOWAGE_TEST_A}", "${STOWAGE_TEST_A}"},
	    {"pa$word$", "pa$word$"},
	    {"${STOWAGE_TEST_INNER}", "${STOWAGE_TEST_A}"}, /* what comes from outside is not looked at again */
	    {"${STOWAGE_TEST_NONE}", NULL},
	    {"${STOWAGE_TEST_A", NULL},
	    {"${}", NULL},
	    {"${A-B}", NULL},
	    {"${A:B}", NULL},
	};

	(void)state;
	setenv("STOWAGE_TEST_A", "alpha", 1);
	setenv("STOWAGE_TEST_EMPTY", "", 1);
	setenv("STOWAGE_TEST_INNER", "${STOWAGE_TEST_A}", 1);
	unsetenv("STOWAGE_TEST_NONE");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct err e;
		char *text = talloc_asprintf(ctx, "name: %s\n", cases[i].text);

		assert_int_equal(load(ctx, text, NULL, &s, &e), cases[i].value ? ERR_OK : ERR_INVALID);
		if (cases[i].value)
			assert_string_equal(s.name, cases[i].value);
		else
			assert_ptr_equal(strstr(e.text, "a.yaml:1: "), e.text);
	}
}

static void the_sections_of_others_are_theirs(void **state)
{
	SCRATCH_CTX(ctx);
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load(ctx, "archive_manager:\n  what: ${STOWAGE_TEST_NONE}\nobject_store: 5\n", NULL, &s, &e),
	                 ERR_OK);
}

static void mistakes_are_named_with_their_place(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"nme: x\n", "a.yaml:1: unknown key nme"},
	    {"\n\ncatalog:\n  number: 1\n  nmber: 2\n", "a.yaml:5: unknown key catalog.nmber"},
	    {"catalog.number: 3\n", "a.yaml:1: unknown key catalog.number"},
	    {"catalog: 3\n", "a.yaml:1: catalog must be a section of its own"},
	    {"catalog: [3]\n", "a.yaml:1: catalog must be a section of its own"},
	    {"name: [x]\n", "a.yaml:1: name must be a single value"},
	    {"name: {x: y}\n", "a.yaml:1: name must be a single value"},
	    {"name: a\nname: b\n", "a.yaml:2: name stands here a second time"},
	    {"catalog:\n  number: 101\n", "a.yaml:2: catalog.number must be from -5 to 100, not \"101\""},
	    {"catalog:\n  number: 0x10\n", "a.yaml:2: catalog.number must be a number, not \"0x10\""},
	    {"catalog:\n  number: ' 1'\n", "a.yaml:2: catalog.number must be a number, not \" 1\""},
	    {"catalog:\n  duration: 25h\n", "a.yaml:2: catalog.duration must be from 0s to 1d, not \"25h\""},
	    {"catalog:\n  flag: maybe\n", "a.yaml:2: catalog.flag must be true or false, not \"maybe\""},
	    {"lists:\n  one: {a: b}\n", "a.yaml:2: lists.one must be a list of words"},
	    {"lists:\n  one: [[a]]\n", "a.yaml:2: lists.one must be a list of words"},
	    {"database:\n  url: [geheim]\n", "a.yaml:2: database.url must be a single value"},
	    {"secret: a\nsecret_file: b\n", "a.yaml:2: secret and secret_file are both given"},
	    {"name_file: b\n", "a.yaml:1: unknown key name_file"},
	    {"name: 'a\n", "a.yaml:2: found unexpected end of stream"},
	    {"name: a\n---\nname: b\n", "a.yaml:2: a second document"},
	    {"- a\n", "a.yaml:1: a configuration file is a mapping"},
	    {"word\n", "a.yaml:1: a configuration file is a mapping"},
	    {"? [a]\n: b\n", "a.yaml:1: a key must be a word"},
	    {"name: \"a\\0b\"\n", "a.yaml:1: a NUL character in a value"},
	    {"name: \xff\n", "a.yaml:1: invalid leading UTF-8 octet"},
	    {"name: *nothing\n", "a.yaml:1: found undefined alias"},
	    {"theirs: x\n", "a.yaml:1: theirs is no key of this program: write name."},
	    {"theirs: {usual: usual}\n", "a.yaml:1: theirs is no key of this program: write name."},
	    {"lists:\n  old: ''\n", "a.yaml:2: lists.old is no key of this program: write lists.one."},
	    {"services: {catalog: {object_store: {}}}\n", "a.yaml:1: unknown key services: object_store and "
	                                                  "analysis_archive stand at the top of the file, not below "
	                                                  "services.catalog"},
	    {"archive: {}\n", "a.yaml:1: unknown key archive: the section is called object_store"},
	    {"catalog:\n  archive: 1\n", "a.yaml:2: unknown key catalog.archive"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct err e;

		assert_int_equal(load(ctx, cases[i].text, NULL, &s, &e), ERR_INVALID);
		assert_string_equal(e.text, cases[i].error);
	}
}

static void a_refused_key_may_say_what_happens_anyway(void **state)
{
	static const char *const texts[] = {"theirs: usual\n", "theirs: Usual\n", "theirs: null\nlists: {old: ~}\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct err e;

		assert_int_equal(load(ctx, texts[i], NULL, &s, &e), ERR_OK);
		assert_string_equal(s.name, "nobody");
	}
}

static void what_is_too_much_is_refused(void **state)
{
	SCRATCH_CTX(ctx);
	struct settings s;
	struct err e;
	CLEANUP(buf_release) struct buf text;

	(void)state;
	buf_init(&text, 4 * MIB);
	/* Each line of aliases doubles what stands in the one before. */
	buf_add_text(&text, "catalog:\n  tree:\n    a0: &a0 [x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 30; i++)
		buf_add_format(&text, "    a%d: &a%d [*a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1);
	assert_int_equal(load(ctx, text.bytes, NULL, &s, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "more than"));

	assert_int_equal(load(ctx, "catalog:\n  tree: &a [*a]\n", NULL, &s, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "more than 32 levels"));

	buf_reset(&text);
	buf_add_text(&text, "catalog: {tree: ");
	for (int i = 0; i < 5000; i++)
		buf_add_char(&text, '[');
	assert_int_equal(load(ctx, text.bytes, NULL, &s, &e), ERR_INVALID);

	buf_reset(&text);
	while (text.len <= MIB)
		buf_add_text(&text, "# a long comment that says nothing at all, over and over\n");
	assert_int_equal(load(ctx, text.bytes, NULL, &s, &e), ERR_INVALID);
	assert_string_equal(e.text, "a.yaml is larger than 1048576 bytes");

	setenv("STOWAGE_TEST_LONG", text.bytes, 1);
	assert_int_equal(load(ctx, "name: ${STOWAGE_TEST_LONG}\n", NULL, &s, &e), ERR_INVALID);
	unsetenv("STOWAGE_TEST_LONG");
}

static void a_missing_file_is_not_found(void **state)
{
	static const char *const none[] = {"none.yaml"}, *const dir[] = {"."};
	SCRATCH_CTX(ctx);
	struct settings s = {0};
	struct err e;

	(void)state;
	assert_int_equal(config_load(ctx, none, 1, options, &s, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "none.yaml"));
	assert_int_not_equal(config_load(ctx, dir, 1, options, &s, &e), ERR_OK);
}

static void a_secret_may_stand_in_a_file(void **state)
{
	SCRATCH_CTX(ctx);
	struct settings s;
	struct err e;

	(void)state;
	write_bytes("secret.txt", "from file $$ ${X}\n", 18);
	assert_int_equal(load(ctx, "secret_file: secret.txt\n", NULL, &s, &e), ERR_OK);
	assert_string_equal(s.secret, "from file $$ ${X}");
	assert_int_equal(load(ctx, "database: {url_file: ./secret.txt}\n", NULL, &s, &e), ERR_OK);
	assert_string_equal(s.url, "from file $$ ${X}");
	assert_int_equal(load(ctx, "secret_file: no.txt\n", NULL, &s, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "a.yaml:1: secret_file: no.txt: No such file or directory");
	write_bytes("secret.txt", "a\0b", 3);
	assert_int_equal(load(ctx, "secret_file: secret.txt\n", NULL, &s, &e), ERR_INVALID);
}

static void what_is_required_must_be_given(void **state)
{
	static const struct config_option required[] = {
	    {"cluster_secret", CONFIG_TEXT, AT(secret), .required = true, .secret = true},
	    {"endpoints.x", CONFIG_LIST, AT(list), .required = true},
	    {"number", CONFIG_NUMBER, AT(number), .required = true},
	    CONFIG_END,
	};
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"cluster_secret: a\nendpoints: {x: b}\nnumber: 0\n", NULL},
	    {"endpoints: {x: b}\nnumber: 1\n", "a.yaml: cluster_secret is required"},
	    {"cluster_secret: ''\nendpoints: {x: b}\nnumber: 1\n", "a.yaml: cluster_secret is required"},
	    {"cluster_secret: a\nendpoints: {x: []}\nnumber: 1\n", "a.yaml: endpoints.x is required"},
	    {"cluster_secret: a\nendpoints: {x: b}\n", "a.yaml: number is required"},
	};
	static const char *const files[] = {"a.yaml"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct settings s = {0};
		struct err e = {0};

		write_bytes("a.yaml", cases[i].text, strlen(cases[i].text));
		assert_int_equal(config_load(ctx, files, 1, required, &s, &e), cases[i].error ? ERR_INVALID : ERR_OK);
		assert_string_equal(e.text, cases[i].error ? cases[i].error : "");
	}
}

struct inner {
	int64_t port;
	const char *key;
	const struct config_node *config;
};

static const struct config_option inner_options[] = {
    {"port", CONFIG_NUMBER, offsetof(struct inner, port), "80"},
    {"driver.key", CONFIG_TEXT, offsetof(struct inner, key), .secret = true},
    {"driver.config", CONFIG_TREE, offsetof(struct inner, config)},
    CONFIG_END,
};

static void a_subtree_is_read_with_a_table_of_its_own(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"catalog:\n  tree: {port: 81, driver: {key: '${STOWAGE_TEST_A}', config: {any: thing}}}\n", NULL},
	    {"catalog:\n  tree:\n    prt: 81\n", "a.yaml:3: unknown key prt"},
	    {"catalog:\n  tree:\n    object_store: 81\n", "a.yaml:3: unknown key object_store"},
	    {"catalog:\n  tree: [81]\n", "a.yaml:2: this must be a section of its own"},
	};

	(void)state;
	setenv("STOWAGE_TEST_A", "alpha", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct settings s;
		struct inner inner = {0};
		struct err e;

		assert_int_equal(load(ctx, cases[i].text, NULL, &s, &e), ERR_OK);
		assert_int_equal(config_read_tree(ctx, s.tree, inner_options, &inner, &e),
		                 cases[i].error ? ERR_INVALID : ERR_OK);
		assert_string_equal(e.text, cases[i].error ? cases[i].error : "");
		if (cases[i].error)
			continue;
		assert_int_equal(inner.port, 81);
		assert_string_equal(inner.key, "alpha");
		assert_string_equal(config_place(ctx, inner.config), "a.yaml:2");
		assert_int_equal(config_read_tree(ctx, NULL, inner_options, &inner, &e), ERR_OK);
		assert_int_equal(inner.port, 80);
	}
}

static void what_is_printed_can_be_read_again(void **state)
{
	static const char *const hard = "a\"b\\c $HOME ${X} \xc3\xbc\n#:{}";
	SCRATCH_CTX(ctx);
	struct settings s = {.name = hard,
	                     .number = -3,
	                     .duration = 90000,
	                     .flag = true,
	                     .secret = "geheim",
	                     .url = "postgresql://u:geheim@h",
	                     .list = {(const char *[]){"yes", "$$"}, 2}};
	struct settings again, with_tree;
	struct err e;
	CLEANUP(buf_release) struct buf text;

	(void)state;
	buf_init(&text, MIB);
	assert_int_equal(load(ctx,
	                      "catalog:\n  tree:\n    - access_key: geheim\n      url: ${STOWAGE_TEST_NONE}\n"
	                      "      passwords: [geheim]\n      keys: 'a:geheim'\n    - 'quo\"ted'\n    - {}\n",
	                      NULL, &with_tree, &e),
	                 ERR_OK);
	s.tree = with_tree.tree;
	config_print(options, &s, &text);
	assert_false(buf_failed(&text));
	assert_null(strstr(text.bytes, "geheim"));
	assert_non_null(strstr(text.bytes, "${STOWAGE_TEST_NONE}"));
	assert_int_equal(load(ctx, text.bytes, NULL, &again, &e), ERR_OK);
	assert_string_equal(again.name, hard);
	assert_string_equal(again.secret, "********");
	assert_int_equal(again.number, -3);
	assert_int_equal(again.duration, 90000);
	assert_true(again.flag);
	assert_int_equal(again.list.count, 2);
	assert_string_equal(again.list.items[0], "yes");
	assert_string_equal(again.list.items[1], "$$");
	assert_int_equal(again.two.count, 0);
	assert_non_null(again.tree);
}

static void a_subtree_that_was_rendered_has_the_same_values(void **state)
{
	static const struct config_option with_tree[] = {{.path = "tree", .type = CONFIG_TREE}, CONFIG_END};
	static const struct config_option inside[] = {
	    {.path = "password", .type = CONFIG_TEXT, .offset = offsetof(struct settings, name)},
	    {.path = "deep.number", .type = CONFIG_NUMBER, .offset = offsetof(struct settings, number)},
	    {.path = "list", .type = CONFIG_LIST, .offset = offsetof(struct settings, list)},
	    {.path = "none", .type = CONFIG_TEXT, .offset = offsetof(struct settings, secret)},
	    CONFIG_END,
	};
	SCRATCH_CTX(ctx);
	const struct config_node *tree = NULL, *again;
	struct settings s = {0};
	struct err e = {0};
	char *text;
	FILE *file;
	const char *path = talloc_asprintf(ctx, "%s/render.yaml", directory);

	(void)state;
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs("tree:\n  password: 'a\"b$$$${x}${STOWAGE_TEST_RENDER}'\n  deep: {number: 42}\n"
	                  "  list: [one, 'two: 2']\n  none: ~\n",
	                  file) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(setenv("STOWAGE_TEST_RENDER", "v$1", 1), 0);
	assert_int_equal(config_load(ctx, &path, 1, with_tree, &tree, &e), ERR_OK);
	assert_int_equal(config_render(ctx, tree, &text, &e), ERR_OK);
	assert_int_equal(unsetenv("STOWAGE_TEST_RENDER"), 0);
	assert_int_equal(config_from_text(ctx, "kept", text, &again, &e), ERR_OK);
	assert_int_equal(config_read_tree(ctx, again, inside, &s, &e), ERR_OK);
	assert_string_equal(s.name, "a\"b$${x}v$1");
	assert_int_equal(s.number, 42);
	assert_int_equal(s.list.count, 2);
	assert_string_equal(s.list.items[1], "two: 2");
	assert_null(s.secret);

	assert_int_equal(config_render(ctx, NULL, &text, &e), ERR_OK);
	assert_int_equal(config_from_text(ctx, "kept", text, &again, &e), ERR_OK);
	assert_null(again);
	assert_int_equal(config_from_text(ctx, "kept", "{", &again, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "kept:"));
	/* A variable that is not there any more is an error now, not when the text is read. */
	assert_int_equal(config_render(ctx, tree, &text, &e), ERR_INVALID);
}

static void the_description_names_every_option(void **state)
{
	CLEANUP(buf_release) struct buf text;

	(void)state;
	buf_init(&text, MIB);
	config_describe(options, &text);
	assert_non_null(strstr(text.bytes, "  name (text, default nobody)\n      Who it is.\n"));
	assert_non_null(strstr(text.bytes, "  secret (text, secret)\n"));
	assert_non_null(strstr(text.bytes, "  catalog.number (number, -5 to 100, default 7)\n"));
	assert_non_null(strstr(text.bytes, "  catalog.duration (duration, 0s to 1d, default 90s)\n"));
	assert_non_null(strstr(text.bytes, "  catalog.tree (section)\n"));
	assert_null(strstr(text.bytes, "theirs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_stand_where_nothing_is_given),
	    cmocka_unit_test(every_type_is_read),
	    cmocka_unit_test(durations_have_units),
	    cmocka_unit_test(later_files_win_mapping_by_mapping),
	    cmocka_unit_test(variables_are_replaced),
	    cmocka_unit_test(the_sections_of_others_are_theirs),
	    cmocka_unit_test(mistakes_are_named_with_their_place),
	    cmocka_unit_test(a_refused_key_may_say_what_happens_anyway),
	    cmocka_unit_test(what_is_too_much_is_refused),
	    cmocka_unit_test(a_missing_file_is_not_found),
	    cmocka_unit_test(a_secret_may_stand_in_a_file),
	    cmocka_unit_test(what_is_required_must_be_given),
	    cmocka_unit_test(a_subtree_is_read_with_a_table_of_its_own),
	    cmocka_unit_test(what_is_printed_can_be_read_again),
	    cmocka_unit_test(a_subtree_that_was_rendered_has_the_same_values),
	    cmocka_unit_test(the_description_names_every_option),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
