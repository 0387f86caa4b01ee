/*
 * chunk_cipher: what a back end holds of an encrypted chunk.
 *
 * The bytes that would have been stored (the content, or what zstd made of it) become a box of common/aead.h: nonce of
 * 12 random bytes, AES-256-GCM ciphertext, tag of 16. Everything about a chunk that the box must not be torn from is
 * one text, the chunk's *binding*:
 *
 *     "stowage chunk 1" NUL store NUL key's ID NUL codec NUL, and the 32 bytes of the content's SHA-256
 *
 * It is authenticated with the box, and it is the info with which HKDF makes the chunk's own key from the key of the
 * configuration. So bytes that were moved to another chunk, another store or another codec do not open; and a key
 * encrypts only as many boxes as one content is written anew (rekeyed, moved, mended), which keeps random nonces far
 * from the 2^32 that NIST SP 800-38D, 8.3 allows, whatever the store's size and age. The nonce is random, not made from
 * the digest, because one content may be sealed twice with different bytes: another version of zstd, another level.
 */
#ifndef GATEWAY_CHUNK_CIPHER_H
#define GATEWAY_CHUNK_CIPHER_H

#include "common/digest.h"
#include "services/object-store-gateway/keyring.h"

struct chunk_binding {
	const char *store, *key_id;
	const struct digest *sha256; /* of the content */
	bool zstd;
};

/* ERR_UNAVAILABLE, in the words for a chunk whose key is not configured. */
enum err_code chunk_key_missing(const char *store, const struct digest *sha256, const char *key_id, struct err *e);

/* into: room for len + AEAD_OVERHEAD bytes. ERR_UNAVAILABLE: the ring has no such key. */
enum err_code chunk_seal(const struct keyring *ring, const struct chunk_binding *binding, const void *bytes, size_t len,
                         void *into, struct err *e) MUST_CHECK;

/* into: room for len - AEAD_OVERHEAD bytes. ERR_UNAVAILABLE: the ring has no such key; the message names it.
 * ERR_CORRUPT: other bytes than were sealed for this chunk with this key. */
enum err_code chunk_unseal(const struct keyring *ring, const struct chunk_binding *binding, const void *bytes,
                           size_t len, void *into, struct err *e) MUST_CHECK;

#endif
