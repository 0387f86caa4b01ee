/*
 * keyring: the keys that a store's chunks are encrypted with, as the configuration lists them.
 *
 *     ID:KEY        ID of 1 to 32 of a-z 0-9 . _ -, KEY is 32 bytes in base64 (`openssl rand -base64 32`)
 *
 * One a line, or separated by commas; empty lines and what follows a # do not count. The first key encrypts, each of
 * them decrypts. The word none in the first one's place: new chunks are not encrypted, and the keys are there for the
 * others. A chunk's row names its key by the ID, so an ID means one key for ever. No two entries may have the
 * same ID, or the same key.
 *
 * Errors name the place, the number of the entry and the ID, and never what may be a key. The keys are wiped when the
 * ring is freed. Used by any number of threads; nothing changes after keyring_parse.
 */
#ifndef GATEWAY_KEYRING_H
#define GATEWAY_KEYRING_H

#include "common/aead.h"

#define KEY_ID_MAX 32
#define KEYS_MAX 100
#define KEY_NONE "none" /* what stands for "not encrypted" where people and messages need a word; no key's ID */

struct keyring;

/* place: "object_store.encryption.keys". text NULL: nothing is configured, *out is NULL. ERR_INVALID: whatever is wrong
 * with it; a text without any entry is, too: encryption is not to be switched off by accident. */
enum err_code keyring_parse(TALLOC_CTX *ctx, const char *place, const char *text, struct keyring **out,
                            struct err *e) MUST_CHECK;

/* A ring may be NULL in all of these: it has no keys. */
const char *keyring_current(const struct keyring *ring); /* ID of the one that encrypts; NULL: none does */
const uint8_t *keyring_find(const struct keyring *ring, const char *id); /* AEAD_KEY_BYTES of it; NULL: not there */
size_t keyring_count(const struct keyring *ring);
const char *keyring_id(const struct keyring *ring, size_t i);
const char *keyring_sql(const struct keyring *ring); /* all IDs as a PostgreSQL text[] literal */

#endif
