/* Objects: what a commit accepts, what a read gives. */
#include "tests/unit/object-store-gateway/object_support.h"

/* ---- commit ---- */

static void test_a_commit_says_what_does_not_fit(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("k");
	struct object_content good, bad;
	struct digest swapped[2];
	char *bytes = large_content(ctx, CHUNK_MAX + 10, &good);
	bool replaced;
	struct err e;

	assert_int_equal(object_commit(&f->store, &path, &good, &replaced, &e), ERR_PRECONDITION);
	assert_non_null(strstr(e.text, digest_text(&good.chunks[0]).text));
	put_chunks(&f->store, bytes, &good);

	bad = good;
	bad.size--;
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_INVALID);
	bad = good;
	swapped[0] = good.chunks[1];
	swapped[1] = good.chunks[0];
	bad.chunks = swapped;
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_INVALID);
	bad = good;
	bad.chunk_count = 1;
	bad.size = (int64_t)CHUNK_MAX;
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_INVALID);
	bad = good;
	bad.chunk_count = 0;
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_INVALID);
	bad.size = 0;
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_INVALID);
	bad = good;
	bad.metadata = talloc_asprintf(ctx, "%*s", (int)OBJECT_METADATA_MAX + 1, "");
	assert_int_equal(object_commit(&f->store, &path, &bad, &replaced, &e), ERR_TOO_LARGE);
	assert_false(exists(f, "k"));
	assert_int_equal(object_commit(&f->store, &path, &good, &replaced, &e), ERR_OK);
	assert_true(exists(f, "k"));
}

static void test_paths_are_checked(void **state)
{
	static const struct object_path bad[] = {
	    {NULL, "docs", "k"},  {"", "docs", "k"},    {"acme", "", "k"},    {"acme", "Docs", "k"},
	    {"acme", "a/b", "k"}, {"acme", "a b", "k"}, {"acme", "docs", ""}, {"acme", NULL, "k"},
	};
	struct fixture *f = need(state);
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		SCRATCH_CTX(ctx);
		struct object object;

		assert_int_equal(object_find(&f->store, ctx, &bad[i], 0, 0, &object, &e), ERR_INVALID);
	}
}

static void test_an_empty_object_has_no_chunks(void **state)
{
	struct fixture *f = need(state);

	must_put(f, "empty", "");
	expect(f, "empty", "");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
}

static void test_replacing_says_so_and_frees_what_was_there(void **state)
{
	struct fixture *f = need(state);
	bool replaced;
	struct err e;

	assert_int_equal(put(f, "k", "old", 3, &replaced, &e), ERR_OK);
	assert_false(replaced);
	fixture_sql(f, "UPDATE objects.object SET created_at = now() - interval '1 day'");
	assert_int_equal(put(f, "k", "old", 3, &replaced, &e), ERR_OK);
	assert_false(replaced);
	/* What a message that came twice must not change. */
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM objects.object WHERE created_at < now() - interval '1 h'"), 1);
	assert_int_equal(put(f, "k", "new", 3, &replaced, &e), ERR_OK);
	assert_true(replaced);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM objects.object WHERE created_at > now() - interval '1 h'"), 1);
	assert_int_equal(sweep(f), 1);
	expect(f, "k", "new");
	assert_int_equal(put(f, "k", "", 0, &replaced, &e), ERR_OK);
	assert_true(replaced);
	assert_int_equal(sweep(f), 1);
	expect(f, "k", "");
}

static void test_a_failed_put_leaves_the_object_that_was_there(void **state)
{
	static const enum fault faults[] = {FAULT_PUT_BEFORE, FAULT_PUT_AFTER};
	struct fixture *f = need(state);
	bool replaced;
	struct err e;

	must_put(f, "k", "old");
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		atomic_store(&f->faults.left[faults[i]], 1);
		assert_int_equal(put(f, "k", "new", 3, &replaced, &e), ERR_UNAVAILABLE);
		expect(f, "k", "old");
	}
	must_put(f, "k", "new");
	expect(f, "k", "new");
}

static void test_a_chunk_that_occurs_several_times_is_kept_once(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("zeros");
	char *zeros = talloc_zero_size(ctx, CHUNK_MAX);
	struct digest chunk = digest_of(zeros, CHUNK_MAX), chunks[3] = {chunk, chunk, chunk};
	struct hasher *hasher = hasher_new(ctx);
	struct object_content content = {.size = 3 * (int64_t)CHUNK_MAX, .chunks = chunks, .chunk_count = 3};
	struct object object;
	struct rpc_call call = call_on(ctx);
	size_t stored, len;
	bool replaced;
	void *bytes;
	struct err e;

	for (int i = 0; i < 3; i++)
		hasher_add(hasher, zeros, CHUNK_MAX);
	content.sha256 = hasher_finish(hasher);
	assert_int_equal(chunk_put(&f->store, &chunk, zeros, CHUNK_MAX, &stored, &e), ERR_OK);
	assert_int_equal(object_commit(&f->store, &path, &content, &replaced, &e), ERR_OK);
	assert_int_equal(object_verify(&call, &f->store, &path, &object, &e), ERR_OK);
	assert_int_equal(get(f, "zeros", 2 * (int64_t)CHUNK_MAX - 5, 10, ctx, &bytes, &len, &e), ERR_OK);
	assert_int_equal(len, 10);
	assert_int_equal(sweep(f), 0);
}

/* ---- reading ---- */

static void test_ranges_cross_chunks_and_end_at_the_end(void **state)
{
	enum { LEN = 2 * (4 << 20) + 1000 };
	static const int64_t ranges[][2] = {
	    {0, 1},
	    {0, 4 << 20},
	    {1, 4 << 20},
	    {(4 << 20) - 1, 2},
	    {(4 << 20), 1},
	    {LEN - 1, 1},
	    {LEN - 1, 100},
	    {LEN, 10},
	    {LEN + 1, 10},
	    {8 << 20, 4 << 20},
	    {(8 << 20) - 3, 6},
	    {1LL << 53, 4 << 20},
	    {(1LL << 53) - 1, 1},
	};
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	char *bytes = put_large(f, ctx, "large", LEN);
	struct err e = {0};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		int64_t from = MIN(ranges[i][0], (int64_t)LEN), to = MIN(ranges[i][0] + ranges[i][1], (int64_t)LEN);
		void *got;
		size_t len;

		if (get(f, "large", ranges[i][0], ranges[i][1], ctx, &got, &len, &e) != ERR_OK)
			fail_msg("range %zu: %s", i, e.text);
		assert_int_equal(len, to - from);
		assert_memory_equal(got, bytes + from, len);
	}
}

static void test_damage_names_object_and_chunk_and_gives_no_byte(void **state)
{
	static const enum fault lies[] = {FAULT_GET_FLIPS, FAULT_GET_SHORT, FAULT_GET_NOTHING};
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct digest d = digest_of("content", 7);
	struct rpc_call call = call_on(ctx);
	struct object_path path = at("k");
	struct object object;
	void *bytes;
	size_t len;

	must_put(f, "k", "content");
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct err e = {0};

		atomic_store(&f->faults.left[lies[i]], 2 * EACH_READ);
		assert_int_equal(get(f, "k", 0, 1, ctx, &bytes, &len, &e), ERR_CORRUPT);
		assert_non_null(strstr(e.text, "docs/k"));
		assert_non_null(strstr(e.text, "object_store"));
		assert_non_null(strstr(e.text, digest_text(&d).text));
		assert_int_equal(object_verify(&call, &f->store, &path, &object, &e), ERR_CORRUPT);
		assert_int_equal(atomic_load(&f->faults.left[lies[i]]), 0);
	}
	expect(f, "k", "content");
}

static void test_a_wrong_digest_of_a_whole_is_found_by_verify(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("liar");
	struct rpc_call call = call_on(ctx);
	struct object_content content;
	struct object object;
	char *bytes = large_content(ctx, CHUNK_MAX + 1, &content);
	bool replaced;
	struct err e;

	content.sha256 = digest_of("something else", 14);
	put_chunks(&f->store, bytes, &content);
	assert_int_equal(object_commit(&f->store, &path, &content, &replaced, &e), ERR_OK);
	assert_int_equal(object_verify(&call, &f->store, &path, &object, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "docs/liar"));
}

static void test_a_deadline_ends_long_work(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("k");
	struct rpc_call call = call_on(ctx);
	struct object object;
	int64_t moved;
	struct err e;

	must_put(f, "k", "content");
	call.deadline_ms = clock_monotonic_ms() - 1;
	assert_int_equal(object_verify(&call, &f->store, &path, &object, &e), ERR_DEADLINE);
	assert_int_equal(object_copy(&call, &f->store, &path, &f->archive, &path, &object, &moved, &e), ERR_DEADLINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_a_commit_says_what_does_not_fit),
	    WITHIN(test_paths_are_checked),
	    BOTH(test_an_empty_object_has_no_chunks),
	    AT_ONCE(test_an_empty_object_has_no_chunks),
	    BOTH(test_replacing_says_so_and_frees_what_was_there),
	    AT_ONCE(test_replacing_says_so_and_frees_what_was_there),
	    BOTH(test_a_failed_put_leaves_the_object_that_was_there),
	    BOTH(test_a_chunk_that_occurs_several_times_is_kept_once),
	    BOTH(test_ranges_cross_chunks_and_end_at_the_end),
	    AT_ONCE(test_ranges_cross_chunks_and_end_at_the_end),
	    BOTH(test_damage_names_object_and_chunk_and_gives_no_byte),
	    WITHIN(test_a_wrong_digest_of_a_whole_is_found_by_verify),
	    WITHIN(test_a_deadline_ends_long_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
