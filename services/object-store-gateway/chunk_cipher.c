#include "services/object-store-gateway/chunk_cipher.h"

#include "services/object-store-gateway/driver.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define PURPOSE "stowage chunk 1"
#define STORE_MAX 64
#define TEXT_MAX (sizeof(PURPOSE) + STORE_MAX + 1 + KEY_ID_MAX + 1 + sizeof("zstd") + 1)

_Static_assert(STORED_MAX - CHUNK_MAX == AEAD_OVERHEAD, "what drivers are told that a cipher adds");

/* The binding as bytes, and the key that comes of it. */
struct bound {
	char text[TEXT_MAX + DIGEST_BYTES];
	struct aead_bytes bytes;
	uint8_t key[AEAD_KEY_BYTES];
};

enum err_code chunk_key_missing(const char *store, const struct digest *sha256, const char *key_id, struct err *e)
{
	return ERR(e, ERR_UNAVAILABLE, "%s: chunk %s is encrypted with key %s, which is not configured", store,
	           digest_text(sha256).text, key_id);
}

static enum err_code bind(const struct keyring *ring, const struct chunk_binding *b, struct bound *bound, struct err *e)
{
	const uint8_t *key = keyring_find(ring, b->key_id);
	size_t len;

	if (!key)
		return chunk_key_missing(b->store, b->sha256, b->key_id, e);
	len = (size_t)snprintf(bound->text, TEXT_MAX, PURPOSE "%c%s%c%s%c%s%c", 0, b->store, 0, b->key_id, 0,
	                       b->zstd ? "zstd" : "none", 0);
	ASSERT(len < TEXT_MAX);
	memcpy(bound->text + len, b->sha256->bytes, DIGEST_BYTES);
	bound->bytes = (struct aead_bytes){bound->text, len + DIGEST_BYTES};
	return aead_derive(&(struct aead_bytes){key, AEAD_KEY_BYTES}, &bound->bytes, bound->key, e);
}

enum err_code chunk_seal(const struct keyring *ring, const struct chunk_binding *binding, const void *bytes, size_t len,
                         void *into, struct err *e)
{
	struct bound bound;
	enum err_code code;

	TRY(bind(ring, binding, &bound, e));
	code = aead_seal(bound.key, &bound.bytes, &(struct aead_bytes){bytes, len}, into, e);
	OPENSSL_cleanse(bound.key, sizeof(bound.key));
	return code;
}

enum err_code chunk_unseal(const struct keyring *ring, const struct chunk_binding *binding, const void *bytes,
                           size_t len, void *into, struct err *e)
{
	struct bound bound;
	enum err_code code;

	TRY(bind(ring, binding, &bound, e));
	code = aead_open(bound.key, &bound.bytes, &(struct aead_bytes){bytes, len}, into, e);
	OPENSSL_cleanse(bound.key, sizeof(bound.key));
	return code;
}
