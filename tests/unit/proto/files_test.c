#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/files.h"

#include <string.h>

#define DIGEST_A "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static enum err_code append(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)e;
	buf_add(arg, bytes, len);
	return ERR_OK;
}

/* Gives a document in pieces of a few bytes, to cross every border. */
struct dribble {
	struct files_memory memory;
	size_t piece;
};

static enum err_code dribble_read(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	struct dribble *d = arg;
	struct files_source source = files_memory_source(&d->memory);

	return source.read(source.arg, into, MIN(size, d->piece), got, e);
}

static enum err_code dribble_rewind(void *arg, struct err *e)
{
	(void)e;
	((struct dribble *)arg)->memory.at = 0;
	return ERR_OK;
}

static enum err_code read_all(const char *text, size_t len, size_t piece, size_t *lines, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct dribble d = {.memory = {.bytes = text, .len = len}, .piece = piece};
	struct files_source source = {.read = dribble_read, .rewind = dribble_rewind, .arg = &d};
	struct files_reader *r = files_reader_new(ctx, &source);
	const struct files_entry *entry;

	for (*lines = 0;; ++*lines) {
		TRY(files_reader_next(r, &entry, e));
		if (!entry)
			return ERR_OK;
	}
}

static void paths_sort_by_component(void **state)
{
	static const char *const sorted[] = {
	    ".",    "!",  "-x",  "..a", ".a", "a",  "a/b", "a/b/c",    "a/b-c",
	    "a/bc", "a ", "a-b", "a.b", "a0", "ab", "b",   "\xc3\xa9",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++)
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++)
			assert_int_equal(files_path_compare(sorted[i], strlen(sorted[i]), sorted[j], strlen(sorted[j])),
			                 (i > j) - (i < j));
}

static void below_means_a_longer_path_with_the_same_components(void **state)
{
	static const struct {
		const char *path, *dir;
		bool below;
	} cases[] = {
	    {"a/b", "a", true}, {"a", "a", false},   {"ab", "a", false},  {"a/b/c", "a", true}, {"a", ".", true},
	    {".", ".", false},  {"a", "a/b", false}, {"b/a", "a", false}, {"aa/b", "a", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
		    files_path_below(cases[i].path, strlen(cases[i].path), cases[i].dir, strlen(cases[i].dir)),
		    cases[i].below);
}

static void assert_same(const struct files_entry *a, const struct files_entry *b)
{
	assert_int_equal(a->path_len, b->path_len);
	assert_string_equal(a->path, b->path);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->implied, b->implied);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->size, b->size);
	assert_true(digest_equal(&a->sha256, &b->sha256));
	assert_int_equal(a->link_len, b->link_len);
	assert_int_equal(a->link != NULL, b->link != NULL);
	if (a->link)
		assert_string_equal(a->link, b->link);
	assert_int_equal(a->dev_major, b->dev_major);
	assert_int_equal(a->dev_minor, b->dev_minor);
}

#define PATH(p) .path = (p), .path_len = sizeof(p) - 1
#define LINK(p) .link = (p), .link_len = sizeof(p) - 1

static void entries_come_back_as_they_were_written(void **state)
{
	static char long_path[FILES_PATH_MAX + 1], long_link[FILES_PATH_MAX + 1];
	struct files_entry entries[] = {
	    {PATH("."), .type = FILES_DIRECTORY, .mode = 0755},
	    {PATH("."), .type = FILES_OPAQUE},
	    {PATH("a"), .type = FILES_WHITEOUT},
	    {PATH("a"), .type = FILES_DIRECTORY, .mode = 01777, .uid = 1000, .gid = UINT32_MAX, .implied = true},
	    {PATH("a"), .type = FILES_OPAQUE},
	    {PATH("a/ b\\\n\t\x7f"), .type = FILES_REGULAR, .mode = 04755, .size = UINT64_MAX},
	    {PATH("a/=x link=y"), .type = FILES_SYMLINK, .mode = 0777, .uid = 5, LINK("../x y\xff\xfe")},
	    {PATH("a/c"), .type = FILES_CHAR, .mode = 0666, .dev_major = UINT32_MAX, .dev_minor = 3},
	    {PATH("a/d"), .type = FILES_BLOCK, .mode = 0},
	    {PATH("b"), .type = FILES_FIFO, .mode = 0600, .gid = UINT64_MAX},
	    {PATH("e"), .type = FILES_REGULAR, .mode = 0644},
	    {PATH("end"), .type = FILES_HARDLINK, LINK("usr/\xc3\xa9")},
	    {.path = long_path,
	     .path_len = FILES_PATH_MAX,
	     .type = FILES_SYMLINK,
	     .mode = 0777,
	     .link = long_link,
	     .link_len = FILES_PATH_MAX},
	};
	static const size_t pieces[] = {1, 7, 4096, SIZE_MAX};
	CLEANUP(buf_release) struct buf text;
	SCRATCH_CTX(ctx);
	struct files_writer *w = files_writer_new(ctx, append, &text);
	const struct files_entry *back;
	struct err e;

	(void)state;
	memset(long_path, '\xfe', FILES_PATH_MAX);
	memset(long_link, ' ', FILES_PATH_MAX);
	assert_true(digest_parse_hex(DIGEST_A, 64, &entries[5].sha256));
	assert_true(digest_parse_hex(EMPTY, 64, &entries[10].sha256));
	buf_init(&text, MIB);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		assert_int_equal(files_writer_add(w, &entries[i], &e), ERR_OK);
	assert_int_equal(files_writer_end(w, &e), ERR_OK);
	for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
		struct dribble d = {.memory = {.bytes = text.bytes, .len = text.len}, .piece = pieces[p]};
		struct files_source source = {.read = dribble_read, .rewind = dribble_rewind, .arg = &d};
		struct files_reader *r = files_reader_new(ctx, &source);

		for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
			assert_int_equal(files_reader_next(r, &back, &e), ERR_OK);
			assert_non_null(back);
			assert_same(back, &entries[i]);
		}
		assert_int_equal(files_reader_next(r, &back, &e), ERR_OK);
		assert_null(back);
	}
}

static void lines_look_as_the_header_says(void **state)
{
	CLEANUP(buf_release) struct buf text;
	SCRATCH_CTX(ctx);
	struct files_writer *w = files_writer_new(ctx, append, &text);
	struct files_entry file = {PATH("caf\xc3\xa9 1"), .type = FILES_REGULAR, .mode = 0644, .uid = 1, .size = 4};
	struct err e;

	(void)state;
	buf_init(&text, MIB);
	assert_true(digest_parse_hex(DIGEST_A, 64, &file.sha256));
	assert_int_equal(files_writer_add(w, &file, &e), ERR_OK);
	assert_int_equal(files_writer_end(w, &e), ERR_OK);
	assert_string_equal(text.bytes, "stowage files 1\n"
	                                "caf\\303\\251\\0401 f 644 uid=1 size=4 sha256=" DIGEST_A "\n"
	                                "end 1\n");
}

static void a_document_cut_anywhere_is_corrupt(void **state)
{
	static const char text[] = "stowage files 1\na d 755\na/b f 644\nend 2\n";
	struct err e;
	size_t lines;

	(void)state;
	assert_int_equal(read_all(text, sizeof(text) - 1, 3, &lines, &e), ERR_OK);
	assert_int_equal(lines, 2);
	for (size_t cut = 0; cut < sizeof(text) - 1; cut++)
		assert_int_equal(read_all(text, cut, 3, &lines, &e), ERR_CORRUPT);
}

static void what_is_no_document_is_corrupt(void **state)
{
	static const char *const cases[] = {
	    "stowage files 2\nend 0\n",
	    "stowage files 1\nend 1\n",
	    "stowage files 1\nb d 755\na d 755\nend 2\n",
	    "stowage files 1\na d 755\na f 644\nend 2\n",
	    "stowage files 1\na d 755\na w\nend 2\n",
	    "stowage files 1\na/b d 755\na d 755\nend 2\n",
	    "stowage files 1\na-b d 755\na/b d 755\nend 2\n",
	    "stowage files 1\n d 755\nend 1\n",
	    "stowage files 1\na\nend 1\n",
	    "stowage files 1\na d\nend 1\n",
	    "stowage files 1\na d 9\nend 1\n",
	    "stowage files 1\na d 17777\nend 1\n",
	    "stowage files 1\na d 755 \nend 1\n",
	    "stowage files 1\na x 755\nend 1\n",
	    "stowage files 1\na l\nend 1\n",
	    "stowage files 1\na f 644 link=b\nend 1\n",
	    "stowage files 1\na l link=\nend 1\n",
	    "stowage files 1\na f 644 size=18446744073709551616\nend 1\n",
	    "stowage files 1\na f 644 size=-1\nend 1\n",
	    "stowage files 1\na f 644 sha256=12\nend 1\n",
	    "stowage files 1\na f 644 sha256=9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nend 1\n",
	    "stowage files 1\na f 644 sha256=:f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nend 1\n",
	    "stowage files 1\na f 644 colour=red\nend 1\n",
	    "stowage files 1\na\\ d 755\nend 1\n",
	    "stowage files 1\na\\00 d 755\nend 1\n",
	    "stowage files 1\na\\000 d 755\nend 1\n",
	    "stowage files 1\na\\777 d 755\nend 1\n",
	    "stowage files 1\na c 666 dev=1\nend 1\n",
	    "stowage files 1\na c 666 dev=4294967296,1\nend 1\n",
	};
	static char long_line[64 * 1024] = "stowage files 1\n";
	struct err e;
	size_t lines;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(read_all(cases[i], strlen(cases[i]), 5, &lines, &e), ERR_CORRUPT);
	memset(long_line + 16, 'x', sizeof(long_line) - 17);
	assert_int_equal(read_all(long_line, sizeof(long_line) - 1, SIZE_MAX, &lines, &e), ERR_CORRUPT);
	assert_int_equal(read_all("stowage files 1\na\0b d 755\nend 1\n", 32, 5, &lines, &e), ERR_CORRUPT);
}

/* ---- finding ---- */

/* Sorted; some names need escapes, one looks like the last line. */
static const char *const found_lines[] = {
    "\\040 f 644\n",        "a d 755\n",      "a/b w\n",     "a/b d 755\n", "a/b o\n",        "a/b/\\303\\251 f 644\n",
    "a/c f 644\n",          "a-b l link=x\n", "end d 755\n", "end/5 o\n",   "f\\134 f 644\n", "usr d 755 implied\n",
    "usr/x f 644 size=0\n",
};
static const char *const wanted[] = {".",   "\x01",  " ",   "a", "a/a", "a/b",   "a/b/\xc3\xa9", "a/b/z", "a-b",
                                     "end", "end/5", "f\\", "m", "usr", "usr/x", "usr/y",        "\xff"};

static void make_found_document(struct buf *text)
{
	buf_init(text, MIB);
	buf_add_text(text, "stowage files 1\n");
	for (size_t i = 0; i < ARRAY_SIZE(found_lines); i++)
		buf_add_text(text, found_lines[i]);
	buf_add_format(text, "end %zu\n", ARRAY_SIZE(found_lines));
}

static struct files_reader *read_in_pieces(TALLOC_CTX *ctx, const struct buf *text, size_t piece)
{
	struct dribble *d = talloc(ctx, struct dribble);
	struct files_source source = {.read = dribble_read, .rewind = dribble_rewind, .arg = d};

	*d = (struct dribble){.memory = {.bytes = text->bytes, .len = text->len}, .piece = piece};
	return files_reader_new(ctx, &source);
}

/* What files_reader_find must give: the lines one by one, without those before the path. */
static const struct files_entry *find_slowly(struct files_reader *r, const char *path)
{
	const struct files_entry *entry;
	struct err e;

	do
		assert_int_equal(files_reader_next(r, &entry, &e), ERR_OK);
	while (entry && files_path_compare(entry->path, entry->path_len, path, strlen(path)) < 0);
	return entry;
}

static void finding_gives_what_reading_until_there_gives(void **state)
{
	static const size_t pieces[] = {1, 7, 40, SIZE_MAX};
	CLEANUP(buf_release) struct buf text;

	(void)state;
	make_found_document(&text);
	/* Each subset of the paths, in order; each also asked twice. */
	for (unsigned subset = 1; subset < 1U << ARRAY_SIZE(wanted); subset += 1 + subset % 13) {
		SCRATCH_CTX(ctx);
		size_t piece = pieces[subset % ARRAY_SIZE(pieces)];
		struct files_reader *slow = read_in_pieces(ctx, &text, SIZE_MAX);
		struct files_reader *fast = read_in_pieces(ctx, &text, piece);

		for (size_t i = 0; i < 2 * ARRAY_SIZE(wanted); i++) {
			const char *path = wanted[i / 2];
			const struct files_entry *expected, *found;
			struct err e;

			if (!(subset >> i / 2 & 1))
				continue;
			expected = find_slowly(slow, path);
			if (files_reader_find(fast, path, strlen(path), &found, &e) != ERR_OK)
				fail_msg("%s in pieces of %zu: %s", path, piece, e.text);
			assert_int_equal(!found, !expected);
			if (found && expected)
				assert_same(found, expected);
		}
	}
}

static void large_documents_are_passed_over(void **state)
{
	CLEANUP(buf_release) struct buf text;
	SCRATCH_CTX(ctx);
	struct files_reader *r;
	const struct files_entry *entry;
	struct err e;

	(void)state;
	buf_init(&text, 64 * MIB);
	buf_add_text(&text, "stowage files 1\n");
	for (int i = 0; i < 50000; i++)
		buf_add_format(&text, "d/%06d f 644 size=1 sha256=" DIGEST_A "\n", i);
	buf_add_text(&text, "end 50000\n");
	r = read_in_pieces(ctx, &text, SIZE_MAX);
	for (int i = 7; i < 50000; i += 7777) {
		char path[16];

		snprintf(path, sizeof(path), "d/%06d", i);
		assert_int_equal(files_reader_find(r, path, strlen(path), &entry, &e), ERR_OK);
		assert_string_equal(entry->path, path);
	}
	assert_int_equal(files_reader_find(r, "z", 1, &entry, &e), ERR_OK);
	assert_null(entry);
	assert_int_equal(files_reader_find(r, "z", 1, &entry, &e), ERR_OK);
	assert_null(entry);
}

static void finding_notices_a_cut_and_a_line_that_is_none(void **state)
{
	static const char *const cases[] = {
	    "stowage files 2\nend 0\n",
	    "stowage files 1\na f 644\nend 2\n",
	    "stowage files 1\na f 644\nb f 644",
	    "stowage files 1\na f 644\n",
	    "stowage files 1\na f 644\nnonsense\nend 2\n",
	    "stowage files 1\na f 644\nz\\9 f 644\nend 2\n",
	    "stowage files 1\na f 644\nz x 644\nend 2\n",
	    "stowage files 1\na f 644\n\nend 2\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct buf text = {.bytes = talloc_strdup(ctx, cases[i]), .len = strlen(cases[i])};
		const struct files_entry *entry;
		struct err e;

		if (files_reader_find(read_in_pieces(ctx, &text, 1 + i), "z", 1, &entry, &e) != ERR_CORRUPT)
			fail_msg("%s", cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths_sort_by_component),
	    cmocka_unit_test(below_means_a_longer_path_with_the_same_components),
	    cmocka_unit_test(entries_come_back_as_they_were_written),
	    cmocka_unit_test(lines_look_as_the_header_says),
	    cmocka_unit_test(a_document_cut_anywhere_is_corrupt),
	    cmocka_unit_test(what_is_no_document_is_corrupt),
	    cmocka_unit_test(finding_gives_what_reading_until_there_gives),
	    cmocka_unit_test(large_documents_are_passed_over),
	    cmocka_unit_test(finding_notices_a_cut_and_a_line_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
