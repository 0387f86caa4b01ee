#include "common/frame_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>
#include <uthash.h>

#define KEY_PURPOSE "stowage frame key 1"

struct entry {
	uint8_t salt[FRAME_SALT_BYTES];
	struct frame_key key;
	UT_hash_handle hh;
};

struct frame_keys {
	struct entry *entries; /* the hash keeps order of insertion: the least recently used stands first */
	size_t max;
};

enum err_code frame_key_derive(const char *secret, const uint8_t salt[FRAME_SALT_BYTES], struct frame_key *key,
                               struct err *e)
{
	char *digest = (char[]){"SHA256"};
	void *secret_bytes = (void *)(uintptr_t)secret, *salt_bytes = (void *)(uintptr_t)salt;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret_bytes, strlen(secret)),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt_bytes, FRAME_SALT_BYTES),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (char[]){KEY_PURPOSE}, strlen(KEY_PURPOSE)),
	    OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *run = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool done = run && EVP_KDF_derive(run, key->bytes, sizeof(key->bytes), params) == 1;

	EVP_KDF_CTX_free(run);
	EVP_KDF_free(kdf);
	if (!done)
		return ERR(e, ERR_INTERNAL, "cannot derive a frame key with hkdf-sha256");
	return ERR_OK;
}

static int forget_all(struct frame_keys *keys)
{
	struct entry *entry, *next;

	HASH_ITER (hh, keys->entries, entry, next) {
		HASH_DEL(keys->entries, entry);
		OPENSSL_cleanse(&entry->key, sizeof(entry->key));
		talloc_free(entry);
	}
	return 0;
}

struct frame_keys *frame_keys_new(TALLOC_CTX *ctx, size_t max)
{
	struct frame_keys *keys = talloc_zero(ctx, struct frame_keys);

	ASSERT(keys && max > 0);
	keys->max = max;
	talloc_set_destructor(keys, forget_all);
	return keys;
}

static struct entry *find(struct frame_keys *keys, const uint8_t *salt)
{
	struct entry *entry;

	HASH_FIND(hh, keys->entries, salt, FRAME_SALT_BYTES, entry);
	return entry;
}

bool frame_keys_find(struct frame_keys *keys, const uint8_t salt[FRAME_SALT_BYTES], struct frame_key *key)
{
	struct entry *entry = find(keys, salt);

	if (!entry)
		return false;
	*key = entry->key;
	HASH_DEL(keys->entries, entry);
	HASH_ADD(hh, keys->entries, salt, FRAME_SALT_BYTES, entry);
	return true;
}

void frame_keys_keep(struct frame_keys *keys, const uint8_t salt[FRAME_SALT_BYTES], const struct frame_key *key)
{
	struct entry *entry = find(keys, salt);

	if (entry)
		return;
	if (HASH_COUNT(keys->entries) >= keys->max) {
		entry = keys->entries;
		HASH_DEL(keys->entries, entry);
	} else {
		entry = talloc(keys, struct entry);
		ASSERT(entry);
	}
	memset(entry, 0, sizeof(*entry));
	memcpy(entry->salt, salt, FRAME_SALT_BYTES);
	entry->key = *key;
	HASH_ADD(hh, keys->entries, salt, FRAME_SALT_BYTES, entry);
}

size_t frame_keys_count(const struct frame_keys *keys)
{
	return HASH_COUNT(keys->entries);
}
