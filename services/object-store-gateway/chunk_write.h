/*
 * chunk_write: content on its way to a back end, compressed and encrypted already, and the steps of writing it that a
 * first write (chunk_put.c) and one in the place of another (chunk_rewrite.c) share: the row that says it is about to
 * be written, the bytes, and taking them back. Nobody but who writes chunk rows includes it: those two, and
 * object_at_once.c, which writes one in the statement that makes its object.
 */
#ifndef GATEWAY_CHUNK_WRITE_H
#define GATEWAY_CHUNK_WRITE_H

#include "services/object-store-gateway/chunk.h"

struct chunk_write {
	struct store *store;
	struct backend *to;
	struct digest sha256;
	size_t len;         /* of the content */
	const void *stored; /* what goes to the back end */
	size_t stored_len;
	bool zstd;
	const char *cipher_key; /* ID of the key that stored is encrypted with; NULL: it is not */
	bool known;             /* result: it was there */
	int64_t damaged;        /* result: the number of a live row whose bytes are of no use; 0: none */
};

#define CHUNK_LOOK_FIRST (64 * KIB) /* from this on, bytes are not sent to the database before it was asked */

/* chunk_write_new for another back end than the current one. */
enum err_code chunk_write_to(struct store *s, TALLOC_CTX *ctx, struct backend *to, const struct digest *sha256,
                             const void *bytes, size_t len, struct chunk_write **out, struct err *e) MUST_CHECK;

/* The row of a write that is about to begin, and the location that it gives to it. */
enum err_code chunk_write_intent(struct db *db, const struct chunk_write *w, struct location *at,
                                 struct err *e) MUST_CHECK;
enum err_code chunk_write_put(const struct chunk_write *w, const struct location *at, struct err *e) MUST_CHECK;
/* The sweep took this write for dead: removes what it may not have found yet. ERR_UNAVAILABLE, unless that fails. */
enum err_code chunk_write_too_long(const struct chunk_write *w, const struct location *at, struct err *e) MUST_CHECK;

#endif
