#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rpc_server.h"
#include "proto/store_io.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET "correct horse battery staple"
#define CHUNKS_MAX 64

/* A gateway of a few lines, in this process, behind a real socket. It keeps chunks and one object. */
struct gateway {
	pthread_mutex_t lock;
	struct {
		struct digest sha256;
		uint8_t *bytes;
		size_t len;
	} chunks[CHUNKS_MAX];
	size_t chunk_count;
	bool has_object;
	struct digest object_sha256, object_chunks[CHUNKS_MAX];
	size_t object_chunk_count;
	uint64_t object_size;
	/* What it saw, and how it is to misbehave. */
	int needs, puts, commits, object_puts, gets;
	int conflicts;      /* so many commits are refused, as if a chunk had been swept */
	bool flip;          /* a bit of what is read */
	int replace_at_get; /* from this get on it is another object */
};

struct fixture {
	struct gateway gateway;
	char dir[64], endpoint[96];
	const char *endpoints[1];
	uv_loop_t loop;
	uv_async_t end;
	struct rpc_server *server;
	pthread_t thread;
	struct rpc_client *client;
	TALLOC_CTX *ctx;
};

static int find_chunk(const struct gateway *g, const struct digest *d)
{
	for (size_t i = 0; i < g->chunk_count; i++)
		if (digest_equal(&g->chunks[i].sha256, d))
			return (int)i;
	return -1;
}

static void keep_chunk(struct gateway *g, const struct digest *d, const void *bytes, size_t len)
{
	if (find_chunk(g, d) >= 0)
		return;
	ASSERT(g->chunk_count < CHUNKS_MAX);
	g->chunks[g->chunk_count].sha256 = *d;
	g->chunks[g->chunk_count].bytes = malloc(len);
	memcpy(g->chunks[g->chunk_count].bytes, bytes, len);
	g->chunks[g->chunk_count++].len = len;
}

static enum err_code on_need(struct gateway *g, const struct chunk_need_request *q, struct chunk_need_reply *r,
                             TALLOC_CTX *ctx)
{
	r->missing.items = talloc_array(ctx, struct digest, q->chunks.count);
	for (size_t i = 0; i < q->chunks.count; i++)
		if (find_chunk(g, &q->chunks.items[i]) < 0)
			r->missing.items[r->missing.count++] = q->chunks.items[i];
	g->needs++;
	return ERR_OK;
}

static enum err_code on_chunk(struct gateway *g, const struct chunk_put_request *q, struct chunk_put_reply *r,
                              const struct rpc_call *call, struct err *e)
{
	struct digest got = digest_of(call->payload, call->payload_len);

	if (!digest_equal(&got, &q->sha256))
		return ERR(e, ERR_INVALID, "a chunk is not what it says");
	keep_chunk(g, &got, call->payload, call->payload_len);
	*r = (struct chunk_put_reply){true, (int64_t)call->payload_len};
	g->puts++;
	return ERR_OK;
}

static enum err_code on_commit(struct gateway *g, const struct object_commit_request *q, struct err *e)
{
	g->commits++;
	if (g->conflicts-- > 0) {
		while (g->chunk_count)
			free(g->chunks[--g->chunk_count].bytes);
		return ERR(e, ERR_CONFLICT, "a chunk was swept");
	}
	ASSERT(q->chunks.count <= CHUNKS_MAX);
	for (size_t i = 0; i < q->chunks.count; i++) {
		if (find_chunk(g, &q->chunks.items[i]) < 0)
			return ERR(e, ERR_CONFLICT, "no such chunk");
		g->object_chunks[i] = q->chunks.items[i];
	}
	g->object_chunk_count = q->chunks.count;
	g->object_sha256 = q->sha256;
	g->object_size = (uint64_t)q->size;
	g->has_object = true;
	return ERR_OK;
}

static void on_put(struct gateway *g, const struct object_put_request *q, const struct rpc_call *call)
{
	keep_chunk(g, &q->sha256, call->payload, call->payload_len);
	g->object_chunks[0] = q->sha256;
	g->object_chunk_count = 1;
	g->object_sha256 = q->sha256;
	g->object_size = call->payload_len;
	g->has_object = true;
	g->object_puts++;
}

static enum err_code on_get(struct gateway *g, const struct object_get_request *q, struct object_get_reply *r,
                            struct rpc_call *call, struct err *e)
{
	uint64_t length = q->length ? (uint64_t)q->length : STORE_CHUNK_BYTES, at = (uint64_t)q->offset;
	uint8_t *into = talloc_size(call->ctx, length);
	size_t len = 0;

	if (!g->has_object)
		return ERR(e, ERR_NOT_FOUND, "no such object");
	while (len < length && at < g->object_size) {
		int c = find_chunk(g, &g->object_chunks[at / STORE_CHUNK_BYTES]);
		size_t from = at % STORE_CHUNK_BYTES;
		size_t part = MIN(g->chunks[c].len - from, length - len);

		memcpy(into + len, g->chunks[c].bytes + from, part);
		len += part;
		at += part;
	}
	if (g->flip && len)
		into[len / 2] ^= 1;
	*r = (struct object_get_reply){(int64_t)g->object_size, g->object_sha256};
	if (g->replace_at_get && ++g->gets >= g->replace_at_get)
		r->sha256.bytes[0] ^= 1;
	call->reply_payload = into;
	call->reply_payload_len = len;
	return ERR_OK;
}

#define ANSWER(message, expression)                                                                                    \
	if (strcmp(call->method, #message) == 0) {                                                                     \
		struct message##_request q;                                                                            \
		struct message##_reply r = {0};                                                                        \
                                                                                                                       \
		code = proto_decode(record_##message##_request(), call->ctx, body, PROTO_REJECT_UNKNOWN, &q, e);       \
		if (code == ERR_OK)                                                                                    \
			code = (expression);                                                                           \
		if (code == ERR_OK)                                                                                    \
			code = proto_encode(record_##message##_reply(), &r, reply, e);                                 \
	}

static enum err_code dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e)
{
	struct gateway *g = call->service;
	enum err_code code = ERR_NOT_FOUND;

	pthread_mutex_lock(&g->lock);
	ANSWER(chunk_need, on_need(g, &q, &r, call->ctx))
	ANSWER(chunk_put, on_chunk(g, &q, &r, call, e))
	ANSWER(object_commit, on_commit(g, &q, e))
	ANSWER(object_put, (on_put(g, &q, call), ERR_OK))
	ANSWER(object_get, on_get(g, &q, &r, call, e))
	pthread_mutex_unlock(&g->lock);
	return code;
}

static void on_end(uv_async_t *handle)
{
	struct fixture *f = handle->data;

	rpc_server_free(f->server);
	uv_close((uv_handle_t *)handle, NULL);
}

static void *serve(void *arg)
{
	struct fixture *f = arg;

	uv_run(&f->loop, UV_RUN_DEFAULT);
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);
	struct rpc_server_options options = {.name = "gateway",
	                                     .endpoints = f->endpoints,
	                                     .endpoint_count = 1,
	                                     .secret = {SECRET, NULL},
	                                     .dispatch = dispatch,
	                                     .service = &f->gateway};
	struct rpc_client_options client = {.name = "gateway",
	                                    .endpoints = f->endpoints,
	                                    .endpoint_count = 1,
	                                    .secret = {SECRET, NULL},
	                                    .principal = "test"};
	struct err e;

	f->ctx = f;
	pthread_mutex_init(&f->gateway.lock, NULL);
	snprintf(f->dir, sizeof(f->dir), "/tmp/stowage-store-io-XXXXXX");
	ASSERT(mkdtemp(f->dir));
	snprintf(f->endpoint, sizeof(f->endpoint), "ipc://%s/gateway.ipc", f->dir);
	f->endpoints[0] = f->endpoint;
	ASSERT(uv_loop_init(&f->loop) == 0);
	ASSERT(rpc_server_new(&f->loop, &options, &f->server, &e) == ERR_OK);
	ASSERT(rpc_server_start(f->server, &e) == ERR_OK);
	ASSERT(uv_async_init(&f->loop, &f->end, on_end) == 0);
	f->end.data = f;
	ASSERT(pthread_create(&f->thread, NULL, serve, f) == 0);
	ASSERT(rpc_client_new(f, &client, &f->client, &e) == ERR_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	uv_async_send(&f->end);
	pthread_join(f->thread, NULL);
	ASSERT(uv_loop_close(&f->loop) == 0);
	for (size_t i = 0; i < f->gateway.chunk_count; i++)
		free(f->gateway.chunks[i].bytes);
	snprintf(path, sizeof(path), "%s/gateway.ipc", f->dir);
	unlink(path);
	rmdir(f->dir);
	talloc_free(f);
	return 0;
}

static const struct store_object name = {"account", "object_store", "bucket", "key"};

static uint8_t *pattern(TALLOC_CTX *ctx, size_t len)
{
	uint8_t *bytes = talloc_size(ctx, len + 1);
	uint32_t seed = 12345;

	ASSERT(bytes);
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
	return bytes;
}

static int file_of(const void *bytes, size_t len)
{
	char path[] = "/tmp/stowage-store-io-file-XXXXXX";
	int fd = mkstemp(path);

	ASSERT(fd >= 0);
	unlink(path);
	for (size_t at = 0; at < len;) {
		ssize_t done = write(fd, (const char *)bytes + at, len - at);

		ASSERT(done > 0);
		at += (size_t)done;
	}
	return fd;
}

static void assert_reads_back(struct fixture *f, const uint8_t *bytes, size_t len, size_t window)
{
	SCRATCH_CTX(ctx);
	struct store_reader *r = store_reader_new(ctx, f->client, &name, window);
	uint8_t *into = talloc_size(ctx, len + 1);
	size_t at = 0, got;

	for (int round = 0; round < 2; round++) {
		at = 0;
		do {
			assert_int_equal(
			    store_reader_read(r, into + at, MIN(len + 1 - at, (size_t)1000003), &got, NULL), ERR_OK);
			at += got;
		} while (got);
		assert_int_equal(at, len);
		assert_int_equal(store_reader_size(r), len);
		assert_memory_equal(into, bytes, len);
		/* The end stays the end. */
		assert_int_equal(store_reader_read(r, into, 1, &got, NULL), ERR_OK);
		assert_int_equal(got, 0);
		store_reader_rewind(r);
	}
}

static void objects_of_any_size_come_back(void **state)
{
	static const size_t sizes[] = {0,
	                               1,
	                               4096,
	                               STORE_CHUNK_BYTES - 1,
	                               STORE_CHUNK_BYTES,
	                               STORE_CHUNK_BYTES + 1,
	                               2 * STORE_CHUNK_BYTES,
	                               2 * STORE_CHUNK_BYTES + 777};
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, 3 * STORE_CHUNK_BYTES);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		SCRATCH_CTX(ctx);
		CLEANUP(fd_cleanup) int fd = file_of(bytes, sizes[i]);
		struct digest wanted = digest_of(bytes, sizes[i]);
		struct store_stored stored;
		void *got;
		size_t len;

		assert_int_equal(store_put_fd(f->client, &name, fd, sizes[i], &stored, NULL), ERR_OK);
		assert_int_equal(stored.size, sizes[i]);
		assert_true(digest_equal(&stored.sha256, &wanted));
		assert_true(digest_equal(&f->gateway.object_sha256, &wanted));
		assert_reads_back(f, bytes, sizes[i], 0);
		assert_int_equal(store_get_bytes(f->client, ctx, &name, sizes[i], &got, &len, NULL), ERR_OK);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(got, bytes, len);
		assert_int_equal(((char *)got)[len], 0);
		assert_int_equal(store_put_bytes(f->client, &name, bytes, sizes[i], &stored, NULL), ERR_OK);
		assert_true(digest_equal(&stored.sha256, &wanted));
	}
}

static void a_small_window_gives_the_same(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 100000;
	uint8_t *bytes = pattern(f, len);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	assert_reads_back(f, bytes, len, 64 * KIB);
	assert_reads_back(f, bytes, len, 1000001);
}

static void what_fits_into_a_chunk_is_one_message(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, STORE_CHUNK_BYTES);

	assert_int_equal(store_put_bytes(f->client, &name, bytes, STORE_CHUNK_BYTES, NULL, NULL), ERR_OK);
	assert_int_equal(f->gateway.object_puts, 1);
	assert_int_equal(f->gateway.needs + f->gateway.puts + f->gateway.commits, 0);
}

static void known_chunks_are_not_sent(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 * STORE_CHUNK_BYTES;
	uint8_t *bytes = pattern(f, len);
	struct store_stored stored;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, &stored, NULL), ERR_OK);
	assert_int_equal(f->gateway.puts, 3);
	assert_int_equal(stored.stored_bytes, len);
	bytes[len - 1] ^= 1;
	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, &stored, NULL), ERR_OK);
	assert_int_equal(f->gateway.puts, 4);
	assert_int_equal(stored.stored_bytes, STORE_CHUNK_BYTES);
}

static void a_swept_chunk_is_sent_again(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 5;
	uint8_t *bytes = pattern(f, len);
	CLEANUP(fd_cleanup) int fd = file_of(bytes, len);

	f->gateway.conflicts = 2;
	assert_int_equal(store_put_fd(f->client, &name, fd, len, NULL, NULL), ERR_OK);
	assert_int_equal(f->gateway.commits, 3);
	assert_reads_back(f, bytes, len, 0);
	f->gateway.conflicts = 100;
	assert_int_equal(store_put_fd(f->client, &name, fd, len, NULL, NULL), ERR_CONFLICT);
}

static void a_file_that_is_shorter_than_said_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	CLEANUP(fd_cleanup) int fd = file_of("abc", 3);
	struct err e;

	assert_int_equal(store_put_fd(f->client, &name, fd, 4, NULL, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.text, "bucket/key"));
	assert_false(f->gateway.has_object);
}

static void a_writer_learns_the_name_at_the_end(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = pattern(f, 100);
	struct store_writer *w = store_writer_new(f, f->client, "account", "object_store");
	struct digest wanted = digest_of(bytes, 100), got;
	uint64_t size;

	for (size_t i = 0; i < 100; i++)
		assert_int_equal(store_writer_add(w, bytes + i, 1, NULL), ERR_OK);
	got = store_writer_digest(w, &size);
	assert_int_equal(size, 100);
	assert_true(digest_equal(&got, &wanted));
	assert_false(f->gateway.has_object);
	assert_int_equal(store_writer_commit(w, "bucket", digest_hex(&got).text, NULL, NULL), ERR_OK);
	assert_true(f->gateway.has_object);
	store_writer_free(w);
	store_writer_free(NULL);
}

static void content_that_is_not_the_objects_is_corrupt(void **state)
{
	struct fixture *f = *state;
	size_t len = STORE_CHUNK_BYTES + 5;
	uint8_t *bytes = pattern(f, len);
	void *got;
	struct err e;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.flip = true;
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &len, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "object bucket/key"));
}

static void an_object_replaced_while_it_is_read_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	size_t len = 2 * STORE_CHUNK_BYTES;
	uint8_t *bytes = pattern(f, len);
	void *got;

	assert_int_equal(store_put_bytes(f->client, &name, bytes, len, NULL, NULL), ERR_OK);
	f->gateway.replace_at_get = 2;
	assert_int_equal(store_get_bytes(f->client, f, &name, len, &got, &len, NULL), ERR_CONFLICT);
}

static void limits_and_absence_are_errors(void **state)
{
	struct fixture *f = *state;
	void *got;
	size_t len;
	struct err e;

	assert_int_equal(store_get_bytes(f->client, f, &name, 10, &got, &len, &e), ERR_NOT_FOUND);
	assert_int_equal(store_put_bytes(f->client, &name, "eleven byte", 11, NULL, NULL), ERR_OK);
	assert_int_equal(store_get_bytes(f->client, f, &name, 10, &got, &len, &e), ERR_TOO_LARGE);
	assert_non_null(strstr(e.text, "11 bytes"));
	assert_int_equal(store_get_bytes(f->client, f, &name, 11, &got, &len, NULL), ERR_OK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(objects_of_any_size_come_back),
	    TEST(a_small_window_gives_the_same),
	    TEST(what_fits_into_a_chunk_is_one_message),
	    TEST(known_chunks_are_not_sent),
	    TEST(a_swept_chunk_is_sent_again),
	    TEST(a_file_that_is_shorter_than_said_is_a_conflict),
	    TEST(a_writer_learns_the_name_at_the_end),
	    TEST(content_that_is_not_the_objects_is_corrupt),
	    TEST(an_object_replaced_while_it_is_read_is_a_conflict),
	    TEST(limits_and_absence_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
