/*
 * object: a name for content: (store, account, bucket, key) to a list of chunks.
 *
 * An object appears whole, in one transaction that holds its chunks' rows against the sweep, and is replaced whole. Of
 * two commits of one key at once the later one stays. An object's rows are what keeps its chunks: when it goes, they
 * become suspect, and the sweep looks whether anybody else names them.
 *
 * Commits hold chunks FOR KEY SHARE, which is at odds with the sweep's FOR UPDATE and with nothing else; who removes or
 * replaces an object locks its row first, then the chunks that it named, by their numbers.
 *
 * Every function that takes a path checks it first: ERR_INVALID names what is wrong with account, bucket or key.
 */
#ifndef GATEWAY_OBJECT_H
#define GATEWAY_OBJECT_H

#include "proto/messages.h"
#include "services/object-store-gateway/chunk.h"

#define OBJECT_LIST_MAX 1000
#define OBJECT_DELETE_BATCH 1000
#define OBJECT_METADATA_MAX (64 * KIB)

struct object_path {
	const char *account, *bucket, *key;
};

struct object {
	int64_t id;
	int64_t size, created_at; /* bytes; Unix milliseconds */
	struct digest sha256;
	const char *metadata; /* JSON object of texts */
	struct chunk *chunks; /* in order; those that were asked for */
	size_t chunk_count;
	const void
	    *stored; /* of the only chunk in chunks, as its back end has it; NULL: was not fetched with the rows */
	size_t stored_len;
};

struct object_content {
	int64_t size;
	struct digest sha256;
	const struct digest *chunks;
	size_t chunk_count;
	const char *metadata; /* JSON; NULL: {} */
};

enum err_code object_path_check(const struct object_path *path, struct err *e) MUST_CHECK;

/* ---- writing: object_write.c ---- */

/* ERR_PRECONDITION names the first chunk that is not there: put it and commit again. ERR_INVALID: the chunks' sizes do
 * not give the size, or the digest of a single chunk is not the object's. (That of several is checked by who reads the
 * whole.) *replaced: another content had this name. */
enum err_code object_commit(struct store *s, const struct object_path *path, const struct object_content *content,
                            bool *replaced, struct err *e) MUST_CHECK;

/* content->size bytes, at most one chunk, and the object with it: one transaction where the driver allows that.
 * content->sha256 is checked, its chunks are not looked at. ERR_UNAVAILABLE when a sweep without grace keeps taking the
 * chunk before the object names it. */
enum err_code object_put(struct store *s, const struct object_path *path, const struct object_content *content,
                         const void *bytes, bool *replaced, size_t *stored_bytes, struct err *e) MUST_CHECK;

enum err_code object_delete(struct store *s, const struct object_path *path, bool *existed, struct err *e) MUST_CHECK;

/* One batch; *more: the batch was full. path->key is the prefix. */
enum err_code object_delete_prefix(struct store *s, const struct object_path *path, int64_t *deleted, bool *more,
                                   struct err *e) MUST_CHECK;

/* ---- reading: object_read.c ---- */

/* With chunks first to last (counted from 0, inclusive); none if last < first. Results hang on ctx. ERR_NOT_FOUND. */
enum err_code object_find(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t first, int64_t last,
                          struct object *out, struct err *e) MUST_CHECK;
#define OBJECT_ALL_CHUNKS INT32_MAX

/* length bytes (1 to CHUNK_MAX) from offset on, fewer only at the end; every chunk touched is read whole and checked.
 * ERR_CORRUPT names object and chunk. Where driver and size allow, rows and bytes come by one statement. *bytes hang on
 * ctx, directly or not. */
enum err_code object_read(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, int64_t offset,
                          int64_t length, struct object *object, void **bytes, size_t *len, struct err *e) MUST_CHECK;

/* Reads everything; ERR_CORRUPT if the whole has another digest. */
enum err_code object_verify(struct rpc_call *call, struct store *s, const struct object_path *path,
                            struct object *object, struct err *e) MUST_CHECK;

/* Keys in the order of their bytes: those that start with path->key (which may be empty here) and come after `after`.
 * Only key, size, sha256 and created_at are filled. */
struct object_listed {
	const char *key;
	struct object object;
};
enum err_code object_list(struct store *s, TALLOC_CTX *ctx, const struct object_path *path, const char *after,
                          size_t limit, struct object_listed **listed, size_t *count, struct err *e) MUST_CHECK;

/* ---- second names: object_copy.c ---- */

enum err_code object_link(struct store *s, TALLOC_CTX *ctx, const struct object_path *from,
                          const struct object_path *to, struct object *linked, struct err *e) MUST_CHECK;

/* To another store: chunks that it lacks are read, checked and put. May be repeated; goes on where it was. */
enum err_code object_copy(struct rpc_call *call, struct store *from_store, const struct object_path *from,
                          struct store *to_store, const struct object_path *to, struct object *copied,
                          int64_t *moved_bytes, struct err *e) MUST_CHECK;

#endif
