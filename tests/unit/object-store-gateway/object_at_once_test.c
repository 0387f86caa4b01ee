/* Small objects by one statement: when it is used, when it is not, and what it does beside others. */
#include "services/object-store-gateway/object_at_once.h"
#include "services/object-store-gateway/quota.h"
#include "tests/unit/object-store-gateway/cipher_support.h"

#include <pthread.h>

#define WAIT_MS 20000

/* The driver db without what takes more than one statement. */
static enum err_code no_put_within(struct driver_conn *conn, struct db *db, const struct location *at,
                                   const void *bytes, size_t len, struct err *e)
{
	(void)conn, (void)db, (void)bytes, (void)len;
	return ERR(e, ERR_UNSUPPORTED, "chunk %lld was put by a statement of its own", (long long)at->number);
}

static enum err_code no_get(struct driver_conn *conn, const struct location *at, void *into, size_t size, size_t *got,
                            struct err *e)
{
	(void)conn, (void)into, (void)size, (void)got;
	return ERR(e, ERR_UNSUPPORTED, "chunk %lld was fetched by a statement of its own", (long long)at->number);
}

static struct driver at_once_only;

static int set_up(void **state)
{
	struct fixture *f = fixture_new(BACKEND_DB);

	at_once_only = driver_db;
	at_once_only.put_within = no_put_within;
	at_once_only.get = no_get;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	if (*state)
		fixture_free(*state);
	return 0;
}

static struct fixture *need(void **state)
{
	if (!*state)
		skip();
	return *state;
}

static struct object_path at(const char *key)
{
	return (struct object_path){"acme", "docs", key};
}

static enum err_code put_object(struct fixture *f, const char *key, const void *bytes, size_t len, bool *replaced,
                                size_t *stored, struct err *e)
{
	struct object_path path = at(key);
	struct object_content content = {.size = (int64_t)len, .sha256 = digest_of(bytes, len)};

	return object_put(&f->store, &path, &content, bytes, replaced, stored, e);
}

static void must_put_object(struct fixture *f, const char *key, const char *text, bool expect_replaced)
{
	struct err e = {0};
	bool replaced;
	size_t stored;

	if (put_object(f, key, text, strlen(text), &replaced, &stored, &e) != ERR_OK)
		fail_msg("put %s: %s", key, e.text);
	assert_int_equal(replaced, expect_replaced);
}

static enum err_code read_object(struct fixture *f, const char *key, int64_t offset, int64_t length, const void *expect,
                                 size_t expect_len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct object_path path = at(key);
	struct object object;
	void *bytes;
	size_t len;

	TRY(object_read(&f->store, ctx, &path, offset, length, &object, &bytes, &len, e));
	assert_int_equal(len, expect_len);
	assert_memory_equal(bytes, expect, len);
	return ERR_OK;
}

static void must_read(struct fixture *f, const char *key, const char *text)
{
	struct err e = {0};

	if (read_object(f, key, 0, (int64_t)CHUNK_MAX, text, strlen(text), &e) != ERR_OK)
		fail_msg("read %s: %s", key, e.text);
}

/* ---- alone ---- */

static void a_new_key_takes_one_statement_and_a_read_another(void **state)
{
	struct fixture *f = need(state);
	const struct driver *whole = f->store.current->driver;
	int64_t removed;
	struct err e;

	f->store.current->driver = &at_once_only;
	must_put_object(f, "k", "hello", false);
	must_read(f, "k", "hello");
	assert_int_equal(read_object(f, "k", 1, 3, "ell", 3, &e), ERR_OK);
	assert_int_equal(read_object(f, "k", 5, 3, "", 0, &e), ERR_OK);
	assert_int_equal(read_object(f, "other", 0, 3, "", 0, &e), ERR_NOT_FOUND);
	f->store.current->driver = whole;
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 0);
	must_read(f, "k", "hello");
	nothing_half_there(f, 1);
}

static void content_that_is_there_is_named_once_more(void **state)
{
	struct fixture *f = need(state);
	struct err e = {0};
	bool replaced;
	size_t stored;

	f->store.current->driver = &at_once_only;
	assert_int_equal(put_object(f, "one", "hello", 5, &replaced, &stored, &e), ERR_OK);
	assert_int_equal(stored, 5);
	assert_int_equal(put_object(f, "two", "hello", 5, &replaced, &stored, &e), ERR_OK);
	assert_int_equal(stored, 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(DISTINCT object) FROM objects.object_chunk"), 2);
}

static void metadata_compression_and_encryption_are_as_ever(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	struct object_path path = at("k");
	char *text = talloc_zero_size(ctx, 20000);
	struct object_content content = {.size = 20000, .sha256 = digest_of(text, 20000), .metadata = "{\"a\":\"b\"}"};
	struct object object;
	struct err e = {0};
	bool replaced;
	size_t stored;

	use_keys(f, K1);
	f->store.current->driver = &at_once_only;
	assert_int_equal(object_put(&f->store, &path, &content, text, &replaced, &stored, &e), ERR_OK);
	assert_in_range(stored, AEAD_OVERHEAD + 1, 1000);
	assert_int_equal(read_object(f, "k", 0, 20000, text, 20000, &e), ERR_OK);
	assert_int_equal(object_find(&f->store, ctx, &path, 0, 0, &object, &e), ERR_OK);
	assert_string_equal(object.metadata, "{\"a\":\"b\"}");
	assert_true(object.chunks[0].zstd);
	assert_string_equal(object.chunks[0].cipher_key, "k1");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data JOIN objects.chunk ON id = chunk"
	                                   " WHERE length(bytes) = stored_size AND size = 20000"),
	                 1);
}

static void the_same_message_again_changes_nothing(void **state)
{
	struct fixture *f = need(state);

	must_put_object(f, "k", "hello", false);
	fixture_sql(f, "UPDATE objects.object SET created_at = now() - interval '1 day'");
	must_put_object(f, "k", "hello", false);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM objects.object WHERE created_at < now() - interval '1 h'"), 1);
	must_put_object(f, "k", "other", true);
	must_read(f, "k", "other");
}

/* Nothing is written then; a transaction does what is right. */
static void what_is_not_usual_is_left_alone(void **state)
{
	static const struct {
		const char *what, *sql;
	} cases[] = {
	    {"a key in use", "INSERT INTO objects.object (store, account, bucket, key, size, sha256)"
	                     " VALUES ('object_store', 'acme', 'docs', 'k', 0, decode(repeat('00', 32), 'hex'))"},
	    {"a quota", "INSERT INTO objects.quota VALUES ('object_store', 'acme', 1, NULL, 0, 0)"},
	    {"damage", "UPDATE objects.chunk SET damaged = true"},
	    {"a key that is not configured", "UPDATE objects.chunk SET cipher_key = 'gone'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct fixture *f = fixture_new(BACKEND_DB);
		struct object_path path = at("k");
		struct object_content content = {.size = 5, .sha256 = digest_of("hello", 5)};
		struct chunk_write *w;
		struct err e = {0};
		bool put;

		if (!f)
			skip();
		if (i >= 2) /* about the content */
			must_put_object(f, "other", "hello", false);
		fixture_sql(f, cases[i].sql);
		fixture_must(chunk_write_new(&f->store, ctx, &content.sha256, "hello", 5, &w, &e), &e);
		fixture_must(object_put_at_once(&f->store, &path, &content, w, &put, &e), &e);
		if (put || !w->known)
			fail_msg("%s: put %d, known %d", cases[i].what, put, w->known);
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), i >= 2);
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data"), i >= 2);
		if (i >= 2) { /* damage is mended by the way */
			must_put_object(f, "k", "hello", false);
			must_read(f, "k", "hello");
			must_read(f, "other", "hello");
		}
		fixture_free(f);
	}
	(void)state;
}

static void what_is_large_goes_the_long_way_and_comes_back(void **state)
{
	static const size_t sizes[] = {CHUNK_LOOK_FIRST - 1, CHUNK_LOOK_FIRST, 256 * KIB,     256 * KIB + 1,
	                               1024 * KIB,           1024 * KIB + 1,   CHUNK_MAX - 1, CHUNK_MAX};
	SCRATCH_CTX(ctx);
	struct fixture *f = need(state);
	const struct driver *whole = f->store.current->driver;
	char *noise = talloc_size(ctx, CHUNK_MAX);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct err e = {0};
		bool replaced;
		size_t stored;
		char key[32];

		snprintf(key, sizeof(key), "k%zu", i);
		fixture_noise(noise, sizes[i], i + 1);
		f->store.current->driver = &at_once_only;
		assert_int_equal(put_object(f, key, noise, sizes[i], &replaced, &stored, &e) == ERR_OK,
		                 sizes[i] < CHUNK_LOOK_FIRST);
		f->store.current->driver = whole;
		assert_int_equal(put_object(f, key, noise, sizes[i], &replaced, &stored, &e), ERR_OK);
		assert_int_equal(read_object(f, key, 0, (int64_t)CHUNK_MAX, noise, sizes[i], &e), ERR_OK);
		f->store.current->driver = &at_once_only;
		assert_int_equal(read_object(f, key, 0, (int64_t)CHUNK_MAX, noise, sizes[i], &e) == ERR_OK,
		                 sizes[i] <= 256 * KIB);
		f->store.current->driver = whole;
	}
	nothing_half_there(f, ARRAY_SIZE(sizes));
}

static void damage_is_noticed_and_named(void **state)
{
	static const char *const sql[] = {
	    "UPDATE objects.chunk_data SET bytes = 'jello'",
	    "UPDATE objects.chunk_data SET bytes = 'hell'",
	    "DELETE FROM objects.chunk_data",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sql); i++) {
		struct fixture *f = fixture_new(BACKEND_DB);
		struct err e = {0};

		if (!f)
			skip();
		must_put_object(f, "k", "hello", false);
		fixture_sql(f, sql[i]);
		assert_int_equal(read_object(f, "k", 0, 100, "", 0, &e), ERR_CORRUPT);
		assert_non_null(strstr(e.text, "docs/k"));
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE damaged"), 1);
		must_put_object(f, "k", "hello", false);
		must_read(f, "k", "hello");
		fixture_free(f);
	}
	(void)state;
}

static void chunks_of_an_earlier_back_end_are_read(void **state)
{
	struct fixture *f = need(state);
	struct driver_setup setup = {"object_store", NULL, f->pool, false};
	struct driver_conn *conn;
	struct err e = {0};

	must_put_object(f, "k", "hello", false);
	fixture_must(driver_mem.open(f, &setup, &conn, &e), &e);
	fixture_must(backends_adopt(&f->store, &driver_mem, conn, NULL, &e), &e);
	must_read(f, "k", "hello");
	must_put_object(f, "new", "in memory", false);
	must_read(f, "new", "in memory");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data"), 1);
}

static void a_table_that_was_dropped_meanwhile_is_no_error(void **state)
{
	struct fixture *f = need(state);

	fixture_sql(f, "CREATE TABLE objects.chunk_data_1 (PRIMARY KEY (chunk, seq)) INHERITS (objects.chunk_data)");
	fixture_sql(f, "INSERT INTO objects.chunk_segment (slot) VALUES (1)");
	must_put_object(f, "one", "first", false);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data_1"), 1);
	fixture_sql(f, "WITH gone AS (DELETE FROM objects.chunk_data_1 RETURNING chunk, seq, sha256, bytes)"
	               " INSERT INTO objects.chunk_data SELECT * FROM gone");
	fixture_sql(f, "DROP TABLE objects.chunk_data_1");
	fixture_sql(f, "DELETE FROM objects.chunk_segment WHERE slot = 1");
	must_put_object(f, "two", "second", false);
	must_read(f, "one", "first");
	must_read(f, "two", "second");
}

/* ---- beside others ---- */

struct putting {
	struct fixture *f;
	pthread_t thread;
	enum err_code code;
	struct err e;
	bool replaced;
	size_t stored;
};

static void *put_hello(void *arg)
{
	struct putting *p = arg;

	p->code = put_object(p->f, "k", "hello", 5, &p->replaced, &p->stored, &p->e);
	return NULL;
}

/* On the connection that is used next the statement is prepared, and its plan made, for all parameters. */
static void warm_up(struct fixture *f)
{
	static const char *const tables[] = {"object", "chunk", "chunk_data"};
	char text[64];

	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "warm %d", i);
		must_put_object(f, text, text, false);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		snprintf(text, sizeof(text), "DELETE FROM objects.%s", tables[i]);
		fixture_sql(f, text);
	}
}

/* Puts "hello" as k while a transaction that has run `first` is open; `second` runs when the put waits for it. The
 * content is there before, or is not. */
static struct putting put_beside(struct fixture *f, bool there, const char *first, const char *second)
{
	struct putting p = {.f = f};
	int64_t until = clock_monotonic_ms() + WAIT_MS;
	struct db *db = NULL;
	struct err e = {0};

	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	warm_up(f);
	if (there)
		must_put(f, "hello", 5);
	fixture_must(db_begin(db, &e), &e);
	fixture_must(db_query(db, NULL, NULL, &e, first), &e);
	assert_int_equal(pthread_create(&p.thread, NULL, put_hello, &p), 0);
	while (fixture_number(f, "SELECT count(*) FROM pg_stat_activity"
	                         " WHERE wait_event_type = 'Lock' AND datname = current_database()") == 0) {
		assert_true(clock_monotonic_ms() < until);
		usleep(2000);
	}
	fixture_must(db_query(db, NULL, NULL, &e, second), &e);
	fixture_must(db_commit(db, &e), &e);
	db_release(db);
	assert_int_equal(pthread_join(p.thread, NULL), 0);
	return p;
}

static void a_chunk_that_the_sweep_takes_is_written_anew(void **state)
{
	struct fixture *f = need(state);
	struct putting p;

	p = put_beside(f, true, "SELECT id FROM objects.chunk FOR UPDATE",
	               "UPDATE objects.chunk SET state = 'deleting', touched_at = now() WHERE state = 'live'");
	assert_int_equal(p.code, ERR_OK);
	assert_int_equal(p.stored, 5);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM objects.object_chunk oc JOIN objects.chunk c ON c.id = oc.chunk"
	                      " WHERE c.state = 'live'"),
	    1);
	must_read(f, "k", "hello");
}

static void a_chunk_that_is_rewritten_is_named_where_it_is_now(void **state)
{
	struct fixture *f = need(state);
	struct putting p;

	p = put_beside(
	    f, true, "SELECT id FROM objects.chunk FOR UPDATE",
	    "WITH old AS (UPDATE objects.chunk SET state = 'deleting' WHERE state = 'live' RETURNING *),"
	    " data AS (INSERT INTO objects.chunk_data SELECT 1000, seq, sha256, bytes FROM objects.chunk_data)"
	    " INSERT INTO objects.chunk (id, store, sha256, size, stored_size, codec, backend, state)"
	    " SELECT 1000, store, sha256, size, stored_size, codec, backend, 'live' FROM old");
	assert_int_equal(p.code, ERR_OK);
	must_read(f, "k", "hello");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.object_chunk oc JOIN objects.chunk c"
	                                   " ON c.id = oc.chunk WHERE c.state = 'live'"),
	                 1);
}

static void of_two_puts_of_one_key_the_later_one_stays(void **state)
{
	struct fixture *f = need(state);
	struct putting p =
	    put_beside(f, false,
	               "INSERT INTO objects.object (store, account, bucket, key, size, sha256)"
	               " VALUES ('object_store', 'acme', 'docs', 'k', 0, decode(repeat('00', 32), 'hex'))",
	               "SELECT 1");
	int64_t removed;

	assert_int_equal(p.code, ERR_OK);
	assert_true(p.replaced);
	assert_int_equal(p.stored, 5);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 0);
	must_read(f, "k", "hello");
	nothing_half_there(f, 1);
}

static void a_quota_that_is_set_meanwhile_counts(void **state)
{
	struct fixture *f = need(state);
	struct putting p = put_beside(f, false, "LOCK TABLE objects.object IN SHARE MODE",
	                              "INSERT INTO objects.quota VALUES ('object_store', 'acme', 4, NULL, 0, 0)");

	assert_int_equal(p.code, ERR_EXHAUSTED);
	assert_non_null(strstr(p.e.text, "may keep 4 bytes"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.object"), 0);
	assert_int_equal(fixture_number(f, "SELECT used_objects FROM objects.quota"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(a_new_key_takes_one_statement_and_a_read_another),
	    CASE(content_that_is_there_is_named_once_more),
	    CASE(metadata_compression_and_encryption_are_as_ever),
	    CASE(the_same_message_again_changes_nothing),
	    cmocka_unit_test(what_is_not_usual_is_left_alone),
	    CASE(what_is_large_goes_the_long_way_and_comes_back),
	    cmocka_unit_test(damage_is_noticed_and_named),
	    CASE(chunks_of_an_earlier_back_end_are_read),
	    CASE(a_table_that_was_dropped_meanwhile_is_no_error),
	    CASE(a_chunk_that_the_sweep_takes_is_written_anew),
	    CASE(a_chunk_that_is_rewritten_is_named_where_it_is_now),
	    CASE(of_two_puts_of_one_key_the_later_one_stays),
	    CASE(a_quota_that_is_set_meanwhile_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
