/*
 * Space that removals left comes back: what the driver db does with its tables, measured at their files.
 */
#include "tests/unit/object-store-gateway/compact_support.h"

#define ALWAYS (INT64_MAX / 2) /* before_ms: whenever it was looked at, it is time again */

static void test_files_shrink_to_what_is_live(void **state)
{
	enum { CHUNKS = 50, KEPT = 5 };
	struct fixture *f = fixture_or_skip();
	const int64_t live = (int64_t)KEPT * (int64_t)CHUNK_MAX;
	struct compaction done;
	int64_t removed, full, after;
	void *bytes = talloc_size(f, CHUNK_MAX);

	(void)state;
	for (uint64_t n = 0; n < CHUNKS; n++) {
		fixture_noise(bytes, CHUNK_MAX, n);
		must_put(f, bytes, CHUNK_MAX);
	}
	full = size_of_files(f);
	assert_true(full > CHUNKS * (int64_t)CHUNK_MAX);
	fixture_sql(f, "UPDATE objects.chunk SET suspect = false WHERE id % 10 = 0"); /* as if objects named them */
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, CHUNKS - KEPT);
	assert_true(size_of_files(f) == full);
	done = must_compact(f, f->store.current->conn);
	after = size_of_files(f);
	print_message("  %lld MiB of files with %lld MiB live, %lld MiB after compacting\n", (long long)full >> 20,
	              (long long)live >> 20, (long long)after >> 20);
	assert_int_equal(done.moved_bytes, live);
	assert_true(done.dropped >= 1 && done.freed_bytes >= full);
	assert_true(after < live + live / 8);
	assert_true(size_of_tables(f) < live + live / 8);
	assert_in_range(size_of_tables(f) - done.held_bytes, 0, 65536); /* of a table that is not in use */
	nothing_half_there(f, KEPT);
	assert_int_equal(must_compact(f, f->store.current->conn).moved_rows, 0); /* it is dense now */
	fixture_free(f);
}

/* The table that was there before all others is emptied and used again, like every other name. */
static void test_names_of_tables_are_used_again(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 1024");
	struct err e = {0};

	(void)state;
	for (int64_t round = 0; round < 3; round++) {
		int64_t from = 1 + round * 100, to = from + 40;

		fill(c, from, to, 500000);
		thin_out(c, from, to);
		assert_true(must_compact(f, c).dropped >= 1);
		assert_true(size_of_files(f) < 4000000);
		assert_true(count_tables(f) <= 2);
		tenth_is_there(c, from, to, 500000);
		for (int64_t n = from; n < to; n++)
			fixture_must(remove_at(c, n, &e), &e);
	}
	assert_int_equal(fixture_number(f, "SELECT max(slot) FROM objects.chunk_segment"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pg_class WHERE relname = 'chunk_data'"
	                                   " AND array_to_string(reloptions, ' ') LIKE '%autovacuum_enabled%'"),
	                 0);
	driver_db.close(c);
	fixture_free(f);
}

static void test_removed_space_is_used_again_without_compacting(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 1024");
	struct err e = {0};
	int64_t full;

	(void)state;
	fill(c, 1, 41, 1000000);
	full = size_of_files(f);
	for (int64_t n = 1; n < 41; n++)
		fixture_must(remove_at(c, n, &e), &e);
	fixture_sql(f, "VACUUM objects.chunk_data"); /* what autovacuum does, some time within a minute */
	fill(c, 101, 141, 1000000);
	assert_true(size_of_files(f) <= full + full / 10);
	driver_db.close(c);
	fixture_free(f);
}

static void test_a_full_table_is_followed_by_a_new_one(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 2"), *other = open_replica(f, "segment_mbytes: 2");
	struct err e = {0};

	(void)state;
	for (int64_t round = 0; round < 6; round++) {
		must_compact(f, c); /* as the background does */
		fill(c, 1 + round * 10, 11 + round * 10, 400000);
		usleep(SEGMENT_TARGET_MS * 1000 + 100000);
		must_put_at(other, 1000 + round, 1000);
	}
	assert_in_range(count_tables(f), 4, 6);
	for (int64_t n = 1; n < 61; n++)
		fixture_must(get_at(other, n, 400000, &e), &e);
	/* As many as are needed for a quarter each: the older ones are not merged, but no more come than that. */
	assert_true(fixture_number(f, "SELECT count(*) FROM objects.chunk_data_1") > 0);
	assert_int_equal(fixture_number(f, "SELECT count(DISTINCT chunk) FROM objects.chunk_data"), 66);
	driver_db.close(c);
	driver_db.close(other);
	fixture_free(f);
}

static void test_a_put_that_is_repeated_after_the_table_changed_is_there_once(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 1024");
	struct segments *s = segments_new(f, f->pool, 1 << 30);
	struct err e = {0};

	(void)state;
	must_put_at(c, 7, 300000);
	fixture_must(segments_open(s, 1, &e), &e);
	usleep(SEGMENT_TARGET_MS * 1000 + 100000);
	must_put_at(c, 7, 300000);
	must_put_at(c, 8, 300000);
	fixture_must(get_at(c, 7, 300000, &e), &e);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data WHERE chunk = 7"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data_1 WHERE chunk = 8"), 2);
	driver_db.close(c);
	fixture_free(f);
}

/* A writer that remembers a table which is gone finds the newest one, within the caller's transaction. */
static void test_a_writer_that_comes_late_writes_to_another_table(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct segments *s = segments_new(f, f->pool, 1 << 30);
	struct err e = {0};

	(void)state;
	for (uint64_t round = 0; round < 3; round++) {
		char bytes[3000];

		fixture_noise(bytes, sizeof(bytes), round * 2);
		fixture_must(segments_open(s, fixture_number(f, "SELECT max(id) FROM objects.chunk_segment"), &e), &e);
		usleep(SEGMENT_TARGET_MS * 1000 + 100000);
		must_put(f, bytes, sizeof(bytes)); /* remembers chunk_data_1 */
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data_1"), 1);
		fixture_sql(f, "INSERT INTO objects.chunk_data SELECT * FROM objects.chunk_data_1");
		fixture_sql(f, "DROP TABLE objects.chunk_data_1");
		fixture_sql(f, "DELETE FROM objects.chunk_segment WHERE slot = 1");
		must_get(f, bytes, sizeof(bytes));
		fixture_noise(bytes, sizeof(bytes), round * 2 + 1);
		must_put(f, bytes, sizeof(bytes));
		must_get(f, bytes, sizeof(bytes));
	}
	nothing_half_there(f, 6);
	fixture_free(f);
}

/* Somebody reads in a transaction that does not end, another has inserted and not committed: the table stays, and
 * nobody else has to wait. */
static void use_table(struct fixture *f, struct driver_conn *c, int64_t from, bool writes)
{
	const int64_t to = from + 40, before = database_ms(f), until = clock_monotonic_ms() + SEGMENT_SETTLED_MS + 1000;
	int64_t slowest = 0;
	struct compaction done = {0};
	struct db *user = NULL;
	struct err e = {0};

	fill(c, from, to, 500000);
	thin_out(c, from, to);
	fixture_must(db_acquire(f->pool, 1000, &user, &e), &e);
	fixture_must(db_begin(user, &e), &e);
	if (writes) { /* as the gateway does, into the newest */
		struct location at = place(from + 500);

		fixture_must(driver_db.put_within(c, user, &at, "late", 4, &e), &e);
	} else {
		fixture_must(db_query(user, NULL, NULL, &e, "SELECT count(*) FROM objects.chunk_data"), &e);
	}
	while (clock_monotonic_ms() < until) {
		struct compact_order order = order_for(100);
		int64_t began;

		order.before_ms = before;
		fixture_must(driver_db.compact(c, &order, &done, &e), &e);
		if (!done.more || done.dropped > 0)
			fail_msg("a table that is in use was dropped");
		began = clock_monotonic_ms();
		fixture_must(get_at(c, from, 500000, &e), &e);
		slowest = MAX(slowest, clock_monotonic_ms() - began);
	}
	assert_true(done.waiting);
	assert_true(slowest < 2000);
	fixture_must(db_commit(user, &e), &e);
	db_release(user);
	must_compact(f, c);
	assert_true(size_of_files(f) < 6000000);
	tenth_is_there(c, from, to, 500000);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data WHERE bytes = 'late'"), writes);
	for (int64_t n = from; n < to; n += 10)
		fixture_must(remove_at(c, n, &e), &e);
}

static void test_a_table_in_use_is_dropped_later(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 1024");

	(void)state;
	use_table(f, c, 1000, false);
	use_table(f, c, 2000, true);
	driver_db.close(c);
	fixture_free(f);
}

/* What cannot be moved is said, with the table's name, after everything else was compacted. */
static void test_a_table_that_cannot_be_emptied_does_not_stop_the_others(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 4");
	struct compaction done;
	struct err e = {0};

	(void)state;
	for (int64_t n = 0; n < 4; n++) {
		fill(c, 1 + n * 100, 31 + n * 100, 400000);
		must_compact(f, c); /* opens the next */
		usleep(SEGMENT_TARGET_MS * 1000 + 50000);
	}
	for (int64_t n = 0; n < 4; n++)
		thin_out(c, 1 + n * 100, 31 + n * 100);
	fixture_sql(f, "CREATE FUNCTION objects.refuse() RETURNS trigger LANGUAGE plpgsql AS"
	               " $$ BEGIN RAISE EXCEPTION 'the disk says no'; END $$");
	fixture_sql(f, "CREATE TRIGGER refuse BEFORE DELETE ON objects.chunk_data_1 FOR EACH ROW"
	               " EXECUTE PROCEDURE objects.refuse()");
	assert_int_equal(compact_all(f, c, &done, &e), ERR_INTERNAL);
	assert_non_null(strstr(e.text, "chunk_data_1"));
	assert_non_null(strstr(e.text, "the disk says no"));
	assert_true(fixture_number(f, "SELECT count(*) FROM objects.chunk_segment WHERE state = 'draining'") == 1);
	assert_true(size_of_files(f) < 22 * (int64_t)MIB); /* chunk_data_1 is as it was, the others are not */
	fixture_sql(f, "DROP TRIGGER refuse ON objects.chunk_data_1");
	must_compact(f, c);
	assert_true(size_of_files(f) < 8 * (int64_t)MIB);
	for (int64_t n = 0; n < 4; n++)
		tenth_is_there(c, 1 + n * 100, 31 + n * 100, 400000);
	driver_db.close(c);
	fixture_free(f);
}

static void test_only_back_ends_that_leave_gaps_are_compacted(void **state)
{
	struct fixture *f = fixture_or_skip();
	struct compact_order order = order_for(1000);
	struct compaction done;
	int64_t able;
	struct err e = {0};

	(void)state;
	assert_int_equal(compact_run(&f->archive, &order, &done, &able, &e), ERR_OK);
	assert_int_equal(able, 0);
	assert_false(done.more);
	assert_int_equal(compact_run(&f->store, &order, &done, &able, &e), ERR_OK);
	assert_int_equal(able, 1);
	fixture_free(f);
}

/* What a packed table takes is estimated well enough for every size of rows: else dense tables were emptied for ever,
 * or sparse ones never. */
static void test_dense_tables_of_all_row_sizes_are_left_alone(void **state)
{
	static const struct {
		size_t len;
		int64_t count;
	} tables[] = {{60, 120000}, {700, 20000}, {1900, 8000}, {2100, 8000}, {5000, 4000}, {4194304, 6}};
	struct fixture *f = fixture_or_skip();
	struct driver_conn *c = open_replica(f, "segment_mbytes: 1024");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct compact_order order = order_for(10000);
		struct compaction done;
		struct err e = {0};
		char sql[512];

		snprintf(sql, sizeof(sql),
		         "INSERT INTO %s SELECT n, s, decode(repeat('ab', 32), 'hex'),"
		         " decode(repeat('ab', %zu), 'hex') FROM generate_series(1, %lld) AS n, generate_series(0, "
		         "%lld) AS s",
		         newest_table(f).text, MIN(tables[i].len, (size_t)262144), (long long)tables[i].count,
		         (long long)((tables[i].len - 1) / 262144));
		fixture_sql(f, sql);
		assert_true(size_of_files(f) > 8 * (int64_t)MIB);
		order.percent = 85;
		order.before_ms = ALWAYS;
		order.until_ms = 0;
		fixture_must(driver_db.compact(c, &order, &done, &e), &e);
		if (fixture_number(f, "SELECT count(*) FROM objects.chunk_segment WHERE state = 'draining'"))
			fail_msg("a dense table with rows of %zu bytes is taken for sparse", tables[i].len);
		fixture_sql(f, "DELETE FROM objects.chunk_data WHERE chunk % 5 < 2");
		order.percent = 65;
		fixture_must(driver_db.compact(c, &order, &done, &e), &e);
		if (!fixture_number(f, "SELECT count(*) FROM objects.chunk_segment WHERE state = 'draining'"))
			fail_msg("a table with gaps, and rows of %zu bytes, is taken for dense", tables[i].len);
		fixture_sql(f, "DELETE FROM objects.chunk_data");
		must_compact(f, c);
		assert_true(size_of_files(f) < (int64_t)MIB);
	}
	driver_db.close(c);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files_shrink_to_what_is_live),
	    cmocka_unit_test(test_names_of_tables_are_used_again),
	    cmocka_unit_test(test_removed_space_is_used_again_without_compacting),
	    cmocka_unit_test(test_a_full_table_is_followed_by_a_new_one),
	    cmocka_unit_test(test_a_put_that_is_repeated_after_the_table_changed_is_there_once),
	    cmocka_unit_test(test_a_writer_that_comes_late_writes_to_another_table),
	    cmocka_unit_test(test_a_table_in_use_is_dropped_later),
	    cmocka_unit_test(test_a_table_that_cannot_be_emptied_does_not_stop_the_others),
	    cmocka_unit_test(test_only_back_ends_that_leave_gaps_are_compacted),
	    cmocka_unit_test(test_dense_tables_of_all_row_sizes_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
