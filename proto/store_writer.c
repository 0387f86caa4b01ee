#include "proto/store_flight.h"
#include "proto/store_io.h"

#include <string.h>

/* One chunk on its way. From push to pop it is its thread's. */
struct piece {
	struct store_task task;
	struct rpc_client *gateway;
	const char *account, *store;
	uint8_t *bytes; /* STORE_CHUNK_BYTES, made when first needed */
	size_t len;
	struct digest sha256;
	uint64_t stored_bytes;
};

struct store_writer {
	struct rpc_client *gateway;
	const char *account, *store;
	struct piece pieces[STORE_WRITE_AHEAD + 1]; /* taken in turn: one is filled while the others are on their way */
	size_t turn;
	struct store_flight *flight; /* NULL as long as all fits into one chunk */
	struct digest *chunks;       /* that have arrived */
	size_t chunk_count;
	struct hasher *hasher;
	struct digest sha256; /* when finished */
	bool finished, failed;
	uint64_t size, stored_bytes;
};

/* Its threads first: they work on what the rest holds. */
static int writer_destroy(struct store_writer *w)
{
	TALLOC_FREE(w->flight);
	return 0;
}

struct store_writer *store_writer_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const char *account,
                                      const char *store)
{
	struct store_writer *w = talloc_zero(ctx, struct store_writer);

	ASSERT(w);
	w->gateway = gateway;
	w->account = talloc_strdup(w, account);
	w->store = talloc_strdup(w, store);
	w->hasher = hasher_new(w);
	ASSERT(w->account && w->store);
	talloc_set_destructor(w, writer_destroy);
	return w;
}

void store_writer_free(struct store_writer *w)
{
	talloc_free(w);
}

static struct piece *filling(struct store_writer *w)
{
	struct piece *piece = &w->pieces[w->turn % ARRAY_SIZE(w->pieces)];

	if (!piece->bytes) {
		piece->gateway = w->gateway;
		piece->account = w->account;
		piece->store = w->store;
		piece->bytes = talloc_size(w, STORE_CHUNK_BYTES);
		ASSERT(piece->bytes);
	}
	return piece;
}

/* ---- on a thread of the flight ---- */

static enum err_code is_missing(const struct piece *piece, bool *missing, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = piece->account};
	struct digest sha256 = piece->sha256;
	struct chunk_need_request request = {.store = piece->store, .chunks = {&sha256, 1}};
	struct chunk_need_reply reply;

	TRY(call_chunk_need(piece->gateway, &call, scratch, &request, &reply, e));
	*missing = reply.missing.count > 0;
	return ERR_OK;
}

static enum err_code send_piece(struct store_task *task, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct piece *piece = (struct piece *)task;
	struct proto_call call = {.account = piece->account, .payload = piece->bytes, .payload_len = piece->len};
	struct chunk_put_request request = {.store = piece->store};
	struct chunk_put_reply reply;
	bool missing;

	piece->stored_bytes = 0;
	piece->sha256 = request.sha256 = digest_of(piece->bytes, piece->len);
	TRY(is_missing(piece, &missing, e));
	if (!missing)
		return ERR_OK;
	TRY(call_chunk_put(piece->gateway, &call, scratch, &request, &reply, e));
	piece->stored_bytes = (uint64_t)reply.stored_bytes;
	return ERR_OK;
}

/* ---- on the caller's ---- */

/* Without some of its chunks it can never be committed. */
static enum err_code fail(struct store_writer *w, enum err_code code)
{
	store_flight_cancel(w->flight);
	w->failed = true;
	return code;
}

/* The oldest piece that is on its way. */
static enum err_code land_piece(struct store_writer *w, struct err *e)
{
	const struct piece *piece = (const struct piece *)store_flight_pop(w->flight);

	if (piece->task.code != ERR_OK) {
		if (e)
			*e = piece->task.error;
		return fail(w, piece->task.code);
	}
	if (w->chunk_count % 1024 == 0) {
		w->chunks = talloc_realloc(w, w->chunks, struct digest, w->chunk_count + 1024);
		ASSERT(w->chunks);
	}
	w->chunks[w->chunk_count++] = piece->sha256;
	w->stored_bytes += piece->stored_bytes;
	return ERR_OK;
}

/* Sends the piece that was filled; the next one is free then. */
static enum err_code launch_piece(struct store_writer *w, struct err *e)
{
	struct piece *piece = filling(w);

	if (!w->flight)
		w->flight = store_flight_new(w, STORE_WRITE_AHEAD);
	if (w->chunk_count + store_flight_count(w->flight) >= STORE_OBJECT_CHUNKS_MAX)
		return fail(w, ERR(e, ERR_TOO_LARGE, "an object of more than %llu bytes",
		                   (unsigned long long)STORE_OBJECT_BYTES_MAX));
	if (store_flight_count(w->flight) == STORE_WRITE_AHEAD)
		TRY(land_piece(w, e));
	piece->task.run = send_piece;
	store_flight_push(w->flight, &piece->task);
	w->turn++;
	filling(w)->len = 0;
	return ERR_OK;
}

enum err_code store_writer_add(struct store_writer *w, const void *bytes, size_t len, struct err *e)
{
	const uint8_t *from = bytes;

	ASSERT(!w->finished && !w->failed);
	w->size += len;
	while (len) {
		struct piece *piece = filling(w);
		size_t part;

		/* Not before there is more: what fits into one chunk is sent in one message at the end. */
		if (piece->len == STORE_CHUNK_BYTES) {
			TRY(launch_piece(w, e));
			continue;
		}
		part = MIN(len, STORE_CHUNK_BYTES - piece->len);
		hasher_add(w->hasher, from, part);
		memcpy(piece->bytes + piece->len, from, part);
		piece->len += part;
		from += part;
		len -= part;
	}
	return ERR_OK;
}

struct digest store_writer_digest(struct store_writer *w, uint64_t *size)
{
	if (!w->finished)
		w->sha256 = hasher_finish(w->hasher);
	w->finished = true;
	if (size)
		*size = w->size;
	return w->sha256;
}

static enum err_code commit_chunks(struct store_writer *w, const char *bucket, const char *key, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = w->account};
	struct object_commit_request request = {
	    .store = w->store, .bucket = bucket, .key = key, .size = (int64_t)w->size, .sha256 = w->sha256};
	struct object_commit_reply reply;

	if (w->size && filling(w)->len)
		TRY(launch_piece(w, e));
	while (w->flight && store_flight_count(w->flight))
		TRY(land_piece(w, e));
	request.chunks = (struct proto_digests){w->chunks, w->chunk_count};
	return call_object_commit(w->gateway, &call, scratch, &request, &reply, e);
}

enum err_code store_writer_commit(struct store_writer *w, const char *bucket, const char *key,
                                  struct store_stored *stored, struct err *e)
{
	const struct store_object to = {w->account, w->store, bucket, key};
	enum err_code code;

	ASSERT(!w->failed);
	store_writer_digest(w, NULL);
	if (w->size && !w->flight)
		return store_put_one(w->gateway, &to, filling(w)->bytes, w->size, &w->sha256, stored, e);
	code = commit_chunks(w, bucket, key, e);
	if (code != ERR_OK && e)
		err_wrap(e, "object %s/%s", bucket, key);
	if (code == ERR_OK && stored)
		*stored = (struct store_stored){w->size, w->sha256, w->stored_bytes};
	return code;
}
