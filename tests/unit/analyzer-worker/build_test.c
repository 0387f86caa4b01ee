#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/parser/build.h"

#include <stdio.h>
#include <string.h>

static void names_are_normalised(void **state)
{
	static const struct {
		const char *raw, *path; /* NULL: refused */
	} cases[] = {
	    {"a", "a"},
	    {"./a", "a"},
	    {"/a", "a"},
	    {"//a//b/", "a/b"},
	    {"a/./b/.", "a/b"},
	    {"./", "."},
	    {".", "."},
	    {"/", "."},
	    {"a/../b", "b"},
	    {"a/..", "."},
	    {"..", NULL},
	    {"../a", NULL},
	    {"a/../../b", NULL},
	    {"/..", NULL},
	    {"", NULL},
	    {"...", "..."},
	    {"..a/b..", "..a/b.."},
	    {"\xff\n", "\xff\n"},
	    {"a\\..\\b", "a\\..\\b"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct name name;
		struct err e;
		enum err_code code = name_normalise(cases[i].raw, strlen(cases[i].raw), &name, &e);

		assert_int_equal(code, cases[i].path ? ERR_OK : ERR_INVALID);
		if (cases[i].path) {
			assert_string_equal(name.path, cases[i].path);
			assert_int_equal(name.len, strlen(cases[i].path));
		}
	}
}

static void long_names_are_refused_and_not_cut(void **state)
{
	static char raw[2 * FILES_PATH_MAX];
	struct name name;
	struct err e;

	(void)state;
	memset(raw, 'a', sizeof(raw));
	assert_int_equal(name_normalise(raw, FILES_PATH_MAX, &name, &e), ERR_OK);
	assert_int_equal(name.len, FILES_PATH_MAX);
	assert_int_equal(name_normalise(raw, FILES_PATH_MAX + 1, &name, &e), ERR_INVALID);
	memset(raw, '/', FILES_PATH_MAX);
	assert_int_equal(name_normalise(raw, FILES_PATH_MAX + 5, &name, &e), ERR_OK);
	assert_string_equal(name.path, "aaaaa");
	assert_int_equal(name_normalise("a\0b", 3, &name, &e), ERR_INVALID);
}

static void whiteouts_are_told_by_their_names(void **state)
{
	static const struct {
		const char *raw;
		int kind; /* -1: refused */
		const char *path;
	} cases[] = {
	    {"a", NAME_ENTRY, "a"},
	    {".wh.a", NAME_WHITEOUT, "a"},
	    {"d/.wh.a", NAME_WHITEOUT, "d/a"},
	    {"d/.wh..a", NAME_WHITEOUT, "d/.a"},
	    {"d/.wh.a/", NAME_WHITEOUT, "d/a"},
	    {"d/.wh.a/b", NAME_ENTRY, "d/.wh.a/b"},
	    {"d/.wh", NAME_ENTRY, "d/.wh"},
	    {"d/x.wh.a", NAME_ENTRY, "d/x.wh.a"},
	    {".wh..wh..opq", NAME_OPAQUE, "."},
	    {"d/e/.wh..wh..opq", NAME_OPAQUE, "d/e"},
	    {"d/.wh..wh..opqx", NAME_IGNORED, NULL},
	    {".wh..wh.aufs", NAME_IGNORED, NULL},
	    {".wh..wh.plnk/1.2", NAME_IGNORED, NULL},
	    {".wh..wh.orph", NAME_IGNORED, NULL},
	    {".wh.", -1, NULL},
	    {"d/.wh.", -1, NULL},
	    {"d/.wh..", -1, NULL},
	    {"d/.wh...", -1, NULL},
	    {"d/.wh....", NAME_WHITEOUT, "d/..."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct name name;
		enum name_kind kind;
		struct err e;
		enum err_code code;

		assert_int_equal(name_normalise(cases[i].raw, strlen(cases[i].raw), &name, &e), ERR_OK);
		code = name_classify(&name, &kind, &e);
		assert_int_equal(code, cases[i].kind < 0 ? ERR_INVALID : ERR_OK);
		if (code == ERR_OK)
			assert_int_equal(kind, cases[i].kind);
		if (cases[i].path)
			assert_string_equal(name.path, cases[i].path);
	}
}

/*
 * The entries of a tar, in words: type and name, for links "-> target", for others a size that tells one from another.
 * What comes out: the lines of the files document, without their attributes but for size and link; or the error.
 */
struct layer_case {
	const char *name, *tar, *document, *error;
};

static const struct layer_case cases[] = {
    {"nothing", "", "", NULL},
    {"order of the tar does not matter", "d b;d a;f a-b 1;f a/x 2", "a d\na/x f 2\na-b f 1\nb d\n", NULL},
    {"the later of two counts", "f a 1;f a 2", "a f 2\n", NULL},
    {"directories that are missing are implied", "f a/b/c 1;d d/e",
     "a d implied\na/b d implied\na/b/c f 1\nd d implied\nd/e d\n", NULL},
    {"a whiteout implies nothing", "w a/b;o c/d", "a/b w\nc/d o\n", NULL},
    {"whiteout and entry and opaque of one path", "d a;o a;w a", "a w\na d\na o\n", NULL},
    {"the root", "d .;o .;f a 1", ". d\n. o\na f 1\n", NULL},
    {"the root is a directory", "f . 1", NULL, "the root is not a directory"},
    {"a file removes what was below", "d a;f a/x 1;f a 2", "a f 2\n", NULL},
    {"and a directory after that hides the lower layers'", "d a;f a/x 1;f a 2;d a;f a/y 3", "a d\na o\na/y f 3\n",
     NULL},
    {"a link removes what was below", "d a;d a/b;f a/b/x 1;l a -> z", "a l z\n", NULL},
    {"only what came before", "d a;f a/x 1;f a 2;d a;f a/x 3", "a d\na o\na/x f 3\n", NULL},
    {"an entry below a file", "f a 1;f a/b 2", NULL, "\"a/b\" is below \"a\", which is not a directory"},
    {"an entry deep below a file", "d q;f q/a 1;f q/a/b/c/d 2", NULL,
     "\"q/a/b/c/d\" is below \"q/a\", which is not a directory"},
    {"a hard link is its target", "f a 7;h b -> a", "a f 7\nb f 7\n", NULL},
    {"a hard link sorted before its target", "f m 7;h a -> m;h z -> m", "a f 7\nm f 7\nz f 7\n", NULL},
    {"a hard link keeps what its target was", "f a 7;h b -> a;f a 8;h c -> a", "a f 8\nb f 7\nc f 8\n", NULL},
    {"a hard link to a symbolic link", "l a -> q;h b -> a", "a l q\nb l q\n", NULL},
    {"hard links in a chain", "f a 7;h b -> a;h c -> b;h d -> c", "a f 7\nb f 7\nc f 7\nd f 7\n", NULL},
    {"a chain whose middle is replaced", "f a 7;h b -> a;f b 8;h c -> b", "a f 7\nb f 8\nc f 8\n", NULL},
    {"a chain that is read before its middle is replaced", "f a 7;h b -> a;h c -> b;f b 8", "a f 7\nb f 8\nc f 7\n",
     NULL},
    {"a hard link to a lower layer's file", "h b -> a", "b h a\n", NULL},
    {"a target that comes later is a lower layer's", "h b -> a;f a 7", "a f 7\nb h a\n", NULL},
    {"a chain to a lower layer's file", "h b -> a;h c -> b", "b h a\nc h a\n", NULL},
    {"a hard link to itself", "h a -> a", NULL, "it is a hard link to itself"},
    {"a hard link to a directory", "d a;h b -> a", NULL, "there is a hard link to \"a\", which is a directory"},
    {"a hard link replaced", "f a 7;h b -> a;d b", "a f 7\nb d\nb o\n", NULL},
    {"through a symbolic link", "d usr;d usr/lib;l lib -> usr/lib;f lib/x 1",
     "lib l usr/lib\nusr d\nusr/lib d\nusr/lib/x f 1\n", NULL},
    {"through an absolute link and one upward", "l q/a -> /r;l r/b -> ../s/./t;f q/a/b/x 1",
     "q d implied\nq/a l /r\nr d implied\nr/b l ../s/./t\ns d implied\ns/t d implied\ns/t/x f 1\n", NULL},
    {"a link above the root", "l a -> ../../b;f a/x 1", "a l ../../b\nb d implied\nb/x f 1\n", NULL},
    {"the link itself is not followed", "l a -> b;f a 1", "a f 1\n", NULL},
    {"a replaced link is not followed", "l a -> b;d a;f a/x 1", "a d\na o\na/x f 1\n", NULL},
    {"a hard link's target through a link", "l a -> b;f b/x 7;h c -> a/x", "a l b\nb d implied\nb/x f 7\nc f 7\n",
     NULL},
    {"links in a circle", "l a -> b;l b -> a;f a/x 1", NULL, "its directory's symbolic links go in a circle"},
    {"a link that grows", "l a -> a/a/a;f a/x 1", NULL, "its directory's symbolic links go in a circle"},
};

struct room {
	FILE *file;
	struct spill spill;
	struct layer_limits limits;
	struct build *build;
};

static void room_init(struct room *r, TALLOC_CTX *ctx)
{
	r->file = tmpfile();
	assert_non_null(r->file);
	r->spill = (struct spill){.fd = fileno(r->file), .max = GIB};
	r->limits = layer_limits_default;
	r->build = build_new(ctx, &r->spill, &r->limits, 64 * KIB);
}

static enum err_code add_words(struct room *r, const char *words, struct err *e)
{
	char type, path[64], rest[64] = "", target[64] = "";
	struct files_entry entry = {0};
	struct name name, link;
	unsigned size = 0;

	assert_true(sscanf(words, "%c %63s %63[^;]", &type, path, rest) >= 2);
	path[strcspn(path, ";")] = '\0';
	if (sscanf(rest, "-> %63[^;]", target) < 1)
		sscanf(rest, "%u", &size);
	TRY(name_normalise(path, strlen(path), &name, e));
	TRY(build_follow(r->build, &name, e));
	entry = (struct files_entry){.path = name.path, .path_len = name.len, .type = (enum files_type)type};
	if (type == 'f')
		entry.size = size;
	if (type == 'l') {
		entry.link = target;
		entry.link_len = strlen(target);
	}
	if (type == 'h') {
		TRY(name_normalise(target, strlen(target), &link, e));
		TRY(build_follow(r->build, &link, e));
		entry.link = link.path;
		entry.link_len = link.len;
	}
	return build_add(r->build, &entry, NULL, 0, e);
}

static enum err_code append(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)e;
	buf_add(arg, bytes, len);
	return ERR_OK;
}

static enum err_code build_words(struct room *r, const char *words, struct buf *files, struct err *e)
{
	CLEANUP(buf_release) struct buf summary;
	struct summary_counts counts;

	buf_init(&summary, MIB);
	for (const char *at = words; *at; at += strcspn(at, ";"), at += *at == ';')
		TRY(add_words(r, at, e));
	return build_write(r->build, append, files, append, &summary, &counts, e);
}

/* The document's lines as the cases have them. */
static void shorten(struct buf *files, struct buf *out)
{
	struct files_memory memory = {.bytes = files->bytes, .len = files->len};
	struct files_source source = files_memory_source(&memory);
	const struct files_entry *entry;
	SCRATCH_CTX(ctx);
	struct files_reader *reader = files_reader_new(ctx, &source);
	struct err e;

	for (;;) {
		if (files_reader_next(reader, &entry, &e) != ERR_OK)
			fail_msg("%s", e.text);
		if (!entry)
			return;
		buf_add_format(out, "%s %c", entry->path, (char)entry->type);
		if (entry->type == FILES_REGULAR)
			buf_add_format(out, " %u", (unsigned)entry->size);
		buf_add_format(out, "%s%s%s\n", entry->link ? " " : "", entry->link ? entry->link : "",
		               entry->implied ? " implied" : "");
	}
}

static void layers_become_what_unpacking_would_leave(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf files, lines;
		struct room room;
		enum err_code code;
		struct err e;

		buf_init(&files, MIB);
		buf_init(&lines, MIB);
		buf_add_text(&lines, "");
		room_init(&room, ctx);
		code = build_words(&room, cases[i].tar, &files, &e);
		fclose(room.file);
		if (cases[i].error) {
			if (code != ERR_INVALID || strcmp(e.text, cases[i].error) != 0)
				fail_msg("%s: %s %s", cases[i].name, err_name(code), code == ERR_OK ? "" : e.text);
			continue;
		}
		if (code != ERR_OK)
			fail_msg("%s: %s", cases[i].name, e.text);
		shorten(&files, &lines);
		if (strcmp(lines.bytes, cases[i].document) != 0)
			fail_msg("%s: the document has\n%sinstead of\n%s", cases[i].name, lines.bytes,
			         cases[i].document);
	}
}

/* The words with each # replaced by 0, 1, ... count - 1. */
static enum err_code add_many(struct room *r, unsigned count, const char *words, struct err *e)
{
	for (unsigned i = 0; i < count; i++) {
		CLEANUP(buf_release) struct buf numbered;

		buf_init(&numbered, 256);
		for (const char *at = words; *at; at++) {
			if (*at == '#')
				buf_add_format(&numbered, "%u", i);
			else
				buf_add_char(&numbered, *at);
		}
		TRY(add_words(r, numbered.bytes, e));
	}
	return ERR_OK;
}

static void limits_name_themselves(void **state)
{
	static const struct {
		const char *words, *error;
		struct layer_limits limits;
	} limited[] = {
	    {"f a# 1", "more than 100 entries", {.entries = 100, .links = 1000}},
	    {"l a# -> b", "more than 100 links", {.entries = 1000, .links = 100}},
	    {"h a# -> b#", "more than 100 links", {.entries = 1000, .links = 100}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
		SCRATCH_CTX(ctx);
		struct room room;
		struct err e;
		room_init(&room, ctx);
		room.limits = limited[i].limits;
		talloc_free(room.build);
		room.build = build_new(ctx, &room.spill, &room.limits, 64 * KIB);
		assert_int_equal(add_many(&room, 200, limited[i].words, &e), ERR_TOO_LARGE);
		if (!strstr(e.text, limited[i].error))
			fail_msg("%s", e.text);
		fclose(room.file);
	}
}

static void many_links_and_implied_directories_keep_their_order(void **state)
{
	enum { COUNT = 3000 };
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf files, summary, lines;
	struct summary_counts counts;
	struct room room;
	struct err e;

	(void)state;
	buf_init(&files, 16 * MIB);
	buf_init(&lines, 16 * MIB);
	buf_init(&summary, MIB);
	room_init(&room, ctx);
	assert_int_equal(add_many(&room, COUNT, "f m/#/#/x 5", &e), ERR_OK);
	assert_int_equal(add_many(&room, COUNT, "h a/#/y -> m/#/#/x", &e), ERR_OK);
	assert_int_equal(add_many(&room, COUNT, "h z# -> a/#/y", &e), ERR_OK);
	assert_int_equal(build_write(room.build, append, &files, append, &summary, &counts, &e), ERR_OK);
	/* Files, links and links to links; m, m/N, m/N/N, a, a/N are implied. */
	assert_int_equal(counts.entries, 3 * COUNT + 2 + 3 * COUNT);
	assert_int_equal(counts.lower_links, 0);
	assert_int_equal(counts.bytes, 5 * COUNT);
	shorten(&files, &lines);
	assert_non_null(strstr(lines.bytes, "\na/2999/y f 5\n"));
	assert_non_null(strstr(lines.bytes, "\nz2999 f 5\n"));
	assert_non_null(strstr(lines.bytes, "\nm/7 d implied\nm/7/7 d implied\nm/7/7/x f 5\n"));
	fclose(room.file);
}

static void notes_of_what_survives_are_printed(void **state)
{
	static const struct {
		const char *path, *note;
	} entries[] = {
	    {"b/package.json", "{\"unparsed\":\"b\",\"cataloger\":\"npm\",\"evidence\":\"b/package.json\"}\n"},
	    {"a/package.json", "{\"unparsed\":\"a1\",\"cataloger\":\"npm\",\"evidence\":\"a/package.json\"}\n"},
	    {"a/package.json", "{\"unparsed\":\"a2\",\"cataloger\":\"npm\",\"evidence\":\"a/package.json\"}\n"},
	    {"other", NULL},
	};
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf files, summary;
	struct summary_counts counts;
	struct room room;
	struct err e;

	(void)state;
	buf_init(&files, MIB);
	buf_init(&summary, MIB);
	room_init(&room, ctx);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct files_entry entry = {
		    .path = entries[i].path, .path_len = strlen(entries[i].path), .type = FILES_REGULAR};

		assert_int_equal(
		    build_add(room.build, &entry, entries[i].note, entries[i].note ? strlen(entries[i].note) : 0, &e),
		    ERR_OK);
	}
	assert_int_equal(add_words(&room, "h c/package.json -> b/package.json", &e), ERR_OK);
	assert_int_equal(add_words(&room, "h d/package.json -> other", &e), ERR_OK);
	assert_int_equal(add_words(&room, "h e/package.json -> lower", &e), ERR_OK);
	assert_int_equal(add_words(&room, "h c/other -> b/package.json", &e), ERR_OK);
	assert_int_equal(build_write(room.build, append, &files, append, &summary, &counts, &e), ERR_OK);
	assert_string_equal(
	    summary.bytes,
	    "{\"unparsed\":\"a2\",\"cataloger\":\"npm\",\"evidence\":\"a/package.json\"}\n"
	    "{\"unparsed\":\"b\",\"cataloger\":\"npm\",\"evidence\":\"b/package.json\"}\n"
	    "{\"unparsed\":\"b\",\"cataloger\":\"npm\",\"evidence\":\"c/package.json\"}\n"
	    "{\"unparsed\":\"it is a hard link to other, which no cataloger reads under that name\","
	    "\"cataloger\":\"npm\",\"evidence\":\"d/package.json\"}\n"
	    "{\"unparsed\":\"it is a hard link to lower of a lower layer, whose content is not read again\","
	    "\"cataloger\":\"npm\","
	    "\"evidence\":\"e/package.json\"}\n");
	assert_int_equal(counts.lower_links, 1);
	fclose(room.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_normalised),
	    cmocka_unit_test(long_names_are_refused_and_not_cut),
	    cmocka_unit_test(whiteouts_are_told_by_their_names),
	    cmocka_unit_test(layers_become_what_unpacking_would_leave),
	    cmocka_unit_test(limits_name_themselves),
	    cmocka_unit_test(many_links_and_implied_directories_keep_their_order),
	    cmocka_unit_test(notes_of_what_survives_are_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
