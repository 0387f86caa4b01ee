/*
 * aead: authenticated encryption of bytes at rest, with AES-256-GCM (NIST SP 800-38D) and keys derived by HKDF-SHA256
 * (RFC 5869).
 *
 * A box is: nonce of 12 random bytes, ciphertext as long as the content, tag of 16. It is bound to further bytes that
 * are authenticated and not stored: whoever opens it gives the same ones, so a box that was moved to another place does
 * not open there.
 *
 * Random nonces of 96 bits allow 2^32 boxes for one key (SP 800-38D, 8.3). Who seals more than that, or does not count,
 * derives a key for each thing from one that is kept, with the thing's name as info.
 *
 * No state; used by any number of threads. Keys are the caller's, who wipes them.
 */
#ifndef COMMON_AEAD_H
#define COMMON_AEAD_H

#include "common/err.h"

#define AEAD_KEY_BYTES 32
#define AEAD_NONCE_BYTES 12
#define AEAD_TAG_BYTES 16
#define AEAD_OVERHEAD (AEAD_NONCE_BYTES + AEAD_TAG_BYTES)

struct aead_bytes {
	const void *bytes;
	size_t len;
};

/* A key out of a secret; another info gives another key that says nothing of the first. ERR_INTERNAL: libcrypto
 * cannot. */
enum err_code aead_derive(const struct aead_bytes *secret, const struct aead_bytes *info, uint8_t key[AEAD_KEY_BYTES],
                          struct err *e) MUST_CHECK;

/* box: room for content->len + AEAD_OVERHEAD bytes, apart from the content. ERR_TOO_LARGE: more than INT_MAX bytes.
 * ERR_INTERNAL: libcrypto cannot. */
enum err_code aead_seal(const uint8_t key[AEAD_KEY_BYTES], const struct aead_bytes *bound,
                        const struct aead_bytes *content, uint8_t *box, struct err *e) MUST_CHECK;

/* content: room for box->len - AEAD_OVERHEAD bytes, apart from the box. ERR_CORRUPT: not sealed with this key for these
 * bound bytes, or changed since; nothing of it is in content then. */
enum err_code aead_open(const uint8_t key[AEAD_KEY_BYTES], const struct aead_bytes *bound, const struct aead_bytes *box,
                        void *content, struct err *e) MUST_CHECK;

#endif
