/*
 * store_io: whole objects of any size, through the gateway's messages of at most one chunk, with memory for a few
 * chunks.
 *
 *     struct store_object name = {"default", "object_store", "layers", key};
 *
 *     TRY(store_put_fd(gateway, &name, fd, size, &stored, e));
 *
 *     struct store_reader *r = store_reader_new(ctx, gateway, &name, 0);
 *     while ((code = store_reader_read(r, into, sizeof(into), &got, e)) == ERR_OK && got > 0)
 *             use(into, got);
 *     store_reader_free(r);
 *
 * Writing: content is cut every 4 MiB, the gateway is asked whether it has a chunk before the chunk is sent, and the
 * object appears all at once at the end. Up to STORE_WRITE_AHEAD chunks are hashed and sent at a time, on threads of
 * the writer's own, while the caller fills the next. What fits into one chunk goes in one message, without threads.
 * Writing the same again is harmless. A writer is told the object's name only at the end, when its digest is known.
 *
 * Reading: ranges one after the other; a reader of whole chunks has up to STORE_READ_AHEAD of them on their way while
 * the caller uses the one before, once the first came and there turned out to be more. The last read checks the SHA-256
 * of the whole before it says that this was all, so whoever reads to the end has what was put. An object replaced while
 * it is read is ERR_CONFLICT.
 *
 * Memory: a writer takes STORE_WRITE_AHEAD + 1 chunks, a reader without a window of its own STORE_READ_AHEAD + 1, and
 * each chunk on its way once more in its message; for an object of one chunk it is one of each.
 *
 * All of it blocks. A reader and a writer belong to one thread at a time. Errors are the gateway's and the transport's,
 * and name the object. Of several chunks that fail, the error is that of the first in the object; when a call returns
 * one, nothing is on its way any more. Strings in struct store_object stay the caller's; a reader keeps copies.
 */
#ifndef PROTO_STORE_IO_H
#define PROTO_STORE_IO_H

#include "proto/messages.h"

#define STORE_CHUNK_BYTES (4 * MIB)
#define STORE_OBJECT_CHUNKS_MAX 32768
#define STORE_OBJECT_BYTES_MAX (STORE_CHUNK_BYTES * STORE_OBJECT_CHUNKS_MAX)
#define STORE_WRITE_AHEAD 4
#define STORE_READ_AHEAD 3

struct store_object {
	const char *account, *store, *bucket, *key;
};

struct store_stored {
	uint64_t size;
	struct digest sha256;
	uint64_t stored_bytes; /* added to the back end: 0 when everything was known */
};

/* size bytes of fd from its byte 0, read with pread: the file position does not matter and is not moved. ERR_CONFLICT
 * if the file is shorter. stored may be NULL. Starts over by itself when the sweep took a chunk meanwhile. */
enum err_code store_put_fd(struct rpc_client *gateway, const struct store_object *to, int fd, uint64_t size,
                           struct store_stored *stored, struct err *e) MUST_CHECK;

enum err_code store_put_bytes(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                              struct store_stored *stored, struct err *e) MUST_CHECK;

/* 1 byte to one chunk whose digest is known already. */
enum err_code store_put_one(struct rpc_client *gateway, const struct store_object *to, const void *bytes, size_t len,
                            const struct digest *sha256, struct store_stored *stored, struct err *e) MUST_CHECK;

/* The whole object, on ctx, with a NUL behind it that len does not count. ERR_TOO_LARGE beyond max. */
enum err_code store_get_bytes(struct rpc_client *gateway, TALLOC_CTX *ctx, const struct store_object *from, size_t max,
                              void **bytes, size_t *len, struct err *e) MUST_CHECK;

/* Writing piece by piece. After a failed add or commit only free is left. Nothing is visible unless commit succeeded.
 * Freeing waits for what is on its way. */
struct store_writer;

struct store_writer *store_writer_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const char *account,
                                      const char *store);
enum err_code store_writer_add(struct store_writer *w, const void *bytes, size_t len, struct err *e) MUST_CHECK;

/* Size and digest of what was added so far; hashing goes on afterwards only if nothing is added any more. */
struct digest store_writer_digest(struct store_writer *w, uint64_t *size);

/* Makes it an object. ERR_CONFLICT or ERR_PRECONDITION: a chunk was swept meanwhile, write it all again. */
enum err_code store_writer_commit(struct store_writer *w, const char *bucket, const char *key,
                                  struct store_stored *stored, struct err *e) MUST_CHECK;
void store_writer_free(struct store_writer *w); /* NULL is fine */

/* Reading piece by piece. window: bytes fetched at once, which is also the memory taken, without reading ahead; 0:
 * whole chunks, reading ahead. Nothing is asked of the gateway before the first read. Freeing waits for what is on its
 * way.
 */
struct store_reader;

struct store_reader *store_reader_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const struct store_object *from,
                                      size_t window);

/* Fetches the first bytes, if nothing was read yet, so that the size is known. */
enum err_code store_reader_open(struct store_reader *r, struct err *e) MUST_CHECK;

/* Up to size bytes; *got == 0: that was all, and it was right (ERR_CORRUPT if it was not). */
enum err_code store_reader_read(struct store_reader *r, void *into, size_t size, size_t *got, struct err *e) MUST_CHECK;

/* The next read starts at the first byte again. */
void store_reader_rewind(struct store_reader *r);

/* Of the whole object; 0 before the first read or open. */
uint64_t store_reader_size(const struct store_reader *r);
void store_reader_free(struct store_reader *r); /* NULL is fine */

#endif
