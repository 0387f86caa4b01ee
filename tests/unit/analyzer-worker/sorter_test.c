#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/parser/sorter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA (16 * KIB)

struct room {
	FILE *file;
	struct spill spill;
};

static struct room make_room(uint64_t max)
{
	struct room r = {.file = tmpfile()};

	assert_non_null(r.file);
	r.spill = (struct spill){.fd = fileno(r.file), .max = max};
	return r;
}

static struct record make_record(char *path, size_t size, uint32_t n, uint32_t seq)
{
	struct record r = {.seq = seq};

	snprintf(path, size, "dir-%u/sub%u/file%u", n % 7, n % 13, n);
	r.entry = (struct files_entry){
	    .path = path, .path_len = strlen(path), .type = FILES_REGULAR, .size = n, .uid = n % 3, .mode = n % 07777};
	memset(r.entry.sha256.bytes, (int)(n & 0xff), DIGEST_BYTES);
	return r;
}

static void assert_sorted(struct sorter *s, size_t count)
{
	char last[64] = "";
	size_t last_len = 0, seen = 0;
	uint32_t last_seq = 0;
	const struct record *record;
	struct err e;

	assert_int_equal(sorter_rewind(s, &e), ERR_OK);
	for (;; seen++) {
		int order;

		assert_int_equal(sorter_next(s, &record, &e), ERR_OK);
		if (!record)
			break;
		order = files_path_compare(last, last_len, record->entry.path, record->entry.path_len);
		assert_true(seen == 0 || order < 0 || (order == 0 && last_seq <= record->seq));
		memcpy(last, record->entry.path, record->entry.path_len);
		last_len = record->entry.path_len;
		last_seq = record->seq;
		if (record->entry.type == FILES_REGULAR)
			assert_int_equal(record->entry.sha256.bytes[31], record->entry.size & 0xff);
	}
	assert_int_equal(seen, count);
}

static void records_come_in_order_from_arena_and_runs(void **state)
{
	static const size_t counts[] = {0, 1, 2, 100, 5000};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		SCRATCH_CTX(ctx);
		struct room room = make_room(GIB);
		struct sorter *s = sorter_new(ctx, &room.spill, ARENA);
		struct err e;
		char path[64];

		for (uint32_t i = 0; i < counts[c]; i++) {
			struct record r = make_record(path, sizeof(path), i * 7919 % 1009, i + 1);

			assert_int_equal(sorter_add(s, &r, &e), ERR_OK);
		}
		sorter_seal(s);
		assert_sorted(s, counts[c]);
		assert_sorted(s, counts[c]);
		assert_true(counts[c] < 5000 || room.spill.end > 10 * ARENA);
		fclose(room.file);
	}
}

static void records_appended_after_sealing_are_merged_in(void **state)
{
	SCRATCH_CTX(ctx);
	struct room room = make_room(GIB);
	struct sorter *s = sorter_new(ctx, &room.spill, ARENA);
	char path[64];
	struct err e;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		struct record r = make_record(path, sizeof(path), i, i + 1);

		assert_int_equal(sorter_add(s, &r, &e), ERR_OK);
	}
	sorter_seal(s);
	for (uint32_t i = 0; i < 20000; i++) {
		struct record r = {.entry = {.path = path, .type = FILES_DIRECTORY, .implied = true}};

		r.entry.path_len = (size_t)snprintf(path, sizeof(path), "dir-3/%06u", i);
		assert_int_equal(sorter_append(s, &r, &e), ERR_OK);
	}
	assert_sorted(s, 21000);
	assert_sorted(s, 21000);
	fclose(room.file);
}

static void every_field_survives_packing(void **state)
{
	static uint8_t packed[RECORD_PACKED_MAX];
	static char path[FILES_PATH_MAX], link[FILES_PATH_MAX];
	struct record records[] = {
	    {.entry = {.type = FILES_REGULAR, .size = UINT64_MAX, .mode = 07777, .uid = UINT32_MAX, .gid = 7},
	     .seq = UINT32_MAX,
	     .note = UINT64_MAX,
	     .note_len = 9},
	    {.entry = {.type = FILES_CHAR, .dev_major = 1, .dev_minor = UINT32_MAX}},
	    {.entry = {.type = FILES_HARDLINK, .link = link, .link_len = FILES_PATH_MAX}, .link_id = 77, .note_len = 1},
	    {.entry = {.type = FILES_SYMLINK, .link = link, .link_len = 1, .mode = 0777}},
	    {.entry = {.type = RECORD_REQUEST}, .seq = 4, .link_id = UINT32_MAX},
	    {.entry = {.type = FILES_DIRECTORY, .implied = true, .mode = 0755}},
	};

	(void)state;
	memset(path, 'p', sizeof(path));
	memset(link, 'l', sizeof(link));
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct record *in = &records[i], out;
		size_t len;

		in->entry.path = path;
		in->entry.path_len = i % 2 ? FILES_PATH_MAX : i + 1;
		len = record_pack(in, packed);
		assert_int_equal(len % 8, 0);
		assert_int_equal(record_packed_len(packed), len);
		assert_int_equal(record_unpack(packed, &out), len);
		assert_memory_equal(out.entry.path, path, in->entry.path_len);
		if (in->entry.link)
			assert_memory_equal(out.entry.link, link, in->entry.link_len);
		out.entry.path = in->entry.path;
		out.entry.link = in->entry.link;
		assert_true(out.entry.type == in->entry.type && out.entry.implied == in->entry.implied);
		assert_true(out.entry.size == in->entry.size && out.entry.mode == in->entry.mode);
		assert_true(out.entry.uid == in->entry.uid && out.entry.gid == in->entry.gid);
		assert_true(out.entry.dev_major == in->entry.dev_major && out.entry.dev_minor == in->entry.dev_minor);
		assert_true(out.entry.path_len == in->entry.path_len && out.entry.link_len == in->entry.link_len);
		assert_true(out.seq == in->seq && out.link_id == in->link_id);
		assert_true(out.note_len == in->note_len && out.note == in->note);
	}
}

static void the_spill_file_has_a_limit(void **state)
{
	SCRATCH_CTX(ctx);
	struct room room = make_room(3 * ARENA);
	struct sorter *s = sorter_new(ctx, &room.spill, ARENA);
	enum err_code code = ERR_OK;
	char path[64];
	struct err e;

	(void)state;
	for (uint32_t i = 0; i < 5000 && code == ERR_OK; i++) {
		struct record r = make_record(path, sizeof(path), i, i + 1);

		code = sorter_add(s, &r, &e);
	}
	assert_int_equal(code, ERR_TOO_LARGE);
	fclose(room.file);
}

static void a_full_disk_is_an_error(void **state)
{
	SCRATCH_CTX(ctx);
	struct room room = make_room(GIB);
	struct sorter *s;
	enum err_code code = ERR_OK;
	char path[64];
	struct err e;

	(void)state;
	fclose(room.file);
	room.file = fopen("/dev/full", "w");
	room.spill.fd = fileno(room.file);
	s = sorter_new(ctx, &room.spill, ARENA);
	for (uint32_t i = 0; i < 5000 && code == ERR_OK; i++) {
		struct record r = make_record(path, sizeof(path), i, i + 1);

		code = sorter_add(s, &r, &e);
	}
	assert_int_equal(code, ERR_EXHAUSTED);
	fclose(room.file);
}

static void the_log_gives_back_what_it_got(void **state)
{
	enum { COUNT = 3000 };
	static uint64_t offsets[COUNT];
	static char in[200 * 1024], out[200 * 1024];
	SCRATCH_CTX(ctx);
	struct room room = make_room(GIB);
	struct spill_log *log = spill_log_new(ctx, &room.spill);
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		size_t len = i % 500 == 499 ? sizeof(in) : i % 97;

		memset(in, (int)(i & 0x7f), len);
		assert_int_equal(spill_log_add(log, in, len, &offsets[i], &e), ERR_OK);
	}
	for (size_t i = 0; i < COUNT; i++) {
		size_t len = i % 500 == 499 ? sizeof(in) : i % 97;

		memset(in, (int)(i & 0x7f), len);
		assert_int_equal(spill_log_read(log, offsets[i], out, len, &e), ERR_OK);
		assert_memory_equal(in, out, len);
	}
	fclose(room.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_come_in_order_from_arena_and_runs),
	    cmocka_unit_test(records_appended_after_sealing_are_merged_in),
	    cmocka_unit_test(every_field_survives_packing),
	    cmocka_unit_test(the_spill_file_has_a_limit),
	    cmocka_unit_test(a_full_disk_is_an_error),
	    cmocka_unit_test(the_log_gives_back_what_it_got),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
