#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/rekey.h"
#include "tests/unit/object-store-gateway/cipher_support.h"

#define TIME_MS 60000
#define CHUNKS 20

static const enum fixture_kind every_kind[] = {
    BACKEND_MEM,           BACKEND_DB, BACKEND_LOCALFS, BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS,
    BACKEND_FAULTY_WITHIN,
};

/* ---- support ---- */

static const char *content(TALLOC_CTX *ctx, int i)
{
	return talloc_asprintf(ctx, "content %d of this test", i);
}

static void put_all(struct fixture *f, int from, int to)
{
	SCRATCH_CTX(ctx);

	for (int i = from; i < to; i++)
		must_put(f, content(ctx, i), strlen(content(ctx, i)));
}

static void get_all(struct fixture *f, int count)
{
	SCRATCH_CTX(ctx);

	for (int i = 0; i < count; i++)
		must_get(f, content(ctx, i), strlen(content(ctx, i)));
}

/* All batches, as the command line asks for them. */
static struct store_rekey_reply rekey(struct fixture *f, TALLOC_CTX *ctx, int64_t limit)
{
	struct store_rekey_reply sum = {0}, batch = {.more = true};
	struct store_rekey_request request = {.store = "object_store", .limit = limit};
	struct err e = {0};

	for (int i = 0; batch.more; i++) {
		assert_true(i < 100);
		batch = (struct store_rekey_reply){0};
		fixture_must(rekey_batch(&f->store, ctx, &request, TIME_MS, &batch, &e), &e);
		assert_true(!batch.more || batch.last > request.after);
		sum.checked += batch.checked;
		sum.rewritten += batch.rewritten;
		sum.failed += batch.failed;
		if (batch.failures_count)
			sum.failures = batch.failures;
		request.after = sum.last = batch.last;
		request.key = sum.key = batch.key;
		sum.left = batch.left;
	}
	return sum;
}

static int64_t under(struct fixture *f, const char *key)
{
	char sql[160];

	snprintf(
	    sql, sizeof(sql),
	    "SELECT count(*) FROM objects.chunk WHERE state IN ('live', 'spare') AND coalesce(cipher_key, '') = '%s'",
	    key);
	return fixture_number(f, sql);
}

static struct fixture *fresh(enum fixture_kind kind)
{
	struct fixture *f = fixture_new(kind);

	if (!f)
		skip();
	return f;
}

/* ---- tests ---- */

static void goes_to_the_current_key(struct fixture *f)
{
	SCRATCH_CTX(ctx);
	struct store_rekey_reply r;
	int64_t removed;

	put_all(f, 0, 5);
	use_keys(f, K1);
	put_all(f, 5, CHUNKS);
	fixture_sql(f, "INSERT INTO objects.object (id, store, account, bucket, key, size, sha256)"
	               " SELECT id, 'object_store', 'a', 'b', 'k' || id, size, sha256 FROM objects.chunk");
	fixture_sql(f, "INSERT INTO objects.object_chunk SELECT id, 0, id FROM objects.chunk");
	use_keys(f, K2 "," K1);
	r = rekey(f, ctx, 7);
	assert_int_equal(r.checked, CHUNKS);
	assert_int_equal(r.rewritten, CHUNKS);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.left, 0);
	assert_string_equal(r.key, "k2");
	assert_int_equal(under(f, "k2"), CHUNKS);
	use_keys(f, K2); /* the old key is not needed any more */
	get_all(f, CHUNKS);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, CHUNKS);
	nothing_half_there(f, CHUNKS);
	get_all(f, CHUNKS);
	assert_int_equal(rekey(f, ctx, 7).checked, 0);
	/* And back to where nothing is encrypted, which needs the key once more. */
	use_keys(f, NULL);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.failed, CHUNKS);
	assert_int_equal(r.left, CHUNKS);
	assert_string_equal(r.key, "none");
	assert_non_null(strstr(r.failures[0].reason, "key k2, which is not configured"));
	assert_int_equal(under(f, "k2"), CHUNKS);
	use_keys(f, "none," K2);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.rewritten, CHUNKS);
	assert_int_equal(r.left, 0);
	assert_string_equal(r.key, "none");
	use_keys(f, NULL);
	get_all(f, CHUNKS);
}

static void all_chunks_go_to_the_current_key(void **state)
{
	(void)state;
	on_each(every_kind, ARRAY_SIZE(every_kind), goes_to_the_current_key);
}

static void one_that_fails_is_named_and_stays_and_the_others_go(void **state)
{
	static const enum fault faults[] = {FAULT_GET_FAILS, FAULT_PUT_BEFORE, FAULT_PUT_AFTER};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		SCRATCH_CTX(ctx);
		struct fixture *f = fresh(BACKEND_FAULTY_MEM);
		struct store_rekey_reply r;

		use_keys(f, K1);
		put_all(f, 0, CHUNKS);
		use_keys(f, K2 "," K1);
		spoil(f, faults[i], 1);
		r = rekey(f, ctx, 0);
		assert_int_equal(r.failed, 1);
		assert_int_equal(r.rewritten, CHUNKS - 1);
		assert_int_equal(r.left, 1);
		assert_true(strlen(r.failures[0].reason) > 0);
		get_all(f, CHUNKS);
		r = rekey(f, ctx, 0);
		assert_int_equal(r.rewritten, 1);
		assert_int_equal(r.left, 0);
		get_all(f, CHUNKS);
		fixture_free(f);
	}
}

static void a_gateway_with_another_key_refuses(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_MEM);
	struct store_rekey_request request = {.store = "object_store", .key = "k2"};
	struct store_rekey_reply reply = {0};
	struct err e = {0};

	(void)state;
	use_keys(f, K1 "," K2);
	put_all(f, 0, 3);
	assert_int_equal(rekey_batch(&f->store, ctx, &request, TIME_MS, &reply, &e), ERR_PRECONDITION);
	assert_non_null(strstr(e.text, "key k1, not k2"));
	use_keys(f, NULL);
	assert_int_equal(rekey_batch(&f->store, ctx, &request, TIME_MS, &reply, &e), ERR_PRECONDITION);
	request.key = "none";
	assert_int_equal(rekey_batch(&f->store, ctx, &request, TIME_MS, &reply, &e), ERR_OK);
	fixture_free(f);
}

static void a_batch_without_time_comes_further_all_the_same(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_MEM);
	struct store_rekey_request request = {.store = "object_store"};
	struct store_rekey_reply reply = {.more = true};
	struct err e = {0};
	int batches = 0;

	(void)state;
	put_all(f, 0, 3);
	use_keys(f, K1);
	for (; reply.more; batches++) {
		reply = (struct store_rekey_reply){0};
		assert_int_equal(rekey_batch(&f->store, ctx, &request, -1, &reply, &e), ERR_OK);
		request.after = reply.last;
	}
	assert_int_equal(batches, 3);
	assert_int_equal(under(f, "k1"), 3);
	fixture_free(f);
}

static void a_bad_read_that_passes_is_no_failure(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_FAULTY_MEM);
	struct store_rekey_reply r;

	(void)state;
	must_put(f, "content", 7);
	use_keys(f, K1);
	spoil(f, FAULT_GET_FLIPS, EACH_READ);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.rewritten, 1);
	must_get(f, "content", 7);
	fixture_free(f);
}

/* ---- what cannot be read ---- */

static void damage_is_marked_and_counted(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_DB);
	struct store_rekey_reply r;

	(void)state;
	use_keys(f, K1);
	put_all(f, 0, 5);
	fixture_sql(f, "UPDATE objects.chunk_data SET bytes = set_byte(bytes, 3, (get_byte(bytes, 3) + 1) % 256)"
	               " WHERE chunk = (SELECT min(chunk) FROM objects.chunk_data)");
	use_keys(f, K2 "," K1);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.rewritten, 4);
	assert_int_equal(r.failed, 1);
	assert_int_equal(r.left, 1);
	assert_non_null(strstr(r.failures[0].reason, "does not decrypt"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE damaged"), 1);
	put_all(f, 0, 5);
	assert_int_equal(rekey(f, ctx, 0).left, 0);
	get_all(f, 5);
	fixture_free(f);
}

static void what_is_lost_comes_from_the_other_store(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_DB);
	struct digest d = digest_of("in both", 7);
	struct store_rekey_reply r;
	struct err e = {0};
	size_t stored;

	(void)state;
	f->store.sibling = &f->archive;
	fixture_must(chunk_put(&f->archive, &d, "in both", 7, &stored, &e), &e);
	use_keys(f, "lost:" KEY_THREE);
	must_put(f, "in both", 7);
	must_put(f, "in one", 6);
	use_keys(f, K1);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.rewritten, 1);
	assert_int_equal(r.failed, 1);
	assert_int_equal(r.left, 1);
	assert_non_null(strstr(r.failures[0].reason, "key lost, which is not configured"));
	must_get(f, "in both", 7);
	fixture_free(f);
}

/* ---- spare copies ---- */

/* Content that is live in the current back end, with a spare copy there, too. */
static void make_spare(struct fixture *f, TALLOC_CTX *ctx, const char *text)
{
	struct chunk old;
	struct err e = {0};
	bool done;

	must_put(f, text, strlen(text));
	assert_true(find(f, ctx, text, strlen(text), &old));
	fixture_must(chunk_rewrite(&f->store, &old, text, f->store.current, CHUNK_SPARE, &done, &e), &e);
	assert_true(done);
}

static struct chunk the_spare(struct fixture *f, TALLOC_CTX *ctx)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	struct err e;

	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(
	    db_query(db, ctx, &rows, &e, "SELECT " CHUNK_COLUMNS " FROM objects.chunk c WHERE state = 'spare'"), &e);
	assert_int_equal(db_count(rows), 1);
	return chunk_from_row(rows, 0, 0);
}

static void spare_copies_go_along_and_stay_spare(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_LOCALFS);
	struct store_rekey_reply r;
	struct chunk spare;
	struct err e = {0};
	int64_t removed;
	void *bytes;

	(void)state;
	use_keys(f, K1);
	make_spare(f, ctx, "kept twice");
	use_keys(f, K2 "," K1);
	r = rekey(f, ctx, 0);
	assert_int_equal(r.rewritten, 2);
	assert_int_equal(r.left, 0);
	assert_int_equal(under(f, "k2"), 2);
	assert_int_equal(rows_in(f, "spare"), 1);
	use_keys(f, K2);
	spare = the_spare(f, ctx);
	assert_int_equal(chunk_get(&f->store, ctx, &spare, &bytes, &e), ERR_OK);
	assert_memory_equal(bytes, "kept twice", 10);
	/* It still goes with what it is a copy of. */
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	nothing_half_there(f, 0);
	fixture_free(f);
}

static void a_spare_copy_that_cannot_be_read_comes_from_the_live_one(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_MEM);
	struct store_rekey_reply r;

	(void)state;
	use_keys(f, "lost:" KEY_THREE);
	make_spare(f, ctx, "kept twice");
	use_keys(f, K1);
	must_put(f, "kept twice", 10); /* mends the live one */
	r = rekey(f, ctx, 0);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.left, 0);
	assert_int_equal(under(f, "k1"), 2);
	assert_int_equal(rows_in(f, "spare"), 1);
	fixture_free(f);
}

static void a_spare_copy_of_what_is_gone_is_not_made_anew(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_MEM);
	struct chunk spare;
	struct err e = {0};
	int64_t removed;
	bool done = true;

	(void)state;
	use_keys(f, K1);
	make_spare(f, ctx, "kept twice");
	spare = the_spare(f, ctx);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 2);
	assert_int_equal(chunk_rewrite_spare(&f->store, &spare, "kept twice", f->store.current, &done, &e), ERR_OK);
	assert_false(done);
	assert_int_equal(rows_in(f, "spare"), 0);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	nothing_half_there(f, 0);
	fixture_free(f);
}

/* ---- together with others ---- */

static void sweep_it_all(void *arg)
{
	struct fixture *f = arg;
	int64_t removed;

	assert_int_equal(sweep(f, &removed), ERR_OK);
}

/* Between the bytes of the new copy and the row that names it, the sweep takes the content. */
static void the_sweep_may_be_faster(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_FAULTY_MEM);
	struct store_rekey_reply r;

	(void)state;
	use_keys(f, K1);
	make_spare(f, ctx, "kept twice");
	put_all(f, 0, 3);
	use_keys(f, K2 "," K1);
	f->faults.meanwhile = sweep_it_all;
	f->faults.meanwhile_arg = f;
	r = rekey(f, ctx, 0);
	f->faults.meanwhile = NULL;
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.left, 0);
	sweep_it_all(f);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	nothing_half_there(f, 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_chunks_go_to_the_current_key),
	    cmocka_unit_test(one_that_fails_is_named_and_stays_and_the_others_go),
	    cmocka_unit_test(a_gateway_with_another_key_refuses),
	    cmocka_unit_test(a_batch_without_time_comes_further_all_the_same),
	    cmocka_unit_test(a_bad_read_that_passes_is_no_failure),
	    cmocka_unit_test(damage_is_marked_and_counted),
	    cmocka_unit_test(what_is_lost_comes_from_the_other_store),
	    cmocka_unit_test(spare_copies_go_along_and_stay_spare),
	    cmocka_unit_test(a_spare_copy_that_cannot_be_read_comes_from_the_live_one),
	    cmocka_unit_test(a_spare_copy_of_what_is_gone_is_not_made_anew),
	    cmocka_unit_test(the_sweep_may_be_faster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
