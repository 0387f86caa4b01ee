#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/proto/store_fixture.h"

#include <dirent.h>

/* What store_io does on several chunks at a time: how many, in which order, and what becomes of them when one fails. */

#define CHUNKS 8

static int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int count = 0;

	ASSERT(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

/* A thread that was joined may stand there a moment longer. */
static void assert_threads(int most)
{
	int64_t until = clock_monotonic_ms() + 5000;

	while (count_threads() > most && clock_monotonic_ms() < until)
		usleep(1000);
	assert_in_range(count_threads(), 1, most);
}

/* CHUNKS chunks and a bit, whose digests are in `of`. */
static uint8_t *content(struct fixture *f, size_t *len, struct digest *of)
{
	uint8_t *bytes;

	*len = CHUNKS * STORE_CHUNK_BYTES + 77;
	bytes = pattern(f, *len);
	for (size_t i = 0; i < CHUNKS; i++)
		of[i] = digest_of(bytes + i * STORE_CHUNK_BYTES, STORE_CHUNK_BYTES);
	return bytes;
}

static void several_chunks_are_sent_at_a_time_and_no_more_than_said(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len;
	uint8_t *bytes = content(f, &len, of);

	f->gateway.together = STORE_WRITE_AHEAD;
	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	assert_int_equal(f->gateway.most_busy, STORE_WRITE_AHEAD);
	assert_int_equal(f->gateway.object_chunk_count, CHUNKS + 1);
	for (size_t i = 0; i < CHUNKS; i++)
		assert_true(digest_equal(&f->gateway.object_chunks[i], &of[i]));
}

static void several_chunks_are_fetched_at_a_time_and_no_more_than_said(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, got_len;
	uint8_t *bytes = content(f, &len, of);
	void *got;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.most_busy = 0;
	f->gateway.together = STORE_READ_AHEAD;
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &got_len, NULL), ERR_OK);
	assert_int_equal(f->gateway.most_busy, STORE_READ_AHEAD);
	assert_int_equal(f->gateway.gets, CHUNKS + 1);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, bytes, len);
}

static void a_reader_with_a_window_fetches_one_range_at_a_time(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = *state;
	size_t len = 20 * MIB / 10, got;
	uint8_t *bytes = pattern(f, len), *into = talloc_size(ctx, len);
	struct store_reader *r = store_reader_new(ctx, f->client, &name, 256 * KIB);
	int threads = count_threads();

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.most_busy = 0;
	for (size_t at = 0; at < len; at += got)
		assert_int_equal(store_reader_read(r, into + at, len - at, &got, NULL), ERR_OK);
	assert_int_equal(f->gateway.most_busy, 1);
	assert_threads(threads);
	assert_memory_equal(into, bytes, len);
}

static void one_chunk_needs_no_threads(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES, got;
	uint8_t *bytes = pattern(f, len), *into = talloc_size(ctx, len);
	struct store_writer *w = store_writer_new(ctx, f->client, "account", "object_store");
	struct store_reader *r = store_reader_new(ctx, f->client, &name, 0);
	int threads = count_threads();

	assert_int_equal(store_writer_add(w, bytes, len, NULL), ERR_OK);
	assert_int_equal(store_writer_commit(w, "bucket", "key", NULL, NULL), ERR_OK);
	assert_int_equal(store_reader_open(r, NULL), ERR_OK);
	assert_int_equal(store_reader_size(r), len);
	assert_int_equal(store_reader_read(r, into, len, &got, NULL), ERR_OK);
	assert_int_equal(got, len);
	assert_int_equal(store_reader_read(r, into, len, &got, NULL), ERR_OK);
	assert_int_equal(got, 0);
	assert_int_equal(f->gateway.gets, 1);
	assert_threads(threads);
}

static void the_threads_end_with_the_writer_and_the_reader(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, got_len;
	uint8_t *bytes = content(f, &len, of);
	int threads = count_threads();
	void *got;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &got_len, NULL), ERR_OK);
	assert_threads(threads);
}

static void of_several_failures_the_first_chunks_is_told(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len;
	uint8_t *bytes = content(f, &len, of);
	struct err e;

	/* The later chunk fails at once, the earlier one takes its time. */
	f->gateway.refused[0].sha256 = of[1];
	f->gateway.refused[0].after_ms = 200;
	f->gateway.refused[1].sha256 = of[2];
	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, &e), ERR_FORBIDDEN);
	assert_non_null(strstr(e.text, "refusal 0"));
	assert_non_null(strstr(e.text, "object bucket/key"));
	assert_int_equal(f->gateway.busy, 0);
	assert_int_equal(f->gateway.commits, 0);
	assert_in_range(f->gateway.puts, 0, 1 + STORE_WRITE_AHEAD);
}

static void a_failure_of_the_last_chunk_is_the_commits(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len;
	uint8_t *bytes = content(f, &len, of);
	struct store_writer *w = store_writer_new(ctx, f->client, "account", "object_store");
	struct err e;

	f->gateway.refused[0].sha256 = digest_of(bytes + CHUNKS * STORE_CHUNK_BYTES, 77);
	f->gateway.refused[0].after_ms = 100;
	assert_int_equal(store_writer_add(w, bytes, len, NULL), ERR_OK);
	assert_int_equal(store_writer_commit(w, "bucket", "key", NULL, &e), ERR_FORBIDDEN);
	assert_non_null(strstr(e.text, "object bucket/key: "));
	assert_int_equal(f->gateway.commits, 0);
	assert_false(f->gateway.has_object);
}

static void a_writer_freed_in_the_middle_leaves_nothing_on_its_way(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len;
	uint8_t *bytes = content(f, &len, of);
	struct store_writer *w = store_writer_new(f, f->client, "account", "object_store");

	f->gateway.slow_ms = 100;
	assert_int_equal(store_writer_add(w, bytes, 3 * STORE_CHUNK_BYTES, NULL), ERR_OK);
	store_writer_free(w);
	assert_int_equal(f->gateway.busy, 0);
	assert_false(f->gateway.has_object);
}

static void a_failed_range_is_told_in_its_turn_and_can_be_read_again(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, at = 0, got = 0;
	uint8_t *bytes = content(f, &len, of), *into = talloc_size(ctx, len + 1);
	struct store_reader *r = store_reader_new(ctx, f->client, &name, 0);
	enum err_code code;
	struct err e;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.refused_at = (int64_t)(4 * STORE_CHUNK_BYTES);
	f->gateway.refusals = 1;
	while ((code = store_reader_read(r, into + at, len + 1 - at, &got, &e)) == ERR_OK && got)
		at += got;
	assert_int_equal(code, ERR_FORBIDDEN);
	assert_int_equal(at, 4 * STORE_CHUNK_BYTES);
	assert_non_null(strstr(e.text, "object bucket/key: refused at"));
	assert_int_equal(f->gateway.busy, 0);
	while ((code = store_reader_read(r, into + at, len + 1 - at, &got, &e)) == ERR_OK && got)
		at += got;
	assert_int_equal(code, ERR_OK);
	assert_int_equal(at, len);
	assert_memory_equal(into, bytes, len);
}

static void a_rewound_reader_begins_anew_whatever_was_on_its_way(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, got;
	uint8_t *bytes = content(f, &len, of), *into = talloc_size(ctx, len + 1);
	struct store_reader *r = store_reader_new(ctx, f->client, &name, 0);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.slow_ms = 30;
	for (size_t stop = 0; stop <= len; stop += 3 * STORE_CHUNK_BYTES + 5) {
		for (size_t at = 0; at < stop; at += got)
			assert_int_equal(store_reader_read(r, into + at, stop - at, &got, NULL), ERR_OK);
		assert_memory_equal(into, bytes, stop);
		store_reader_rewind(r);
		assert_int_equal(f->gateway.busy, 0);
	}
	for (size_t at = 0; at < len; at += got)
		assert_int_equal(store_reader_read(r, into + at, len - at, &got, NULL), ERR_OK);
	assert_int_equal(store_reader_read(r, into, 1, &got, NULL), ERR_OK);
	assert_int_equal(got, 0);
	assert_memory_equal(into, bytes, len);
}

static void a_reader_freed_in_the_middle_leaves_nothing_on_its_way(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, got;
	uint8_t *bytes = content(f, &len, of), *into = talloc_size(f, len);
	struct store_reader *r = store_reader_new(f, f->client, &name, 0);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.slow_ms = 100;
	assert_int_equal(store_reader_read(r, into, len, &got, NULL), ERR_OK);
	assert_int_equal(store_reader_read(r, into, len, &got, NULL), ERR_OK);
	store_reader_free(r);
	assert_int_equal(f->gateway.busy, 0);
}

static void whoever_reads_only_the_size_fetches_one_chunk(void **state)
{
	struct fixture *f = *state;
	struct digest of[CHUNKS];
	size_t len, got_len;
	uint8_t *bytes = content(f, &len, of);
	void *got;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	assert_int_equal(store_get_bytes(f->client, f, &name, len - 1, &got, &got_len, NULL), ERR_TOO_LARGE);
	assert_int_equal(f->gateway.gets, 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(several_chunks_are_sent_at_a_time_and_no_more_than_said),
	    TEST(several_chunks_are_fetched_at_a_time_and_no_more_than_said),
	    TEST(a_reader_with_a_window_fetches_one_range_at_a_time),
	    TEST(one_chunk_needs_no_threads),
	    TEST(the_threads_end_with_the_writer_and_the_reader),
	    TEST(of_several_failures_the_first_chunks_is_told),
	    TEST(a_failure_of_the_last_chunk_is_the_commits),
	    TEST(a_writer_freed_in_the_middle_leaves_nothing_on_its_way),
	    TEST(a_failed_range_is_told_in_its_turn_and_can_be_read_again),
	    TEST(a_rewound_reader_begins_anew_whatever_was_on_its_way),
	    TEST(a_reader_freed_in_the_middle_leaves_nothing_on_its_way),
	    TEST(whoever_reads_only_the_size_fetches_one_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
