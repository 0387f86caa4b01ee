#include "common/vault.h"

#include "common/clock.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#define VERSION 1
#define KEY_BYTES 32
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define OVERHEAD (1 + NONCE_BYTES + TAG_BYTES)

struct vault {
	unsigned char keys[2][KEY_BYTES];
	size_t count;
};

static void cipher_cleanup(EVP_CIPHER_CTX **cipher)
{
	EVP_CIPHER_CTX_free(*cipher);
}

static enum err_code derive(const char *purpose, const char *secret, unsigned char key[KEY_BYTES], struct err *e)
{
	void *secret_bytes = (void *)(uintptr_t)secret, *purpose_bytes = (void *)(uintptr_t)purpose;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret_bytes, strlen(secret)),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, purpose_bytes, strlen(purpose)),
	    OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *run = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool done = run && EVP_KDF_derive(run, key, KEY_BYTES, params) == 1;

	EVP_KDF_CTX_free(run);
	EVP_KDF_free(kdf);
	if (!done)
		return ERR(e, ERR_INTERNAL, "cannot derive the key for stored secrets");
	return ERR_OK;
}

static int forget(struct vault *v)
{
	OPENSSL_cleanse(v, sizeof(*v));
	return 0;
}

enum err_code vault_new(TALLOC_CTX *ctx, const char *purpose, const struct rpc_secret *secret, struct vault **out,
                        struct err *e)
{
	struct vault *v = talloc_zero(ctx, struct vault);

	ASSERT(v);
	talloc_set_destructor(v, forget);
	if (!secret->current || !*secret->current)
		return ERR(e, ERR_INVALID, "no cluster secret to protect stored secrets with");
	TRY(derive(purpose, secret->current, v->keys[v->count++], e));
	if (secret->previous && *secret->previous)
		TRY(derive(purpose, secret->previous, v->keys[v->count++], e));
	*out = v;
	return ERR_OK;
}

static bool seal_into(const unsigned char *key, const char *context, const char *text, int len, unsigned char *nonce)
{
	CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	unsigned char *body = nonce + NONCE_BYTES;
	int done;

	return cipher && EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	       EVP_EncryptUpdate(cipher, NULL, &done, (const unsigned char *)context, (int)strlen(context)) == 1 &&
	       EVP_EncryptUpdate(cipher, body, &done, (const unsigned char *)text, len) == 1 &&
	       EVP_EncryptFinal_ex(cipher, body + done, &done) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, body + len) == 1;
}

enum err_code vault_seal(const struct vault *v, TALLOC_CTX *ctx, const char *context, const char *text, void **sealed,
                         size_t *len, struct err *e)
{
	size_t text_len = strlen(text);
	unsigned char *bytes;

	if (text_len > INT_MAX - OVERHEAD)
		return ERR(e, ERR_TOO_LARGE, "a secret of %zu bytes", text_len);
	bytes = talloc_size(ctx, text_len + OVERHEAD);
	ASSERT(bytes);
	bytes[0] = VERSION;
	random_bytes(bytes + 1, NONCE_BYTES);
	if (!seal_into(v->keys[0], context, text, (int)text_len, bytes + 1))
		return ERR(e, ERR_INTERNAL, "cannot encrypt a secret");
	*sealed = bytes;
	*len = text_len + OVERHEAD;
	return ERR_OK;
}

static bool open_into(const unsigned char *key, const char *context, const unsigned char *nonce, int len, char *text)
{
	CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	const unsigned char *body = nonce + NONCE_BYTES;
	unsigned char tag[TAG_BYTES];
	int done;

	memcpy(tag, body + len, TAG_BYTES);
	return cipher && EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	       EVP_DecryptUpdate(cipher, NULL, &done, (const unsigned char *)context, (int)strlen(context)) == 1 &&
	       EVP_DecryptUpdate(cipher, (unsigned char *)text, &done, body, len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
	       EVP_DecryptFinal_ex(cipher, (unsigned char *)text + done, &done) == 1;
}

enum err_code vault_open(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed, size_t len,
                         char **text, struct err *e)
{
	const unsigned char *bytes = sealed;

	if (len < OVERHEAD || len > INT_MAX || bytes[0] != VERSION)
		return ERR(e, ERR_CORRUPT, "the stored secret of %s is not one of this version", context);
	*text = talloc_zero_size(ctx, len - OVERHEAD + 1);
	ASSERT(*text);
	for (size_t i = 0; i < v->count; i++)
		if (open_into(v->keys[i], context, bytes + 1, (int)(len - OVERHEAD), *text)) {
			(*text)[len - OVERHEAD] = '\0';
			return ERR_OK;
		}
	return ERR(e, ERR_CORRUPT, "the stored secret of %s does not open with this cluster secret", context);
}
