#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/files.h"
#include "proto/document/summary.h"
#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/parser/confine.h"
#include "tests/unit/analyzer-worker/tar_maker.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

struct parsed {
	enum err_code code;
	struct err e;
	struct layer_result result;
	char *files, *summary; /* terminated */
};

struct feeding {
	struct layer_child *child;
	const char *bytes;
	size_t len;
};

static void *feed(void *arg)
{
	struct feeding *f = arg;

	while (f->len > 0) {
		ssize_t n = write(f->child->blob_fd, f->bytes, f->len);

		if (n < 0)
			break;
		f->bytes += n;
		f->len -= (size_t)n;
	}
	layer_child_eof(f->child);
	return NULL;
}

static char *read_all(TALLOC_CTX *ctx, FILE *file)
{
	size_t len;
	char *text;

	fseek(file, 0, SEEK_END);
	len = (size_t)ftell(file);
	text = talloc_zero_size(ctx, len + 1);
	assert_int_equal(pread(fileno(file), text, len, 0), (ssize_t)len);
	fclose(file);
	return text;
}

static struct parsed parse_with(TALLOC_CTX *ctx, const void *blob, size_t len, struct layer_child_setup setup)
{
	struct parsed p = {.code = ERR_OK};
	FILE *files = tmpfile(), *summary = tmpfile(), *spill = tmpfile();
	struct layer_child child;
	struct feeding feeding = {.child = &child, .bytes = blob, .len = len};
	pthread_t feeder;

	setup.files_fd = fileno(files);
	setup.summary_fd = fileno(summary);
	setup.spill_fd = fileno(spill);
	assert_int_equal(layer_child_start(&setup, &child, &p.e), ERR_OK);
	pthread_create(&feeder, NULL, feed, &feeding);
	p.code = layer_child_finish(&child, NULL, NULL, &p.result, &p.e);
	pthread_join(feeder, NULL);
	layer_child_release(&child);
	p.files = read_all(ctx, files);
	p.summary = read_all(ctx, summary);
	fclose(spill);
	return p;
}

static struct parsed parse(TALLOC_CTX *ctx, const struct buf *blob)
{
	return parse_with(ctx, blob->bytes, blob->len, (struct layer_child_setup){.any_codec = true});
}

static void assert_parsed(const struct parsed *p)
{
	if (p->code != ERR_OK)
		fail_msg("%s: %s", err_name(p->code), p->e.text);
}

static void assert_refused(const struct parsed *p, enum err_code code, const char *text)
{
	if (p->code != code || !strstr(p->e.text, text))
		fail_msg("%s: %s; wanted %s", err_name(p->code), p->code == ERR_OK ? "" : p->e.text, text);
}

static void make_layer(struct buf *tar)
{
	buf_init(tar, 64 * MIB);
	add_entry(tar, "./", '5', NULL, NULL);
	add_entry(tar, "/a/hello", '0', "hello", NULL);
	add_entry(tar, "b/package.json", '0', "{\"name\":\"x\",\"version\":\"1\"}", NULL);
	add_entry(tar, "a/link", '2', NULL, "hello there");
	add_entry(tar, "a/hard", '1', NULL, "./a/hello");
	add_entry(tar, "a/.wh.gone", '0', NULL, NULL);
	add_entry(tar, "pipe", '6', NULL, NULL);
	add_end(tar);
}

#define HELLO " f 644 uid=7 gid=8 size=5 sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"

static void a_layer_becomes_two_documents_whatever_its_codec(void **state)
{
	enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_ZSTD};
	CLEANUP(buf_release) struct buf tar;
	struct digest diff_id;

	(void)state;
	make_layer(&tar);
	diff_id = digest_of(tar.bytes, tar.len);
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf blob;
		struct parsed p;

		buf_init(&blob, 64 * MIB);
		if (codecs[i] == CODEC_GZIP)
			gzip(&tar, &blob);
		else if (codecs[i] == CODEC_ZSTD)
			buf_commit(&blob, ZSTD_compress(buf_reserve(&blob, MIB), MIB, tar.bytes, tar.len, 3));
		else
			buf_add(&blob, tar.bytes, tar.len);
		p = parse_with(ctx, blob.bytes, blob.len, (struct layer_child_setup){.codec = codecs[i]});
		assert_parsed(&p);
		assert_int_equal(p.result.codec, codecs[i]);
		assert_true(digest_equal(&p.result.diff_id, &diff_id));
		assert_int_equal(p.result.blob_bytes, blob.len);
		assert_int_equal(p.result.tar_bytes, tar.len);
		assert_int_equal(p.result.entries, 7);
		assert_int_equal(p.result.packages, 1);
		assert_int_equal(p.result.files_bytes, strlen(p.files));
		assert_int_equal(p.result.summary_bytes, strlen(p.summary));
		assert_true(p.result.peak_rss_bytes > MIB);
		assert_string_equal(p.files, "stowage files 1\n. d 644 uid=7 gid=8\na d 755 implied\na/gone w\n"
		                             "a/hard" HELLO "a/hello" HELLO
		                             "a/link l uid=7 gid=8 link=hello\\040there\nb d 755 implied\n"
		                             "b/package.json f 644 uid=7 gid=8 size=26 sha256="
		                             "6ce92e57d67a146294a4f2f4ce4755e5fd27cc6a536da882618dc2b675709bd2\n"
		                             "pipe p 644 uid=7 gid=8\nend 9\n");
	}
}

static void the_codec_must_be_what_was_said(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf tar;
	struct parsed p;

	(void)state;
	make_layer(&tar);
	p = parse_with(ctx, tar.bytes, tar.len, (struct layer_child_setup){.codec = CODEC_GZIP});
	assert_refused(&p, ERR_CORRUPT, "the media type says gzip, the bytes are uncompressed");
}

static void an_empty_tar_is_a_layer_and_no_bytes_are_none(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf tar;
	struct parsed p;

	(void)state;
	buf_init(&tar, MIB);
	add_end(&tar);
	p = parse(ctx, &tar);
	assert_parsed(&p);
	assert_string_equal(p.files, "stowage files 1\nend 0\n");
	buf_reset(&tar);
	p = parse(ctx, &tar);
	assert_refused(&p, ERR_CORRUPT, "the blob is empty");
}

static void names_keep_every_byte(void **state)
{
	/* Composed and decomposed, not UTF-8, longer than fits a plain header. */
	static const char *const names[] = {"caf\xc3\xa9", "cafe\xcc\x81", "\xff\xfe/x", "\xe6\x97\xa5\xe6\x9c\xac"};
	static const char *const lines[] = {"\ncaf\\303\\251 f", "\ncafe\\314\\201 f", "\n\\377\\376/x f",
	                                    "\n\\346\\227\\245\\346\\234\\254 f"};

	(void)state;
	for (int pax = 0; pax < 2; pax++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf tar;
		struct parsed p;

		buf_init(&tar, MIB);
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			if (pax)
				add_pax(&tar, "path", names[i]);
			add_entry(&tar, pax ? "other" : names[i], '0', "x", NULL);
		}
		add_end(&tar);
		p = parse(ctx, &tar);
		assert_parsed(&p);
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (!strstr(p.files, lines[i]))
				fail_msg("%s is not in\n%s", lines[i], p.files);
	}
}

static void entries_that_cannot_be_are_named(void **state)
{
	static const struct {
		const char *name, *link, *text;
		char type;
		enum err_code code;
	} cases[] = {
	    {"../evil", NULL, "entry \"../evil\": it leads out of the root directory", '0', ERR_INVALID},
	    {"a/../../evil", NULL, "entry \"a/../../evil\": it leads out of the root", '0', ERR_INVALID},
	    {"a", "../../etc/passwd", "entry \"a\": its link target \"../../etc/passwd\": it leads out", '1',
	     ERR_INVALID},
	    {"a", "a", "entry \"a\": it is a hard link to itself", '1', ERR_INVALID},
	    {"d/.wh.", NULL, "entry \"d/.wh.\": it is a whiteout of nothing", '0', ERR_INVALID},
	    {"/", NULL, "entry \".\": the root is not a directory", '6', ERR_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf tar;
		struct parsed p;

		buf_init(&tar, MIB);
		add_entry(&tar, cases[i].name, cases[i].type, NULL, cases[i].link);
		add_end(&tar);
		p = parse(ctx, &tar);
		assert_refused(&p, cases[i].code, cases[i].text);
	}
}

static void a_blob_cut_anywhere_is_corrupt(void **state)
{
	CLEANUP(buf_release) struct buf tar, blob;

	(void)state;
	make_layer(&tar);
	buf_init(&blob, MIB);
	gzip(&tar, &blob);
	for (size_t cut = 0; cut < blob.len; cut += blob.len / 7 + 1) {
		SCRATCH_CTX(ctx);
		struct parsed p = parse_with(ctx, blob.bytes, cut, (struct layer_child_setup){.any_codec = true});

		assert_int_equal(p.code, ERR_CORRUPT);
	}
	for (size_t cut = BLOCK + 100; cut < 3 * BLOCK; cut += 2 * BLOCK / 3) {
		SCRATCH_CTX(ctx);
		struct parsed p = parse_with(ctx, tar.bytes, cut, (struct layer_child_setup){.any_codec = true});

		assert_refused(&p, ERR_CORRUPT, "tar: ");
	}
}

static void a_size_that_lies_is_corrupt(void **state)
{
	static const char *const sizes[] = {"999999999", "9223372036854775807", "-1", "18446744073709551616", "x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf tar;
		struct parsed p;

		buf_init(&tar, MIB);
		add_pax(&tar, "size", sizes[i]);
		add_entry(&tar, "liar", '0', "hello", NULL);
		add_end(&tar);
		p = parse(ctx, &tar);
		if (p.code != ERR_CORRUPT && p.code != ERR_TOO_LARGE)
			fail_msg("size %s: %s\n%s", sizes[i], err_name(p.code), p.files);
	}
}

static void bytes_after_the_end_count_for_the_diff_id(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf tar;
	struct digest diff_id;
	struct parsed p;

	(void)state;
	make_layer(&tar);
	for (int i = 0; i < 50000; i++)
		buf_add_text(&tar, "something behind the end of the archive");
	diff_id = digest_of(tar.bytes, tar.len);
	p = parse(ctx, &tar);
	assert_parsed(&p);
	assert_true(digest_equal(&p.result.diff_id, &diff_id));
}

static void holes_of_sparse_files_are_zeroes(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf tar;
	static char content[5000];
	char h[BLOCK];
	struct digest sha256;
	struct parsed p;

	(void)state;
	buf_init(&tar, MIB);
	begin_header(h, "sparse", 'S', 3, NULL);
	memcpy(h + 257, "ustar  ", 8);
	octal(h + 386, 12, 1000);
	octal(h + 398, 12, 3);
	octal(h + 410, 12, 5000);
	octal(h + 422, 12, 0);
	octal(h + 483, 12, 5000);
	finish_header(h);
	buf_add(&tar, h, BLOCK);
	add_padded(&tar, "abc", 3);
	add_end(&tar);
	memcpy(content + 1000, "abc", 3);
	sha256 = digest_of(content, sizeof(content));
	p = parse(ctx, &tar);
	assert_parsed(&p);
	if (!strstr(p.files,
	            talloc_asprintf(ctx, "sparse f 644 uid=7 gid=8 size=5000 sha256=%s\n", digest_hex(&sha256).text)))
		fail_msg("%s", p.files);
}

static void limits_end_the_layer_and_name_themselves(void **state)
{
	static const struct {
		struct layer_limits limits;
		const char *text;
	} cases[] = {
	    {{.entries = 3}, "the layer has more than 3 entries"},
	    {{.unpacked = 1000}, "unpacks to more than 1000 bytes"},
	    {{.ratio = 100, .ratio_free = MIB}, "expands more than 100 times"},
	    {{.packages = 1}, "more than 1 packages"},
	    {{.links = 1}, "more than 1 links"},
	    {{.document = 100}, "more than 100 bytes"},
	};
	CLEANUP(buf_release) struct buf tar, blob;
	static char zeroes[8 * MIB];

	(void)state;
	make_layer(&tar);
	tar.len -= (size_t)2 * BLOCK;
	add_entry(&tar, "c/package.json", '0', "{\"name\":\"y\",\"version\":\"1\"}", NULL);
	add_end(&tar);
	buf_add(&tar, zeroes, sizeof(zeroes));
	buf_init(&blob, 64 * MIB);
	gzip(&tar, &blob);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct layer_limits limits = layer_limits_default;
		struct parsed p;

		limits.entries = cases[i].limits.entries ? cases[i].limits.entries : limits.entries;
		limits.unpacked = cases[i].limits.unpacked ? cases[i].limits.unpacked : limits.unpacked;
		limits.ratio = cases[i].limits.ratio ? cases[i].limits.ratio : limits.ratio;
		limits.ratio_free = cases[i].limits.ratio_free ? cases[i].limits.ratio_free : limits.ratio_free;
		limits.packages = cases[i].limits.packages ? cases[i].limits.packages : limits.packages;
		limits.links = cases[i].limits.links ? cases[i].limits.links : limits.links;
		limits.document = cases[i].limits.document ? cases[i].limits.document : limits.document;
		p = parse_with(ctx, blob.bytes, blob.len,
		               (struct layer_child_setup){.any_codec = true, .limits = &limits});
		assert_refused(&p, ERR_TOO_LARGE, cases[i].text);
	}
}

static void garbage_never_kills_the_child(void **state)
{
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int round = 0; round < 30; round++) {
		SCRATCH_CTX(ctx);
		CLEANUP(buf_release) struct buf tar;
		struct parsed p;

		make_layer(&tar);
		for (int i = 0; i < 1 + round / 3; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			tar.bytes[x % tar.len] = (char)(x >> 32);
		}
		p = parse(ctx, &tar);
		if (p.code == ERR_INTERNAL)
			fail_msg("round %d: %s", round, p.e.text);
	}
}

static void files_that_turn_out_to_be_wanted_are_read_the_second_time(void **state)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf tar;
	FILE *files = tmpfile(), *summary = tmpfile(), *spill = tmpfile();
	struct layer_child_setup setup = {
	    .any_codec = true, .may_repeat = true, .files_fd = fileno(files), .summary_fd = fileno(summary)};
	struct layer_result results[2];
	const char *text;
	struct err e;

	(void)state;
	setup.spill_fd = fileno(spill);
	buf_init(&tar, MIB);
	add_entry(&tar, "store/00", '0', "{\"name\":\"old\",\"version\":\"1\"}", NULL);
	add_entry(&tar, "m/a/package.json", '1', NULL, "store/00");
	add_entry(&tar, "store/00", '0', "{\"name\":\"new\",\"version\":\"2\"}", NULL);
	add_entry(&tar, "m/b/package.json", '1', NULL, "store/00");
	add_entry(&tar, "m/c/package.json", '1', NULL, "m/b/package.json");
	add_entry(&tar, "m/lower/package.json", '1', NULL, "store/01");
	add_end(&tar);
	for (int round = 0; round < 2; round++) {
		struct layer_child child;
		struct feeding feeding = {.child = &child, .bytes = tar.bytes, .len = tar.len};

		setup.again = round ? &results[0] : NULL;
		assert_int_equal(layer_child_start(&setup, &child, &e), ERR_OK);
		feed(&feeding);
		assert_int_equal(layer_child_finish(&child, NULL, NULL, &results[round], &e), ERR_OK);
		layer_child_release(&child);
		assert_int_equal(results[round].wants_len > 0, round == 0);
		if (round == 0)
			assert_int_equal(ftruncate(setup.files_fd, 0) + ftruncate(setup.summary_fd, 0), 0);
	}
	text = read_all(ctx, summary);
	assert_non_null(strstr(text, "{\"name\":\"old\",\"version\":\"1\"}],\"cataloger\":\"npm\",\"type\":\"npm\","
	                             "\"evidence\":\"m/a/package.json\"}\n"));
	assert_non_null(strstr(text, "{\"name\":\"new\",\"version\":\"2\"}],\"cataloger\":\"npm\",\"type\":\"npm\","
	                             "\"evidence\":\"m/b/package.json\"}\n"));
	assert_non_null(strstr(text, "\"evidence\":\"m/c/package.json\"}\n"));
	assert_non_null(strstr(text,
	                       "{\"unparsed\":\"it is a hard link to store/01 of a lower layer, whose content is not "
	                       "read again\",\"cataloger\":\"npm\","
	                       "\"evidence\":\"m/lower/package.json\"}\n"));
	assert_null(strstr(text, "\"evidence\":\"store"));
	text = read_all(ctx, files);
	assert_string_equal(text + strlen(text) - 7, "end 11\n");
	fclose(spill);
}

struct watching {
	struct layer_child child;
	struct layer_progress last;
	unsigned seen;
};

static void on_progress(void *arg, const struct layer_progress *progress)
{
	struct watching *w = arg;

	assert_true(progress->bytes_out >= w->last.bytes_out && progress->entries >= w->last.entries);
	w->last = *progress;
	w->seen++;
}

static enum err_code start(struct watching *w, FILE *scratch[3], struct err *e)
{
	struct layer_child_setup setup = {.any_codec = true};

	for (int i = 0; i < 3; i++)
		scratch[i] = tmpfile();
	setup.files_fd = fileno(scratch[0]);
	setup.summary_fd = fileno(scratch[1]);
	setup.spill_fd = fileno(scratch[2]);
	return layer_child_start(&setup, &w->child, e);
}

static void progress_is_told(void **state)
{
	static char zeroes[4 * MIB];
	struct watching w = {.seen = 0};
	struct layer_result result;
	CLEANUP(buf_release) struct buf tar;
	FILE *scratch[3];
	struct err e;

	(void)state;
	make_layer(&tar);
	assert_int_equal(start(&w, scratch, &e), ERR_OK);
	assert_int_equal(write(w.child.blob_fd, tar.bytes, tar.len), (ssize_t)tar.len);
	usleep(300 * 1000);
	for (size_t at = 0; at < sizeof(zeroes);) {
		ssize_t n = write(w.child.blob_fd, zeroes + at, sizeof(zeroes) - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	layer_child_eof(&w.child);
	assert_int_equal(layer_child_finish(&w.child, on_progress, &w, &result, &e), ERR_OK);
	layer_child_release(&w.child);
	assert_true(w.seen >= 1 && w.last.bytes_out >= MIB / 4);
	for (int i = 0; i < 3; i++)
		fclose(scratch[i]);
}

static void a_killed_child_is_told_from_a_bad_layer(void **state)
{
	struct watching w = {.seen = 0};
	struct layer_result result;
	FILE *scratch[3];
	struct err e;

	(void)state;
	assert_int_equal(start(&w, scratch, &e), ERR_OK);
	layer_child_kill(&w.child);
	assert_int_equal(layer_child_finish(&w.child, NULL, NULL, &result, &e), ERR_INTERNAL);
	assert_non_null(strstr(e.text, "killed by signal 9"));
	layer_child_kill(&w.child);
	layer_child_release(&w.child);
	for (int i = 0; i < 3; i++)
		fclose(scratch[i]);
}

static bool status_has(pid_t pid, const char *line)
{
	SCRATCH_CTX(ctx);
	char text[8192];
	FILE *file = fopen(talloc_asprintf(ctx, "/proc/%d/status", (int)pid), "re");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[len] = '\0';
	return strstr(text, line);
}

static void a_child_that_waits_for_its_blob_has_given_up_all_it_can(void **state)
{
	static const char *const lines[] = {"\nNoNewPrivs:\t1\n", "\nCapPrm:\t0000000000000000\n",
	                                    "\nCapEff:\t0000000000000000\n", "\nSeccomp:\t2\n"};
	size_t count = ARRAY_SIZE(lines) - !confine_seals();
	struct watching w = {.seen = 0};
	struct layer_result result;
	FILE *scratch[3];
	struct err e;

	(void)state;
	assert_int_equal(start(&w, scratch, &e), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		for (int tries = 0; !status_has(w.child.pid, lines[i]); tries++) {
			if (tries == 1000)
				fail_msg("no line %s", lines[i]);
			usleep(10000);
		}
	}
	layer_child_kill(&w.child);
	assert_int_equal(layer_child_finish(&w.child, NULL, NULL, &result, &e), ERR_INTERNAL);
	layer_child_release(&w.child);
	for (int i = 0; i < 3; i++)
		fclose(scratch[i]);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
	struct layer_child_setup setup = {.program = "/nonexistent", .files_fd = 2, .summary_fd = 2, .spill_fd = 2};
	struct layer_child child;
	struct err e;

	(void)state;
	assert_int_equal(layer_child_start(&setup, &child, &e), ERR_EXHAUSTED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_layer_becomes_two_documents_whatever_its_codec),
	    cmocka_unit_test(the_codec_must_be_what_was_said),
	    cmocka_unit_test(an_empty_tar_is_a_layer_and_no_bytes_are_none),
	    cmocka_unit_test(names_keep_every_byte),
	    cmocka_unit_test(entries_that_cannot_be_are_named),
	    cmocka_unit_test(a_blob_cut_anywhere_is_corrupt),
	    cmocka_unit_test(a_size_that_lies_is_corrupt),
	    cmocka_unit_test(bytes_after_the_end_count_for_the_diff_id),
	    cmocka_unit_test(holes_of_sparse_files_are_zeroes),
	    cmocka_unit_test(limits_end_the_layer_and_name_themselves),
	    cmocka_unit_test(garbage_never_kills_the_child),
	    cmocka_unit_test(files_that_turn_out_to_be_wanted_are_read_the_second_time),
	    cmocka_unit_test(progress_is_told),
	    cmocka_unit_test(a_killed_child_is_told_from_a_bad_layer),
	    cmocka_unit_test(a_child_that_waits_for_its_blob_has_given_up_all_it_can),
	    cmocka_unit_test(a_program_that_is_not_there_is_an_error),
	};

	if (argc == 3 && strcmp(argv[1], "--parse-layer") == 0)
		return layer_child_main(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
