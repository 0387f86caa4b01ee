/*
 * chunk_write: content on its way to a back end, compressed and encrypted already, as chunk_put.c makes it. Nobody but
 * who writes chunk rows includes it: chunk_put.c, and object_at_once.c, which writes one in the statement that makes
 * its object.
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

#endif
