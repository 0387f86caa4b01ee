/*
 * store_fixture: for tests of proto/store_io: a gateway of a few lines, in this process, behind a real socket. It keeps
 * chunks and one object, counts what it is asked, and misbehaves as it is told.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "common/clock.h"
#include "common/rpc_server.h"
#include "proto/store_io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET "correct horse battery staple"
#define CHUNKS_MAX 64
#define TOGETHER_MS 10000

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
	int64_t refused_at; /* gets of this byte, unless it is 0, are refused so many times */
	int refusals;
	int slow_ms; /* so long takes each chunk, either way */
	struct {
		struct digest sha256; /* puts of this chunk are refused */
		int after_ms;
	} refused[2];
	int together;               /* chunks wait until so many are here at a time; an object's first comes alone */
	atomic_int busy, most_busy; /* chunks being taken or given at a time */
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

static void sleep_ms(int ms)
{
	usleep((useconds_t)ms * 1000);
}

/* What takes long: several calls are here at a time, without the lock. */
static void carry(struct gateway *g, int ms, int together)
{
	int busy, most;

	ms += g->slow_ms;
	pthread_mutex_unlock(&g->lock);
	busy = atomic_fetch_add(&g->busy, 1) + 1;
	most = atomic_load(&g->most_busy);
	while (busy > most && !atomic_compare_exchange_weak(&g->most_busy, &most, busy))
		;
	for (int i = 0; i < TOGETHER_MS && atomic_load(&g->most_busy) < together; i++)
		sleep_ms(1);
	sleep_ms(ms);
	atomic_fetch_sub(&g->busy, 1);
	pthread_mutex_lock(&g->lock);
}

static enum err_code refuse_chunk(struct gateway *g, const struct digest *sha256, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(g->refused); i++) {
		if (digest_is_none(&g->refused[i].sha256) || !digest_equal(&g->refused[i].sha256, sha256))
			continue;
		carry(g, g->refused[i].after_ms, 0);
		return ERR(e, ERR_FORBIDDEN, "refusal %zu", i);
	}
	return ERR_OK;
}

static enum err_code on_chunk(struct gateway *g, const struct chunk_put_request *q, struct chunk_put_reply *r,
                              const struct rpc_call *call, struct err *e)
{
	struct digest got = digest_of(call->payload, call->payload_len);

	if (!digest_equal(&got, &q->sha256))
		return ERR(e, ERR_INVALID, "a chunk is not what it says");
	TRY(refuse_chunk(g, &got, e));
	carry(g, 0, g->together);
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

	g->gets++;
	carry(g, 0, q->offset ? g->together : 0);
	if (!g->has_object)
		return ERR(e, ERR_NOT_FOUND, "no such object");
	if (q->offset && q->offset == g->refused_at && g->refusals-- > 0)
		return ERR(e, ERR_FORBIDDEN, "refused at %lld", (long long)q->offset);
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
	if (g->replace_at_get && g->gets >= g->replace_at_get)
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

static UNUSED int setup(void **state)
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

static UNUSED int teardown(void **state)
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

static const struct store_object name UNUSED = {"account", "object_store", "bucket", "key"};

static UNUSED uint8_t *pattern(TALLOC_CTX *ctx, size_t len)
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

#endif
