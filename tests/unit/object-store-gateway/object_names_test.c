/* Objects: listing, deleting, links and copies. */
#include "tests/unit/object-store-gateway/object_support.h"

/* ---- listing and deleting ---- */

static size_t count_listed(struct fixture *f, const char *prefix, const char *after, size_t limit, const char **last)
{
	SCRATCH_CTX(ctx);
	struct object_path path = at(prefix);
	static char kept[1100];
	struct object_listed *listed;
	size_t count;
	struct err e = {0};

	if (object_list(&f->store, ctx, &path, after, limit, &listed, &count, &e) != ERR_OK)
		fail_msg("list: %s", e.text);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(strncmp(listed[i].key, prefix, strlen(prefix)), 0);
		assert_true(strcmp(i ? listed[i - 1].key : after, listed[i].key) < 0);
	}
	snprintf(kept, sizeof(kept), "%s", count ? listed[count - 1].key : "");
	if (last)
		*last = kept;
	return count;
}

static const char *const keys[] = {
    "a",
    "a/",
    "a/1",
    "a/2",
    "a%",
    "a%b",
    "a_",
    "ab",
    "A",
    "a\xc3\xa9",
    "b",
    "a\xf4\x8f\xbf\xbf",
    "a\xf4\x8f\xbf\xbfz",
    "\xf0\x9f\x98\x80",
    " ",
    "a//",
    "a\n",
};

static const struct {
	const char *prefix;
	size_t count;
} prefixes[] = {
    {"", ARRAY_SIZE(keys)},   {"a", 13},  {"a/", 4}, {"a%", 2}, {"a_", 1}, {"A", 1}, {"a\xc3\xa9", 1}, {"zz", 0},
    {"a\xf4\x8f\xbf\xbf", 2}, {"a\n", 1},
};

static void test_a_prefix_means_its_bytes_and_nothing_else(void **state)
{
	struct fixture *f = need(state);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_put(f, keys[i], keys[i]);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		assert_int_equal(count_listed(f, prefixes[i].prefix, "", 1000, NULL), prefixes[i].count);
}

static void test_pages_follow_each_other_without_gap_or_overlap(void **state)
{
	struct fixture *f = need(state);
	const char *last = "";
	char after[1100] = "";
	size_t seen = 0, count;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_put(f, keys[i], keys[i]);
	while ((count = count_listed(f, "", after, 3, &last)) > 0) {
		seen += count;
		snprintf(after, sizeof(after), "%s", last);
	}
	assert_int_equal(seen, ARRAY_SIZE(keys));
}

static void test_delete_prefix_takes_exactly_those(void **state)
{
	struct fixture *f = need(state);
	struct object_path path = at("a/");
	int64_t deleted;
	bool more;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_put(f, keys[i], keys[i]);
	assert_int_equal(object_delete_prefix(&f->store, &path, &deleted, &more, &e), ERR_OK);
	assert_int_equal(deleted, 4);
	assert_false(more);
	assert_int_equal(count_listed(f, "", "", 1000, NULL), ARRAY_SIZE(keys) - 4);
	assert_int_equal(sweep(f), 4);
	assert_int_equal(object_delete_prefix(&f->store, &path, &deleted, &more, &e), ERR_OK);
	assert_int_equal(deleted, 0);
}

static void test_delete_prefix_works_in_batches(void **state)
{
	struct fixture *f = need(state);
	struct object_path path = at("n/");
	int64_t deleted, total = 0;
	bool more = true;
	struct err e;

	must_put(f, "n/", "seed");
	fixture_sql(f, "INSERT INTO objects.object (store, account, bucket, key, size, sha256)"
	               " SELECT store, account, bucket, 'n/' || n, 0, sha256 FROM objects.object,"
	               " generate_series(1, 2500) AS n");
	for (int rounds = 0; more; rounds++) {
		assert_true(rounds < 4);
		assert_int_equal(object_delete_prefix(&f->store, &path, &deleted, &more, &e), ERR_OK);
		total += deleted;
	}
	assert_int_equal(total, 2501);
}

static void test_deleting_frees_the_chunks_that_nobody_else_names(void **state)
{
	struct fixture *f = need(state);
	struct object_path path = at("one");
	bool existed;
	struct err e;

	must_put(f, "one", "shared");
	must_put(f, "two", "shared");
	assert_int_equal(sweep(f), 0);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_true(existed);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_false(existed);
	assert_int_equal(sweep(f), 0);
	path = at("two");
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_int_equal(sweep(f), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
}

static void test_accounts_and_buckets_are_kept_apart(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path others[] = {{"other", "docs", "k"}, {"acme", "docs2", "k"}};
	struct object object;
	bool existed;
	struct err e;

	must_put(f, "k", "mine");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(object_find(&f->store, ctx, &others[i], 0, 0, &object, &e), ERR_NOT_FOUND);
		assert_int_equal(object_delete(&f->store, &others[i], &existed, &e), ERR_OK);
		assert_false(existed);
	}
	expect(f, "k", "mine");
}

/* ---- links and copies ---- */

static void test_a_link_outlives_its_source_and_moves_no_bytes(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path from = at("one"), to = at("two"), none = at("none");
	struct object object;
	bool existed;
	struct err e;

	must_put(f, "one", "content");
	assert_int_equal(object_link(&f->store, ctx, &none, &to, &object, &e), ERR_NOT_FOUND);
	assert_int_equal(object_link(&f->store, ctx, &from, &to, &object, &e), ERR_OK);
	assert_int_equal(object.size, 7);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 1);
	assert_int_equal(object_link(&f->store, ctx, &to, &to, &object, &e), ERR_OK);
	assert_int_equal(object_delete(&f->store, &from, &existed, &e), ERR_OK);
	assert_int_equal(sweep(f), 0);
	expect(f, "two", "content");
}

static void test_a_copy_moves_what_is_missing_and_goes_on_after_a_failure(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("large");
	struct rpc_call call = call_on(ctx);
	struct object object;
	int64_t moved;
	size_t stored;
	bool existed;
	struct err e;
	struct digest first;
	char *bytes = put_large(f, ctx, "large", 2 * CHUNK_MAX + 5);

	first = digest_of(bytes, CHUNK_MAX);
	assert_int_equal(chunk_put(&f->archive, &first, bytes, CHUNK_MAX, &stored, &e), ERR_OK);
	atomic_store(&f->faults.left[FAULT_GET_FLIPS], EACH_READ);
	assert_int_equal(object_copy(&call, &f->store, &path, &f->archive, &path, &object, &moved, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "docs/large"));
	assert_int_equal(object_copy(&call, &f->store, &path, &f->archive, &path, &object, &moved, &e), ERR_OK);
	assert_int_equal(moved, CHUNK_MAX + 5);
	assert_int_equal(object_copy(&call, &f->store, &path, &f->archive, &path, &object, &moved, &e), ERR_OK);
	assert_int_equal(moved, 0);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_int_equal(sweep(f), 3);
	assert_int_equal(object_verify(&call, &f->archive, &path, &object, &e), ERR_OK);
	assert_int_equal(object_copy(&call, &f->archive, &path, &f->store, &path, &object, &moved, &e), ERR_OK);
	assert_int_equal(moved, 2 * CHUNK_MAX + 5);
	assert_int_equal(object_verify(&call, &f->store, &path, &object, &e), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITHIN(test_a_prefix_means_its_bytes_and_nothing_else),
	    WITHIN(test_pages_follow_each_other_without_gap_or_overlap),
	    WITHIN(test_delete_prefix_takes_exactly_those),
	    WITHIN(test_delete_prefix_works_in_batches),
	    BOTH(test_deleting_frees_the_chunks_that_nobody_else_names),
	    WITHIN(test_accounts_and_buckets_are_kept_apart),
	    WITHIN(test_a_link_outlives_its_source_and_moves_no_bytes),
	    BOTH(test_a_copy_moves_what_is_missing_and_goes_on_after_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
