/* chunk_support: what tests of chunks do again and again. `f` is the fixture of the case. */
#ifndef TESTS_UNIT_GATEWAY_CHUNK_SUPPORT_H
#define TESTS_UNIT_GATEWAY_CHUNK_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/gc.h"
#include "tests/unit/object-store-gateway/gateway_fixture.h"

/* Runs a case on each of several back ends; without a database there is nothing to run. */
static inline void on_each(const enum fixture_kind *backends, size_t count, void (*run)(struct fixture *f))
{
	for (size_t i = 0; i < count; i++) {
		struct fixture *f = fixture_new(backends[i]);

		if (!f)
			skip();
		print_message("  on %s\n", fixture_backends[backends[i]].name);
		run(f);
		fixture_free(f);
	}
}

static inline enum err_code put(struct fixture *f, const void *bytes, size_t len, size_t *stored)
{
	struct digest d = digest_of(bytes, len);
	struct err e = {0};
	enum err_code code = chunk_put(&f->store, &d, bytes, len, stored, &e);

	assert_true(code == ERR_OK || e.text[0]);
	return code;
}

static inline void must_put(struct fixture *f, const void *bytes, size_t len)
{
	struct digest d = digest_of(bytes, len);
	struct err e = {0};
	size_t stored;

	if (chunk_put(&f->store, &d, bytes, len, &stored, &e) != ERR_OK)
		fail_msg("put: %s", e.text);
}

/* The live row of this content, as a reader finds it. */
static inline bool find(struct fixture *f, TALLOC_CTX *ctx, const void *bytes, size_t len, struct chunk *chunk)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct digest d = digest_of(bytes, len);
	struct db_rows *rows;
	struct err e;

	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_query(db, ctx, &rows, &e,
	                      "SELECT " CHUNK_COLUMNS " FROM objects.chunk c WHERE store = $1 AND sha256 = $2"
	                      " AND state = 'live'",
	                      DB_TEXT(f->store.name), DB_DIGEST(&d)),
	             &e);
	if (db_count(rows))
		*chunk = chunk_from_row(rows, 0, 0);
	return db_count(rows) == 1;
}

static inline enum err_code get(struct fixture *f, const void *bytes, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct chunk chunk;
	void *got = NULL;

	assert_true(find(f, ctx, bytes, len, &chunk));
	TRY(chunk_get(&f->store, ctx, &chunk, &got, e));
	assert_int_equal(chunk.size, len);
	assert_memory_equal(got, bytes, len);
	return ERR_OK;
}

static inline void must_get(struct fixture *f, const void *bytes, size_t len)
{
	struct err e = {0};

	if (get(f, bytes, len, &e) != ERR_OK)
		fail_msg("get: %s", e.text);
}

static inline enum err_code sweep(struct fixture *f, int64_t *removed)
{
	struct gc_result result;
	struct err e = {0};
	enum err_code code = gc_run(&f->store, 0, 1000, &result, &e);

	*removed = result.removed;
	return code;
}

static inline int64_t rows_in(struct fixture *f, const char *state)
{
	char sql[160];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM objects.chunk WHERE store = 'object_store' AND state = '%s'",
	         state);
	return fixture_number(f, sql);
}

/* No bytes without a row, no live row without right bytes. */
static inline void nothing_half_there(struct fixture *f, size_t held)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	bool all_have_rows;
	struct err e;

	assert_int_equal(fixture_held(f, &all_have_rows), held);
	assert_true(all_have_rows);
	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_query(db, ctx, &rows, &e,
	                      "SELECT " CHUNK_COLUMNS " FROM objects.chunk c WHERE store = $1 AND state = 'live'",
	                      DB_TEXT(f->store.name)),
	             &e);
	for (size_t i = 0; i < db_count(rows); i++) {
		struct chunk chunk = chunk_from_row(rows, i, 0);
		void *bytes;

		assert_int_equal(chunk_get(&f->store, ctx, &chunk, &bytes, &e), ERR_OK);
	}
}

static inline void spoil(struct fixture *f, enum fault fault, int calls)
{
	atomic_store(&f->faults.left[fault], calls);
}

#endif
