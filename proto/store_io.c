#include "proto/store_io.h"

#include <string.h>
#include <unistd.h>

#define PUT_TRIES 3
#define FILE_PIECE (256 * KIB)

/* Says in the text of a failure which object it was. */
static enum err_code name_object(enum err_code code, const char *bucket, const char *key, struct err *e)
{
	if (code != ERR_OK && e)
		err_wrap(e, "object %s/%s", bucket, key);
	return code;
}

/* ---- writing ---- */

struct store_writer {
	struct rpc_client *gateway;
	const char *account, *store;
	uint8_t *piece; /* the chunk that is being filled */
	size_t piece_len;
	struct digest *chunks;
	size_t chunk_count;
	struct hasher *hasher;
	struct digest sha256; /* when finished */
	bool finished;
	uint64_t size, stored_bytes;
};

struct store_writer *store_writer_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const char *account,
                                      const char *store)
{
	struct store_writer *w = talloc_zero(ctx, struct store_writer);

	ASSERT(w);
	*w = (struct store_writer){
	    .gateway = gateway,
	    .account = talloc_strdup(w, account),
	    .store = talloc_strdup(w, store),
	    .piece = talloc_size(w, STORE_CHUNK_BYTES),
	    .hasher = hasher_new(w),
	};
	ASSERT(w->account && w->store && w->piece);
	return w;
}

void store_writer_free(struct store_writer *w)
{
	talloc_free(w);
}

static enum err_code send_chunk(struct store_writer *w, struct digest *chunk, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = w->account, .payload = w->piece, .payload_len = w->piece_len};
	struct chunk_put_request request = {.store = w->store, .sha256 = *chunk};
	struct chunk_put_reply reply;

	TRY(call_chunk_put(w->gateway, &call, scratch, &request, &reply, e));
	w->stored_bytes += (uint64_t)reply.stored_bytes;
	return ERR_OK;
}

static enum err_code flush_chunk(struct store_writer *w, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = w->account};
	struct digest chunk = digest_of(w->piece, w->piece_len);
	struct chunk_need_request request = {.store = w->store, .chunks = {&chunk, 1}};
	struct chunk_need_reply reply;

	if (w->chunk_count == STORE_OBJECT_CHUNKS_MAX)
		return ERR(e, ERR_TOO_LARGE, "an object of more than %llu bytes",
		           (unsigned long long)STORE_OBJECT_BYTES_MAX);
	TRY(call_chunk_need(w->gateway, &call, scratch, &request, &reply, e));
	if (reply.missing.count)
		TRY(send_chunk(w, &chunk, e));
	if (w->chunk_count % 1024 == 0) {
		w->chunks = talloc_realloc(w, w->chunks, struct digest, w->chunk_count + 1024);
		ASSERT(w->chunks);
	}
	w->chunks[w->chunk_count++] = chunk;
	w->piece_len = 0;
	return ERR_OK;
}

enum err_code store_writer_add(struct store_writer *w, const void *bytes, size_t len, struct err *e)
{
	const uint8_t *from = bytes;

	ASSERT(!w->finished);
	hasher_add(w->hasher, bytes, len);
	w->size += len;
	while (len) {
		size_t part;

		/* Not before there is more: what fits into one chunk is sent in one message at the end. */
		if (w->piece_len == STORE_CHUNK_BYTES)
			TRY(flush_chunk(w, e));
		part = MIN(len, STORE_CHUNK_BYTES - w->piece_len);
		memcpy(w->piece + w->piece_len, from, part);
		w->piece_len += part;
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

	if (w->piece_len)
		TRY(flush_chunk(w, e));
	request.chunks = (struct proto_digests){w->chunks, w->chunk_count};
	return call_object_commit(w->gateway, &call, scratch, &request, &reply, e);
}

/* bytes are all of the object. */
static enum err_code put_one(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                             struct store_stored *stored, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = to->account, .payload = bytes, .payload_len = len};
	struct object_put_request request = {
	    .store = to->store, .bucket = to->bucket, .key = to->key, .sha256 = digest_of(bytes, len)};
	struct object_put_reply reply;

	TRY(name_object(call_object_put(gateway, &call, scratch, &request, &reply, e), to->bucket, to->key, e));
	if (stored)
		*stored = (struct store_stored){len, request.sha256, (uint64_t)reply.stored_bytes};
	return ERR_OK;
}

enum err_code store_writer_commit(struct store_writer *w, const char *bucket, const char *key,
                                  struct store_stored *stored, struct err *e)
{
	const struct store_object to = {w->account, w->store, bucket, key};

	store_writer_digest(w, NULL);
	if (w->chunk_count == 0 && w->piece_len)
		return put_one(w->gateway, &to, w->piece, w->piece_len, stored, e);
	TRY(name_object(commit_chunks(w, bucket, key, e), bucket, key, e));
	if (stored)
		*stored = (struct store_stored){w->size, w->sha256, w->stored_bytes};
	return ERR_OK;
}

static enum err_code add_file(struct store_writer *w, int fd, uint64_t size, struct err *e)
{
	uint8_t *piece = talloc_size(w, FILE_PIECE);
	uint64_t at = 0;

	ASSERT(piece);
	while (at < size) {
		ssize_t got = pread(fd, piece, MIN(FILE_PIECE, size - at), (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, err_from_errno(errno), "read at byte %llu", (unsigned long long)at);
		if (got == 0)
			return ERR(e, ERR_CONFLICT, "the file ends at byte %llu of %llu", (unsigned long long)at,
			           (unsigned long long)size);
		TRY(store_writer_add(w, piece, (size_t)got, e));
		at += (uint64_t)got;
	}
	return ERR_OK;
}

static bool was_swept(enum err_code code)
{
	return code == ERR_CONFLICT || code == ERR_PRECONDITION;
}

enum err_code store_put_fd(struct rpc_client *gateway, const struct store_object *to, int fd, uint64_t size,
                           struct store_stored *stored, struct err *e)
{
	enum err_code code = ERR_OK;

	for (int try = 0; try < PUT_TRIES; try++) {
		SCRATCH_CTX(scratch);
		struct store_writer *w = store_writer_new(scratch, gateway, to->account, to->store);

		TRY(name_object(add_file(w, fd, size, e), to->bucket, to->key, e));
		code = store_writer_commit(w, to->bucket, to->key, stored, e);
		if (!was_swept(code))
			break;
	}
	return code;
}

enum err_code store_put_bytes(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                              struct store_stored *stored, struct err *e)
{
	enum err_code code = ERR_OK;

	if (len > 0 && len <= STORE_CHUNK_BYTES)
		return put_one(gateway, to, bytes, len, stored, e);
	for (int try = 0; try < PUT_TRIES; try++) {
		SCRATCH_CTX(scratch);
		struct store_writer *w = store_writer_new(scratch, gateway, to->account, to->store);

		TRY(name_object(store_writer_add(w, bytes, len, e), to->bucket, to->key, e));
		code = store_writer_commit(w, to->bucket, to->key, stored, e);
		if (!was_swept(code))
			break;
	}
	return code;
}

/* ---- reading ---- */

struct store_reader {
	struct rpc_client *gateway;
	struct store_object from;
	size_t window;
	TALLOC_CTX *fetched; /* what holds the piece */
	const uint8_t *piece;
	size_t piece_len, piece_at;
	uint64_t next; /* byte that the next fetch starts at */
	bool opened, checked;
	uint64_t size;
	struct digest sha256;
	struct hasher *hasher;
};

struct store_reader *store_reader_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const struct store_object *from,
                                      size_t window)
{
	struct store_reader *r = talloc_zero(ctx, struct store_reader);

	ASSERT(r);
	r->gateway = gateway;
	r->from = (struct store_object){
	    .account = talloc_strdup(r, from->account),
	    .store = talloc_strdup(r, from->store),
	    .bucket = talloc_strdup(r, from->bucket),
	    .key = talloc_strdup(r, from->key),
	};
	ASSERT(r->from.account && r->from.store && r->from.bucket && r->from.key);
	r->window = window && window < STORE_CHUNK_BYTES ? window : STORE_CHUNK_BYTES;
	r->hasher = hasher_new(r);
	return r;
}

void store_reader_free(struct store_reader *r)
{
	talloc_free(r);
}

uint64_t store_reader_size(const struct store_reader *r)
{
	return r->size;
}

void store_reader_rewind(struct store_reader *r)
{
	TALLOC_FREE(r->fetched);
	r->piece = NULL;
	r->piece_len = r->piece_at = 0;
	r->next = 0;
	r->checked = false;
	hasher_reset(r->hasher);
}

/* What a reply says of the whole must be the same each time, and its piece what was asked for. */
static enum err_code check_piece(struct store_reader *r, const struct object_get_reply *reply, size_t len,
                                 struct err *e)
{
	if (r->opened && ((uint64_t)reply->size != r->size || !digest_equal(&reply->sha256, &r->sha256)))
		return ERR(e, ERR_CONFLICT, "replaced while it was read");
	r->opened = true;
	r->size = (uint64_t)reply->size;
	r->sha256 = reply->sha256;
	if (r->next > r->size || len != MIN(r->window, r->size - r->next))
		return ERR(e, ERR_CORRUPT, "%zu bytes at byte %llu of %llu", len, (unsigned long long)r->next,
		           (unsigned long long)r->size);
	return ERR_OK;
}

static enum err_code fetch(struct store_reader *r, struct err *e)
{
	struct proto_call call = {.account = r->from.account};
	struct object_get_request request = {.store = r->from.store,
	                                     .bucket = r->from.bucket,
	                                     .key = r->from.key,
	                                     .offset = (int64_t)r->next,
	                                     .length = (int64_t)r->window};
	struct object_get_reply reply;

	TALLOC_FREE(r->fetched);
	r->piece_at = r->piece_len = 0;
	r->fetched = talloc_new(r);
	ASSERT(r->fetched);
	TRY(call_object_get(r->gateway, &call, r->fetched, &request, &reply, e));
	TRY(check_piece(r, &reply, call.reply_payload_len, e));
	r->piece = call.reply_payload;
	r->piece_len = call.reply_payload_len;
	r->next += r->piece_len;
	if (r->piece_len)
		hasher_add(r->hasher, r->piece, r->piece_len);
	return ERR_OK;
}

static enum err_code check_whole(struct store_reader *r, struct err *e)
{
	struct digest got;

	if (r->checked)
		return ERR_OK;
	got = hasher_finish(r->hasher);
	if (!digest_equal(&got, &r->sha256))
		return ERR(e, ERR_CORRUPT, "content has %s, not %s", digest_text(&got).text,
		           digest_text(&r->sha256).text);
	r->checked = true;
	return ERR_OK;
}

static enum err_code next_piece(struct store_reader *r, struct err *e)
{
	if (!r->opened || r->next < r->size)
		TRY(fetch(r, e));
	return r->piece_at == r->piece_len ? check_whole(r, e) : ERR_OK;
}

enum err_code store_reader_read(struct store_reader *r, void *into, size_t size, size_t *got, struct err *e)
{
	*got = 0;
	if (r->piece_at == r->piece_len)
		TRY(name_object(next_piece(r, e), r->from.bucket, r->from.key, e));
	*got = MIN(size, r->piece_len - r->piece_at);
	if (*got)
		memcpy(into, r->piece + r->piece_at, *got);
	r->piece_at += *got;
	return ERR_OK;
}

enum err_code store_get_bytes(struct rpc_client *gateway, TALLOC_CTX *ctx, const struct store_object *from, size_t max,
                              void **bytes, size_t *len, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct store_reader *r = store_reader_new(scratch, gateway, from, 0);
	char *whole;
	size_t at = 0, got;

	TRY(name_object(fetch(r, e), from->bucket, from->key, e));
	if (r->size > max)
		return ERR(e, ERR_TOO_LARGE, "object %s/%s has %llu bytes, at most %zu are taken", from->bucket,
		           from->key, (unsigned long long)r->size, max);
	whole = talloc_size(scratch, r->size + 1);
	ASSERT(whole);
	do {
		TRY(store_reader_read(r, whole + at, r->size - at, &got, e));
		at += got;
	} while (at < r->size || got);
	whole[at] = '\0';
	*len = at;
	*bytes = talloc_steal(ctx, whole);
	return ERR_OK;
}
