/*
 * damage_support: stores of which something got lost. Works behind the back of the code that is tested: bytes are
 * changed or removed in the back end itself, so the damage lasts.
 */
#ifndef TESTS_UNIT_GATEWAY_DAMAGE_SUPPORT_H
#define TESTS_UNIT_GATEWAY_DAMAGE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/chunk_heal.h"
#include "services/object-store-gateway/gc.h"
#include "services/object-store-gateway/object.h"
#include "tests/unit/object-store-gateway/gateway_fixture.h"

/* The two stores know each other, as they do in a gateway. Without a database there is nothing to run. */
static inline struct fixture *damage_fixture(enum fixture_kind kind)
{
	struct fixture *f = fixture_new(kind);

	if (!f)
		skip();
	print_message("  on %s\n", fixture_backends[kind].name);
	f->store.sibling = &f->archive;
	f->archive.sibling = &f->store;
	return f;
}

static inline struct object_path path_of(const char *key)
{
	return (struct object_path){"acme", "docs", key};
}

static inline enum err_code try_put(struct store *s, const char *key, const char *text, struct err *e)
{
	struct object_path path = path_of(key);
	struct object_content content = {.size = (int64_t)strlen(text), .sha256 = digest_of(text, strlen(text))};
	size_t stored;
	bool replaced;

	return object_put(s, &path, &content, text, &replaced, &stored, e);
}

static inline void must_put(struct store *s, const char *key, const char *text)
{
	struct err e = {0};

	if (try_put(s, key, text, &e) != ERR_OK)
		fail_msg("put %s: %s", key, e.text);
}

static inline enum err_code try_get(struct store *s, const char *key, const char *text, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct object_path path = path_of(key);
	struct object object;
	void *bytes;
	size_t len;

	TRY(object_read(s, ctx, &path, 0, (int64_t)CHUNK_MAX, &object, &bytes, &len, e));
	assert_int_equal(len, strlen(text));
	assert_memory_equal(bytes, text, len);
	return ERR_OK;
}

static inline void must_get(struct store *s, const char *key, const char *text)
{
	struct err e = {0};

	if (try_get(s, key, text, &e) != ERR_OK)
		fail_msg("get %s: %s", key, e.text);
}

static inline void must_delete(struct store *s, const char *key)
{
	struct object_path path = path_of(key);
	struct err e;
	bool existed;

	fixture_must(object_delete(s, &path, &existed, &e), &e);
}

/* The row of this content; state "live" or "spare". */
static inline bool find_kept(struct store *s, const char *text, const char *state, struct chunk_kept *kept)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct digest d = digest_of(text, strlen(text));
	struct db_rows *rows;
	struct err e;

	fixture_must(db_acquire(s->db, 10000, &db, &e), &e);
	fixture_must(db_query(db, ctx, &rows, &e,
	                      "SELECT " CHUNK_KEPT_COLUMNS
	                      " FROM objects.chunk c WHERE store = $1 AND sha256 = $2 AND state = $3",
	                      DB_TEXT(s->name), DB_DIGEST(&d), DB_TEXT(state)),
	             &e);
	if (db_count(rows))
		*kept = chunk_kept_from_row(rows, 0);
	return db_count(rows) == 1;
}

static inline struct chunk_kept kept_of(struct store *s, const char *text, const char *state)
{
	struct chunk_kept kept = {0};

	assert_true(find_kept(s, text, state, &kept));
	return kept;
}

static inline struct chunk_kept live_of(struct store *s, const char *text)
{
	return kept_of(s, text, "live");
}

static inline struct backend *backend_of(struct store *s, const struct chunk_kept *kept)
{
	struct backend *b;
	struct err e;

	fixture_must(backend_by_id(s, kept->chunk.backend, &b, &e), &e);
	return b;
}

static inline void lose_bytes(struct store *s, const struct chunk_kept *kept)
{
	struct location at = {kept->chunk.sha256, kept->chunk.id};
	struct backend *b = backend_of(s, kept);
	struct err e;

	fixture_must(b->driver->remove(b->conn, &at, 1, &e), &e);
}

/* Other bytes, of the same length. */
static inline void spoil_bytes(struct store *s, const struct chunk_kept *kept)
{
	SCRATCH_CTX(ctx);
	struct location at = {kept->chunk.sha256, kept->chunk.id};
	struct backend *b = backend_of(s, kept);
	char *bytes = talloc_zero_size(ctx, kept->chunk.stored_size);
	struct err e;

	lose_bytes(s, kept);
	fixture_must(b->driver->put(b->conn, &at, bytes, kept->chunk.stored_size, &e), &e);
}

static inline void spoil(struct store *s, const char *text)
{
	struct chunk_kept kept = live_of(s, text);

	spoil_bytes(s, &kept);
}

static inline void lose(struct store *s, const char *text)
{
	struct chunk_kept kept = live_of(s, text);

	lose_bytes(s, &kept);
}

static inline int64_t sweep(struct store *s)
{
	struct gc_result result;
	struct err e;

	fixture_must(gc_run(s, 0, 1000, &result, &e), &e);
	return result.removed;
}

static inline int64_t count_marked(struct fixture *f)
{
	return fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE damaged AND state IN ('live', 'spare')");
}

/* A second back end of the store, which new chunks go to from now on. What `open` holds is closed by the caller. */
static inline void change_backend(struct fixture *f, struct store *open, const struct driver *driver)
{
	fixture_open_store(f, open, f->store.name, driver, NULL);
	f->store.current = open->current;
}

/* Back to the first one, so that the fixture may end. */
static inline void change_back(struct fixture *f, struct store *open, struct backend *first)
{
	f->store.current = first;
	backends_close(open);
}

#endif
