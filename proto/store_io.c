#include "proto/store_io.h"

#include <unistd.h>

#define PUT_TRIES 3
#define FILE_PIECE (256 * KIB)

/* Says in the text of a failure which object it was. */
static enum err_code name_object(enum err_code code, const struct store_object *o, struct err *e)
{
	if (code != ERR_OK && e)
		err_wrap(e, "object %s/%s", o->bucket, o->key);
	return code;
}

enum err_code store_put_one(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                            const struct digest *sha256, struct store_stored *stored, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = to->account, .payload = bytes, .payload_len = len};
	struct object_put_request request = {
	    .store = to->store, .bucket = to->bucket, .key = to->key, .sha256 = *sha256};
	struct object_put_reply reply;

	ASSERT(len > 0 && len <= STORE_CHUNK_BYTES);
	TRY(name_object(call_object_put(gateway, &call, scratch, &request, &reply, e), to, e));
	if (stored)
		*stored = (struct store_stored){len, *sha256, (uint64_t)reply.stored_bytes};
	return ERR_OK;
}

/* What is to be written: a file, or bytes. */
struct source {
	int fd; /* -1: bytes */
	const void *bytes;
	uint64_t size;
};

static enum err_code add_file(struct store_writer *w, int fd, uint64_t size, struct err *e)
{
	SCRATCH_CTX(scratch);
	uint8_t *piece = talloc_size(scratch, FILE_PIECE);
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

/* What a commit answers when the sweep took a chunk that was there. */
static bool was_swept(enum err_code code)
{
	return code == ERR_CONFLICT || code == ERR_PRECONDITION;
}

static enum err_code put_source(struct rpc_client *gateway, const struct store_object *to, const struct source *from,
                                struct store_stored *stored, struct err *e)
{
	enum err_code code = ERR_OK;

	for (int try = 0; try < PUT_TRIES; try++) {
		SCRATCH_CTX(scratch);
		struct store_writer *w = store_writer_new(scratch, gateway, to->account, to->store);

		code = from->fd >= 0 ? add_file(w, from->fd, from->size, e)
		                     : store_writer_add(w, from->bytes, from->size, e);
		TRY(name_object(code, to, e));
		code = store_writer_commit(w, to->bucket, to->key, stored, e);
		if (!was_swept(code))
			break;
	}
	return code;
}

enum err_code store_put_fd(struct rpc_client *gateway, const struct store_object *to, int fd, uint64_t size,
                           struct store_stored *stored, struct err *e)
{
	const struct source from = {.fd = fd, .size = size};

	return put_source(gateway, to, &from, stored, e);
}

enum err_code store_put_bytes(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                              struct store_stored *stored, struct err *e)
{
	const struct source from = {.fd = -1, .bytes = bytes, .size = len};
	struct digest sha256;

	if (len == 0 || len > STORE_CHUNK_BYTES)
		return put_source(gateway, to, &from, stored, e);
	sha256 = digest_of(bytes, len);
	return store_put_one(gateway, to, bytes, len, &sha256, stored, e);
}

enum err_code store_get_bytes(struct rpc_client *gateway, TALLOC_CTX *ctx, const struct store_object *from, size_t max,
                              void **bytes, size_t *len, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct store_reader *r = store_reader_new(scratch, gateway, from, 0);
	size_t size, at = 0, got;
	char *whole;

	TRY(store_reader_open(r, e));
	if (store_reader_size(r) > max)
		return ERR(e, ERR_TOO_LARGE, "object %s/%s has %llu bytes, at most %zu are taken", from->bucket,
		           from->key, (unsigned long long)store_reader_size(r), max);
	size = store_reader_size(r);
	whole = talloc_size(scratch, size + 1);
	ASSERT(whole);
	do {
		TRY(store_reader_read(r, whole + at, size - at, &got, e));
		at += got;
	} while (at < size || got);
	whole[at] = '\0';
	*len = at;
	*bytes = talloc_steal(ctx, whole);
	return ERR_OK;
}
