#include "common/aead.h"

#include "common/clock.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

static void cipher_cleanup(EVP_CIPHER_CTX **cipher)
{
	EVP_CIPHER_CTX_free(*cipher);
}

static OSSL_PARAM octets(const char *name, const struct aead_bytes *b)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)b->bytes, b->len);
}

enum err_code aead_derive(const struct aead_bytes *secret, const struct aead_bytes *info, uint8_t key[AEAD_KEY_BYTES],
                          struct err *e)
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
	    octets(OSSL_KDF_PARAM_KEY, secret),
	    octets(OSSL_KDF_PARAM_INFO, info),
	    OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *run = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool done = run && EVP_KDF_derive(run, key, AEAD_KEY_BYTES, params) == 1;

	EVP_KDF_CTX_free(run);
	EVP_KDF_free(kdf);
	if (!done)
		return ERR(e, ERR_INTERNAL, "libcrypto cannot derive a key");
	return ERR_OK;
}

static bool encrypt(const uint8_t *key, const struct aead_bytes *bound, const struct aead_bytes *content,
                    uint8_t *nonce)
{
	CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *run = EVP_CIPHER_CTX_new();
	uint8_t *at = nonce + AEAD_NONCE_BYTES;
	int done;

	return run && EVP_EncryptInit_ex(run, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	       EVP_EncryptUpdate(run, NULL, &done, bound->bytes, (int)bound->len) == 1 &&
	       EVP_EncryptUpdate(run, at, &done, content->bytes, (int)content->len) == 1 &&
	       EVP_EncryptFinal_ex(run, at + content->len, &done) == 1 &&
	       EVP_CIPHER_CTX_ctrl(run, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, at + content->len) == 1;
}

enum err_code aead_seal(const uint8_t key[AEAD_KEY_BYTES], const struct aead_bytes *bound,
                        const struct aead_bytes *content, uint8_t *box, struct err *e)
{
	if (content->len > INT_MAX - AEAD_OVERHEAD || bound->len > INT_MAX)
		return ERR(e, ERR_TOO_LARGE, "%zu bytes are too many to encrypt at once", content->len);
	random_bytes(box, AEAD_NONCE_BYTES);
	if (!encrypt(key, bound, content, box))
		return ERR(e, ERR_INTERNAL, "libcrypto cannot encrypt");
	return ERR_OK;
}

static bool decrypt(const uint8_t *key, const struct aead_bytes *bound, const uint8_t *nonce, size_t len, uint8_t *into)
{
	CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *run = EVP_CIPHER_CTX_new();
	const uint8_t *at = nonce + AEAD_NONCE_BYTES;
	uint8_t tag[AEAD_TAG_BYTES];
	int done;

	memcpy(tag, at + len, sizeof(tag));
	return run && EVP_DecryptInit_ex(run, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	       EVP_DecryptUpdate(run, NULL, &done, bound->bytes, (int)bound->len) == 1 &&
	       EVP_DecryptUpdate(run, into, &done, at, (int)len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(run, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag) == 1 &&
	       EVP_DecryptFinal_ex(run, into + len, &done) == 1;
}

enum err_code aead_open(const uint8_t key[AEAD_KEY_BYTES], const struct aead_bytes *bound, const struct aead_bytes *box,
                        void *content, struct err *e)
{
	size_t len;

	if (box->len < AEAD_OVERHEAD || box->len > INT_MAX || bound->len > INT_MAX)
		return ERR(e, ERR_CORRUPT, "%zu bytes are no encrypted box", box->len);
	len = box->len - AEAD_OVERHEAD;
	if (decrypt(key, bound, box->bytes, len, content))
		return ERR_OK;
	/* What nobody vouches for is not to be seen. */
	OPENSSL_cleanse(content, len);
	return ERR(e, ERR_CORRUPT, "the tag of %zu encrypted bytes does not fit", len);
}
