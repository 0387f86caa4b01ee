/*
 * object: a name for content: (store, account, bucket, key) to a list of chunks.
 *
 * An object appears whole, in one transaction that holds its chunks' rows against the sweep, and is replaced whole. Two
 * commits of one key at once end with one of them. Its rows are what keeps chunks: when an object goes, its chunks
 * become suspect, and the sweep looks whether anybody else names them.
 */
#ifndef GATEWAY_OBJECT_H
#define GATEWAY_OBJECT_H

#include "proto/messages.h"
#include "services/object-store-gateway/chunk.h"

struct object_path {
	const char *account, *bucket, *key;
};

struct object {
	int64_t id;
	int64_t size, created_at; /* bytes; Unix milliseconds */
	struct digest sha256;
	const char *metadata; /* JSON object of texts */
	struct chunk *chunks; /* in order; filled where asked for */
	size_t chunk_count;
};

/* ERR_INVALID names what is wrong: no account, a bucket that is not a lower-case word, an empty key. */
enum err_code object_path_check(const struct object_path *name, struct err *e) MUST_CHECK;

struct object_content {
	int64_t size;
	struct digest sha256;
	const struct digest *chunks;
	size_t chunk_count;
	const char *metadata; /* JSON; NULL: {} */
};

/* ERR_PRECONDITION names the first chunk that is not there: put it and commit again. ERR_INVALID: the chunks' sizes do
 * not give the size, or the digest of a single chunk is not the object's. *replaced: another content had this name. */
enum err_code object_commit(struct store *s, const struct object_path *name, const struct object_content *content,
                            bool *replaced, struct err *e) MUST_CHECK;

/* With chunks first to last (seq, inclusive), or without any if last < first. Results hang on ctx. ERR_NOT_FOUND. */
enum err_code object_find(struct store *s, TALLOC_CTX *ctx, const struct object_path *name, int64_t first, int64_t last,
                          struct object *out, struct err *e) MUST_CHECK;

/* length bytes (at most CHUNK_MAX) from offset on, fewer only at the end; every chunk touched is read whole and
 * checked. */
enum err_code object_read(struct store *s, TALLOC_CTX *ctx, const struct object_path *name, int64_t offset,
                          int64_t length, struct object *object, void **bytes, size_t *len, struct err *e) MUST_CHECK;

enum err_code object_delete(struct store *s, const struct object_path *name, bool *existed, struct err *e) MUST_CHECK;

/* One batch; *more: the batch was full. name->key is the prefix. */
enum err_code object_delete_prefix(struct store *s, const struct object_path *name, int64_t *deleted, bool *more,
                                   struct err *e) MUST_CHECK;

/* A second name in the same store. */
enum err_code object_link(struct store *s, const struct object_path *from, const struct object_path *to,
                          struct object *linked, struct err *e) MUST_CHECK;

/* To another store: chunks that it lacks are read, checked and put. May be repeated; goes on where it was. */
enum err_code object_copy(struct rpc_call *call, struct store *from_store, const struct object_path *from,
                          struct store *to_store, const struct object_path *to, struct object *copied,
                          int64_t *moved_bytes, struct err *e) MUST_CHECK;

/* Reads everything; ERR_CORRUPT if the whole has another digest. */
enum err_code object_verify(struct rpc_call *call, struct store *s, const struct object_path *name,
                            struct object *object, struct err *e) MUST_CHECK;

#endif
