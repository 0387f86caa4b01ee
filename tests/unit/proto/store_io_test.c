#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/proto/store_fixture.h"

static int file_of(const void *bytes, size_t len)
{
	char path[] = "/tmp/stowage-store-io-file-XXXXXX";
	int fd = mkstemp(path);

	ASSERT(fd >= 0);
	unlink(path);
	for (size_t at = 0; at < len;) {
		ssize_t done = write(fd, (const char *)bytes + at, len - at);

		ASSERT(done > 0);
		at += (size_t)done;
	}
	return fd;
}

static void assert_reads_back(struct fixture *f, const uint8_t *bytes, size_t len, size_t window)
{
	SCRATCH_CTX(ctx);
	struct store_reader *r = store_reader_new(ctx, f->client, &name, window);
	uint8_t *into = talloc_size(ctx, len + 1);
	size_t at = 0, got;

	for (int round = 0; round < 2; round++) {
		at = 0;
		do {
			assert_int_equal(
			    store_reader_read(r, into + at, MIN(len + 1 - at, (size_t)1000003), &got, NULL), ERR_OK);
			at += got;
		} while (got);
		assert_int_equal(at, len);
		assert_int_equal(store_reader_size(r), len);
		assert_memory_equal(into, bytes, len);
		/* The end stays the end. */
		assert_int_equal(store_reader_read(r, into, 1, &got, NULL), ERR_OK);
		assert_int_equal(got, 0);
		store_reader_rewind(r);
	}
}

static void objects_of_any_size_come_back(void **state)
{
	static const size_t sizes[] = {0,
	                               1,
	                               4096,
	                               STORE_CHUNK_BYTES - 1,
	                               STORE_CHUNK_BYTES,
	                               STORE_CHUNK_BYTES + 1,
	                               2 * STORE_CHUNK_BYTES,
	                               2 * STORE_CHUNK_BYTES + 777};
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, 3 * STORE_CHUNK_BYTES);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(fd_cleanup) int fd = file_of(bytes, sizes[i]);
		struct digest wanted = digest_of(bytes, sizes[i]);
		struct store_stored stored;
		void *got;
		size_t len;

		assert_int_equal(store_put_fd(f->client, &name, fd, sizes[i], &stored, NULL), ERR_OK);
		assert_int_equal(stored.size, sizes[i]);
		assert_true(digest_equal(&stored.sha256, &wanted));
		assert_true(digest_equal(&f->gateway.object_sha256, &wanted));
		assert_reads_back(f, bytes, sizes[i], 0);
		assert_int_equal(store_get_bytes(f->client, ctx, &name, sizes[i], &got, &len, NULL), ERR_OK);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(got, bytes, len);
		assert_int_equal(((char *)got)[len], 0);
		assert_int_equal(store_put_bytes(f->client, &name, bytes, sizes[i], &stored, NULL), ERR_OK);
		assert_true(digest_equal(&stored.sha256, &wanted));
	}
}

static void a_small_window_gives_the_same(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 100000;
	uint8_t *bytes = pattern(f, len);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	assert_reads_back(f, bytes, len, 64 * KIB);
	assert_reads_back(f, bytes, len, 1000001);
}

static void what_fits_into_a_chunk_is_one_message(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, STORE_CHUNK_BYTES);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, STORE_CHUNK_BYTES, NULL, NULL), ERR_OK);
	assert_int_equal(f->gateway.object_puts, 1);
	assert_int_equal(f->gateway.needs + f->gateway.puts + f->gateway.commits, 0);
}

static void known_chunks_are_not_sent(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 * STORE_CHUNK_BYTES;
	uint8_t *bytes = pattern(f, len);
	struct store_stored stored;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, &stored, NULL), ERR_OK);
	assert_int_equal(f->gateway.puts, 3);
	assert_int_equal(stored.stored_bytes, len);
	bytes[len - 1] ^= 1;
	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, &stored, NULL), ERR_OK);
	assert_int_equal(f->gateway.puts, 4);
	assert_int_equal(stored.stored_bytes, STORE_CHUNK_BYTES);
}

static void a_swept_chunk_is_sent_again(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 5;
	uint8_t *bytes = pattern(f, len);
	CLEANUP(fd_cleanup) int fd = file_of(bytes, len);

	f->gateway.conflicts = 2;
	assert_int_equal(store_put_fd(f->client, &name, fd, len, NULL, NULL), ERR_OK);
	assert_int_equal(f->gateway.commits, 3);
	assert_reads_back(f, bytes, len, 0);
	f->gateway.conflicts = 100;
	assert_int_equal(store_put_fd(f->client, &name, fd, len, NULL, NULL), ERR_CONFLICT);
}

static void a_file_that_is_shorter_than_said_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	CLEANUP(fd_cleanup) int fd = file_of("abc", 3);
	struct err e;

	assert_int_equal(store_put_fd(f->client, &name, fd, 4, NULL, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.text, "bucket/key"));
	assert_false(f->gateway.has_object);
}

static void a_writer_learns_the_name_at_the_end(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, 100);
	struct store_writer *w = store_writer_new(f, f->client, "account", "object_store");
	struct digest wanted = digest_of(bytes, 100), got;
	uint64_t size;

	for (size_t i = 0; i < 100; i++)
		assert_int_equal(store_writer_add(w, bytes + i, 1, NULL), ERR_OK);
	got = store_writer_digest(w, &size);
	assert_int_equal(size, 100);
	assert_true(digest_equal(&got, &wanted));
	assert_false(f->gateway.has_object);
	assert_int_equal(store_writer_commit(w, "bucket", digest_hex(&got).text, NULL, NULL), ERR_OK);
	assert_true(f->gateway.has_object);
	store_writer_free(w);
	store_writer_free(NULL);
}

static void content_that_is_not_the_objects_is_corrupt(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 5;
	uint8_t *bytes = pattern(f, len);
	void *got;
	struct err e;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.flip = true;
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &len, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "object bucket/key"));
}

static void an_object_replaced_while_it_is_read_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	size_t len = 2 * STORE_CHUNK_BYTES;
	uint8_t *bytes = pattern(f, len);
	void *got;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.replace_at_get = 2;
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &len, NULL), ERR_CONFLICT);
}

static void limits_and_absence_are_errors(void **state)
{
	struct fixture *f = *state;
	void *got;
	size_t len;
	struct err e;

	assert_int_equal(store_get_bytes(f->client, f, &name, 10, &got, &len, &e), ERR_NOT_FOUND);
	assert_int_equal(store_put_bytes(f->client, &name, "eleven byte", 11, NULL, NULL), ERR_OK);
	assert_int_equal(store_get_bytes(f->client, f, &name, 10, &got, &len, &e), ERR_TOO_LARGE);
	assert_non_null(strstr(e.text, "11 bytes"));
	assert_int_equal(store_get_bytes(f->client, f, &name, 11, &got, &len, NULL), ERR_OK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(objects_of_any_size_come_back),
	    TEST(a_small_window_gives_the_same),
	    TEST(what_fits_into_a_chunk_is_one_message),
	    TEST(known_chunks_are_not_sent),
	    TEST(a_swept_chunk_is_sent_again),
	    TEST(a_file_that_is_shorter_than_said_is_a_conflict),
	    TEST(a_writer_learns_the_name_at_the_end),
	    TEST(content_that_is_not_the_objects_is_corrupt),
	    TEST(an_object_replaced_while_it_is_read_is_a_conflict),
	    TEST(limits_and_absence_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
