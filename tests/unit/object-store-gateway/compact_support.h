/*
 * compact_support: what tests of the driver db's tables do again and again: chunks of noise at given numbers,
 * compacting until nothing is left to do, and the size of the files.
 */
#ifndef TESTS_UNIT_GATEWAY_COMPACT_SUPPORT_H
#define TESTS_UNIT_GATEWAY_COMPACT_SUPPORT_H

#include "services/object-store-gateway/compact.h"
#include "services/object-store-gateway/drivers/db_segments.h"
#include "tests/unit/object-store-gateway/chunk_support.h"

#define PATIENCE_MS 30000

/* A back end of its own on the same tables, as another replica has it. */
static inline struct driver_conn *open_replica(struct fixture *f, const char *config)
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

static inline struct location place(int64_t number)
{
	return (struct location){.sha256 = digest_of(&number, sizeof(number)), .number = number};
}

static inline enum err_code put_at(struct driver_conn *c, int64_t number, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct location at = place(number);
	void *bytes = talloc_size(ctx, len);

	fixture_noise(bytes, len, (uint64_t)number);
	return driver_db.put(c, &at, bytes, len, e);
}

static inline enum err_code get_at(struct driver_conn *c, int64_t number, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct location at = place(number);
	char *room = talloc_size(ctx, len), *wanted = talloc_size(ctx, len);
	size_t got = 0;

	TRY(driver_db.get(c, &at, room, len, &got, e));
	fixture_noise(wanted, len, (uint64_t)number);
	return got == len && memcmp(room, wanted, len) == 0 ? ERR_OK : ERR(e, ERR_CORRUPT, "other bytes came back");
}

static inline enum err_code remove_at(struct driver_conn *c, int64_t number, struct err *e)
{
	struct location at = place(number);

	return driver_db.remove(c, &at, 1, e);
}

static inline void must_put_at(struct driver_conn *c, int64_t number, size_t len)
{
	struct err e = {0};

	fixture_must(put_at(c, number, len, &e), &e);
}

static inline void fill(struct driver_conn *c, int64_t from, int64_t to, size_t len)
{
	for (int64_t n = from; n < to; n++)
		must_put_at(c, n, len);
}

/* All but every tenth. */
static inline void thin_out(struct driver_conn *c, int64_t from, int64_t to)
{
	struct err e = {0};

	for (int64_t n = from; n < to; n++)
		if (n % 10)
			fixture_must(remove_at(c, n, &e), &e);
}

static inline void tenth_is_there(struct driver_conn *c, int64_t from, int64_t to, size_t len)
{
	struct err e = {0};

	for (int64_t n = from; n < to; n++)
		if (n % 10 == 0)
			fixture_must(get_at(c, n, len, &e), &e);
		else
			assert_int_equal(get_at(c, n, len, &e), ERR_NOT_FOUND);
}

static inline struct compact_order order_for(int64_t ms)
{
	return (struct compact_order){.percent = 70, .before_ms = 0, .until_ms = clock_monotonic_ms() + ms};
}

static inline int64_t database_ms(struct fixture *f)
{
	return fixture_number(f, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
}

/* Calls until nothing is left to do. */
static inline enum err_code compact_all(struct fixture *f, struct driver_conn *c, struct compaction *sum, struct err *e)
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

static inline struct compaction must_compact(struct fixture *f, struct driver_conn *c)
{
	struct compaction sum;
	struct err e = {0};

	fixture_must(compact_all(f, c, &sum, &e), &e);
	return sum;
}

#define TABLES                                                                                                         \
	"(SELECT 'objects.chunk_data'::regclass AS t UNION ALL"                                                        \
	" SELECT inhrelid FROM pg_inherits WHERE inhparent = 'objects.chunk_data'::regclass) AS tables"

static inline int64_t size_of_tables(struct fixture *f)
{
	return fixture_number(f, "SELECT sum(pg_total_relation_size(t))::bigint FROM " TABLES);
}

/* The files themselves, as the file system shows them: of the tables and their out of line parts. */
static inline int64_t size_of_files(struct fixture *f)
{
	return fixture_number(
	    f, "SELECT sum((pg_stat_file(pg_relation_filepath(oid))).size)::bigint FROM pg_class WHERE oid IN"
	       " (SELECT t FROM " TABLES
	       ") OR oid IN (SELECT reltoastrelid FROM pg_class WHERE oid IN (SELECT t FROM " TABLES "))");
}

static inline struct segment_name newest_table(struct fixture *f)
{
	return segment_name((int)fixture_number(f, "SELECT slot FROM objects.chunk_segment WHERE state = 'open'"
	                                           " ORDER BY id DESC LIMIT 1"));
}

static inline int64_t count_tables(struct fixture *f)
{
	return fixture_number(f, "SELECT count(*) FROM " TABLES);
}

static inline struct fixture *fixture_or_skip(void)
{
	struct fixture *f = fixture_new(BACKEND_DB);

	if (!f)
		skip();
	ASSERT(f); /* skip does not come back */
	return f;
}

#endif
