/* object_support: what tests of objects do again and again. All keys are in one bucket of one account. */
#ifndef TESTS_UNIT_GATEWAY_OBJECT_SUPPORT_H
#define TESTS_UNIT_GATEWAY_OBJECT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/gc.h"
#include "services/object-store-gateway/object.h"
#include "tests/unit/object-store-gateway/gateway_fixture.h"

static inline int set_up(void **state)
{
	*state = fixture_new(BACKEND_FAULTY_WITHIN);
	return 0;
}

/* The same with small objects written by one statement, and without faults. */
static inline int set_up_at_once(void **state)
{
	*state = fixture_new(BACKEND_DB);
	return 0;
}

/* The same with chunks written in steps. */
static inline int set_up_in_steps(void **state)
{
	*state = fixture_new(BACKEND_FAULTY_MEM);
	return 0;
}

static inline int tear_down(void **state)
{
	if (*state)
		fixture_free(*state);
	return 0;
}

static inline struct fixture *need(void **state)
{
	if (!*state)
		skip();
	return *state;
}

static inline struct object_path at(const char *key)
{
	return (struct object_path){"acme", "docs", key};
}

static inline struct rpc_call call_on(TALLOC_CTX *ctx)
{
	return (struct rpc_call){.ctx = ctx, .method = "test", .deadline_ms = clock_monotonic_ms() + 60000};
}

static inline enum err_code put(struct fixture *f, const char *key, const void *bytes, size_t len, bool *replaced,
                                struct err *e)
{
	struct object_path path = at(key);
	struct object_content content = {.size = (int64_t)len, .sha256 = digest_of(bytes, len)};
	size_t stored;

	return object_put(&f->store, &path, &content, bytes, replaced, &stored, e);
}

static inline void must_put(struct fixture *f, const char *key, const char *text)
{
	bool replaced;
	struct err e = {0};

	if (put(f, key, text, strlen(text), &replaced, &e) != ERR_OK)
		fail_msg("put %s: %s", key, e.text);
}

static inline enum err_code get(struct fixture *f, const char *key, int64_t offset, int64_t length, TALLOC_CTX *ctx,
                                void **bytes, size_t *len, struct err *e)
{
	struct object_path path = at(key);
	struct object object;

	return object_read(&f->store, ctx, &path, offset, length, &object, bytes, len, e);
}

static inline void expect(struct fixture *f, const char *key, const char *text)
{
	SCRATCH_CTX(ctx);
	void *bytes;
	size_t len;
	struct err e = {0};

	if (get(f, key, 0, (int64_t)CHUNK_MAX, ctx, &bytes, &len, &e) != ERR_OK)
		fail_msg("get %s: %s", key, e.text);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(bytes, text, len);
}

static inline bool exists(struct fixture *f, const char *key)
{
	SCRATCH_CTX(ctx);
	struct object_path path = at(key);
	struct object object;
	struct err e;
	enum err_code code = object_find(&f->store, ctx, &path, 0, -1, &object, &e);

	assert_true(code == ERR_OK || code == ERR_NOT_FOUND);
	return code == ERR_OK;
}

/* An object of several chunks: its content, and what a commit needs. */
static inline char *large_content(TALLOC_CTX *ctx, size_t len, struct object_content *content)
{
	char *bytes = talloc_size(ctx, len);
	size_t count = (len + CHUNK_MAX - 1) / CHUNK_MAX;
	struct digest *chunks = talloc_zero_array(ctx, struct digest, count);

	fixture_noise(bytes, len, len);
	for (size_t i = 0; i < count; i++)
		chunks[i] = digest_of(bytes + i * CHUNK_MAX, MIN(CHUNK_MAX, len - i * CHUNK_MAX));
	*content = (struct object_content){
	    .size = (int64_t)len, .sha256 = digest_of(bytes, len), .chunks = chunks, .chunk_count = count};
	return bytes;
}

static inline void put_chunks(struct store *s, const char *bytes, const struct object_content *content)
{
	for (size_t i = 0; i < content->chunk_count; i++) {
		size_t from = i * CHUNK_MAX, stored;
		struct err e = {0};

		assert_int_equal(chunk_put(s, &content->chunks[i], bytes + from,
		                           MIN(CHUNK_MAX, (size_t)content->size - from), &stored, &e),
		                 ERR_OK);
	}
}

static inline char *put_large(struct fixture *f, TALLOC_CTX *ctx, const char *key, size_t len)
{
	struct object_content content;
	char *bytes = large_content(ctx, len, &content);
	struct object_path path = at(key);
	bool replaced;
	struct err e = {0};

	put_chunks(&f->store, bytes, &content);
	if (object_commit(&f->store, &path, &content, &replaced, &e) != ERR_OK)
		fail_msg("commit %s: %s", key, e.text);
	return bytes;
}

static inline int64_t sweep(struct fixture *f)
{
	struct gc_result result;
	struct err e = {0};

	if (gc_run(&f->store, 0, 100000, &result, &e) != ERR_OK)
		fail_msg("sweep: %s", e.text);
	return result.removed;
}

#define WITHIN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define BOTH(test)                                                                                                     \
	WITHIN(test),                                                                                                  \
	{                                                                                                              \
#test " in steps", test, set_up_in_steps, tear_down, NULL                                              \
	}

#define AT_ONCE(test)                                                                                                  \
	{                                                                                                              \
#test " at once", test, set_up_at_once, tear_down, NULL                                                \
	}

#endif
