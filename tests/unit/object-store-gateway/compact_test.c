/*
 * Space that removals left comes back: what the driver db does with its tables, measured at their files, while others
 * read, write and remove.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/compact.h"
#include "services/object-store-gateway/drivers/db_segments.h"
#include "tests/unit/object-store-gateway/chunk_support.h"

#include <pthread.h>
#include <stdatomic.h>

#define ALWAYS (INT64_MAX / 2) /* before_ms: whenever it was looked at, it is time again */
#define PATIENCE_MS 30000

/* ---- what all cases use ---- */

/* A back end of its own on the same tables, as another replica has it. */
static struct driver_conn *open_replica(struct fixture *f, const char *config)
{
	static const struct config_option options[] = {{.path = "config", .type = CONFIG_TREE}, CONFIG_END};
	struct driver_setup setup = {"object_store", NULL, f->pool};
	const char *path = talloc_asprintf(f, "%s/db.yaml", f->dir);
	struct driver_conn *conn;
	FILE *file = fopen(path, "w");
	struct err e;

	ASSERT(file && fprintf(file, "config: {%s}\n", config) > 0 && fclose(file) == 0);
	fixture_must(config_load(f, &path, 1, options, &setup.config, &e), &e);
	fixture_must(driver_db.open(f, &setup, &conn, &e), &e);
	return conn;
}

static struct location place(int64_t number)
{
	return (struct location){.sha256 = digest_of(&number, sizeof(number)), .number = number};
}

static enum err_code put_at(struct driver_conn *c, int64_t number, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct location at = place(number);
	void *bytes = talloc_size(ctx, len);

	fixture_noise(bytes, len, (uint64_t)number);
	return driver_db.put(c, &at, bytes, len, e);
}

static enum err_code get_at(struct driver_conn *c, int64_t number, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct location at = place(number);
	char *room = talloc_size(ctx, len), *wanted = talloc_size(ctx, len);
	size_t got = 0;

	TRY(driver_db.get(c, &at, room, len, &got, e));
	fixture_noise(wanted, len, (uint64_t)number);
	return got == len && memcmp(room, wanted, len) == 0 ? ERR_OK : ERR(e, ERR_CORRUPT, "other bytes came back");
}

static enum err_code remove_at(struct driver_conn *c, int64_t number, struct err *e)
{
	struct location at = place(number);

	return driver_db.remove(c, &at, 1, e);
}

static void must_put_at(struct driver_conn *c, int64_t number, size_t len)
{
	struct err e = {0};

	fixture_must(put_at(c, number, len, &e), &e);
}

static void fill(struct driver_conn *c, int64_t from, int64_t to, size_t len)
{
	for (int64_t n = from; n < to; n++)
		must_put_at(c, n, len);
}

/* All but every tenth. */
static void thin_out(struct driver_conn *c, int64_t from, int64_t to)
{
	struct err e = {0};

	for (int64_t n = from; n < to; n++)
		if (n % 10)
			fixture_must(remove_at(c, n, &e), &e);
}

static void tenth_is_there(struct driver_conn *c, int64_t from, int64_t to, size_t len)
{
	struct err e = {0};

	for (int64_t n = from; n < to; n++)
		if (n % 10 == 0)
			fixture_must(get_at(c, n, len, &e), &e);
		else
			assert_int_equal(get_at(c, n, len, &e), ERR_NOT_FOUND);
}

static struct compact_order order_for(int64_t ms)
{
	return (struct compact_order){.percent = 70, .before_ms = 0, .until_ms = clock_monotonic_ms() + ms};
}

static int64_t database_ms(struct fixture *f)
{
	return fixture_number(f, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
}

/* Calls until nothing is left to do. */
static enum err_code compact_all(struct fixture *f, struct driver_conn *c, struct compaction *sum, struct err *e)
{
	int64_t until = clock_monotonic_ms() + PATIENCE_MS, before = database_ms(f);
	struct compaction one = {.more = true};

	*sum = (struct compaction){0};
	while (one.more) {
		struct compact_order order = order_for(500);

		assert_true(clock_monotonic_ms() < until);
		order.before_ms = before;
		TRY(driver_db.compact(c, &order, &one, e));
		sum->moved_rows += one.moved_rows;
		sum->moved_bytes += one.moved_bytes;
		sum->dropped += one.dropped;
		sum->freed_bytes += one.freed_bytes;
		sum->held_bytes = one.held_bytes;
		if (one.waiting)
			usleep(100000);
	}
	return ERR_OK;
}

static struct compaction must_compact(struct fixture *f, struct driver_conn *c)
{
	struct compaction sum;
	struct err e = {0};

	fixture_must(compact_all(f, c, &sum, &e), &e);
	return sum;
}

#define TABLES                                                                                                         \
	"(SELECT 'objects.chunk_data'::regclass AS t UNION ALL"                                                        \
	" SELECT inhrelid FROM pg_inherits WHERE inhparent = 'objects.chunk_data'::regclass) AS tables"

static int64_t size_of_tables(struct fixture *f)
{
	return fixture_number(f, "SELECT sum(pg_total_relation_size(t))::bigint FROM " TABLES);
}

/* The files themselves, as the file system shows them: of the tables and their out of line parts. */
static int64_t size_of_files(struct fixture *f)
{
	return fixture_number(
	    f, "SELECT sum((pg_stat_file(pg_relation_filepath(oid))).size)::bigint FROM pg_class WHERE oid IN"
	       " (SELECT t FROM " TABLES
	       ") OR oid IN (SELECT reltoastrelid FROM pg_class WHERE oid IN (SELECT t FROM " TABLES "))");
}

static struct segment_name newest_table(struct fixture *f)
{
	return segment_name((int)fixture_number(f, "SELECT slot FROM objects.chunk_segment WHERE state = 'open'"
	                                           " ORDER BY id DESC LIMIT 1"));
}

static int64_t count_tables(struct fixture *f)
{
	return fixture_number(f, "SELECT count(*) FROM " TABLES);
}

static struct fixture *fixture_or_skip(void)
{
	struct fixture *f = fixture_new(BACKEND_DB);

	if (!f)
		skip();
	return f;
}

/* ---- the cases ---- */

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

/* ---- with a crowd ---- */

#define BASE 40 /* chunks that everybody reads all the time */
#define BASE_LEN 400000
#define OWN_LEN 300000
#define OWN 12 /* that each writer has at a time */
#define CROWD_MS 6000

struct crowd {
	struct fixture *f;
	atomic_bool over;
	atomic_int reads, writes, dropped;
	atomic_long slowest_read_us, slowest_write_us;
	pthread_mutex_t mutex;
	char wrong[600];
};

struct member {
	struct crowd *crowd;
	struct driver_conn *conn;
	int64_t number, kept;
};

static void note(struct crowd *w, const char *what, int64_t number, const struct err *e)
{
	pthread_mutex_lock(&w->mutex);
	if (!w->wrong[0])
		snprintf(w->wrong, sizeof(w->wrong), "%s %lld: %s", what, (long long)number, e->text);
	pthread_mutex_unlock(&w->mutex);
}

static void keep_slowest(atomic_long *slowest, int64_t us)
{
	long seen = atomic_load(slowest);

	while (us > seen && !atomic_compare_exchange_weak(slowest, &seen, (long)us))
		;
}

static void *read_all_the_time(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;

	for (int64_t n = m->number; !atomic_load(&w->over); n++) {
		int64_t began = clock_monotonic_us();
		struct err e = {0};

		if (get_at(m->conn, 1 + n % BASE, BASE_LEN, &e) != ERR_OK)
			note(w, "reading", 1 + n % BASE, &e);
		keep_slowest(&w->slowest_read_us, clock_monotonic_us() - began);
		atomic_fetch_add(&w->reads, 1);
	}
	return NULL;
}

/* Puts chunks, and removes the oldest of its own: at the end exactly the youngest are there. */
static void *write_and_remove(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;
	int64_t first = m->number * 1000000;

	for (; !atomic_load(&w->over); m->kept++) {
		int64_t began = clock_monotonic_us(), oldest = first + m->kept - OWN;
		struct err e = {0};

		if (put_at(m->conn, first + m->kept, OWN_LEN, &e) != ERR_OK)
			note(w, "putting", first + m->kept, &e);
		keep_slowest(&w->slowest_write_us, clock_monotonic_us() - began);
		if (oldest >= first && remove_at(m->conn, oldest, &e) != ERR_OK)
			note(w, "removing", oldest, &e);
		if (oldest >= first && get_at(m->conn, oldest, OWN_LEN, &e) != ERR_NOT_FOUND)
			note(w, "is there after it was removed:", oldest, &e);
		atomic_fetch_add(&w->writes, 1);
	}
	return NULL;
}

static void *compact_all_the_time(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;

	while (!atomic_load(&w->over)) {
		struct compact_order order = {.percent = 95, .until_ms = clock_monotonic_ms() + 300};
		struct compaction done;
		struct err e = {0};

		order.before_ms = database_ms(w->f);

		if (driver_db.compact(m->conn, &order, &done, &e) != ERR_OK)
			note(w, "compacting", 0, &e);
		atomic_fetch_add(&w->dropped, (int)done.dropped);
	}
	return NULL;
}

/* Everything that should be there is, and nothing else. */
static void check_crowd(struct fixture *f, struct member *members, size_t count)
{
	struct driver_conn *c = members[0].conn;
	int64_t wanted = BASE * 2, number;
	struct err e = {0};

	for (int64_t n = 1; n <= BASE; n++)
		fixture_must(get_at(c, n, BASE_LEN, &e), &e);
	for (size_t i = 0; i < count; i++) {
		if (!members[i].kept)
			continue;
		for (int64_t n = MAX(members[i].kept - OWN, (int64_t)0); n < members[i].kept; n++) {
			number = members[i].number * 1000000 + n;
			fixture_must(get_at(c, number, OWN_LEN, &e), &e);
			wanted += 2;
		}
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data"), wanted);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM (SELECT 1 FROM objects.chunk_data GROUP BY chunk, seq"
	                                   " HAVING count(*) > 1) AS twice"),
	                 0);
}

/* Readers see every chunk once and whole, wherever it is moved; removals miss nothing; nobody waits long. */
static void test_readers_writers_and_removers_go_on_meanwhile(void **state)
{
	static void *(*const bodies[])(void *) = {read_all_the_time, read_all_the_time,    write_and_remove,
	                                          write_and_remove,  compact_all_the_time, compact_all_the_time};
	struct fixture *f = fixture_or_skip();
	struct driver_conn *replicas[2] = {open_replica(f, "segment_mbytes: 4"), open_replica(f, "segment_mbytes: 4")};
	struct crowd w = {.f = f, .mutex = PTHREAD_MUTEX_INITIALIZER};
	struct member members[ARRAY_SIZE(bodies)];
	pthread_t threads[ARRAY_SIZE(bodies)];

	(void)state;
	fill(replicas[0], 1, BASE + 1, BASE_LEN);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		members[i] = (struct member){.crowd = &w, .conn = replicas[i % 2], .number = (int64_t)i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &members[i]), 0);
	}
	usleep(CROWD_MS * 1000);
	atomic_store(&w.over, true);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		pthread_join(threads[i], NULL);
	print_message("  %d reads, the slowest %ld ms; %d writes, the slowest %ld ms; %d tables dropped\n",
	              atomic_load(&w.reads), atomic_load(&w.slowest_read_us) / 1000, atomic_load(&w.writes),
	              atomic_load(&w.slowest_write_us) / 1000, atomic_load(&w.dropped));
	if (w.wrong[0])
		fail_msg("%s", w.wrong);
	check_crowd(f, members, ARRAY_SIZE(bodies));
	assert_true(atomic_load(&w.dropped) > 0);
	assert_true(atomic_load(&w.slowest_read_us) < 3000000);
	assert_true(atomic_load(&w.slowest_write_us) < 5000000);
	driver_db.close(replicas[0]);
	driver_db.close(replicas[1]);
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
	    cmocka_unit_test(test_readers_writers_and_removers_go_on_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
