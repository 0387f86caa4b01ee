/*
 * frame_keys: the AES keys that belong to salts. Derived from the cluster secrets with HKDF-SHA256, which costs a few
 * microseconds, so those of salts seen lately are kept, at most `max`; the least recently used goes first.
 *
 * Not thread-safe: the ring's lock guards it.
 */
#ifndef COMMON_FRAME_KEYS_H
#define COMMON_FRAME_KEYS_H

#include "common/frame.h"

#define FRAME_KEY_BYTES 32

struct frame_key {
	uint8_t bytes[FRAME_KEY_BYTES];
};

struct frame_keys;

/* HKDF-SHA256 of one secret for one salt. ERR_INTERNAL when libcrypto refuses. */
enum err_code frame_key_derive(const char *secret, const uint8_t salt[FRAME_SALT_BYTES], struct frame_key *key,
                               struct err *e) MUST_CHECK;

struct frame_keys *frame_keys_new(TALLOC_CTX *ctx, size_t max);

/* True: the key that opened frames of this salt before. */
bool frame_keys_find(struct frame_keys *keys, const uint8_t salt[FRAME_SALT_BYTES], struct frame_key *key);
void frame_keys_keep(struct frame_keys *keys, const uint8_t salt[FRAME_SALT_BYTES], const struct frame_key *key);
size_t frame_keys_count(const struct frame_keys *keys);

#endif
