#include "common/vault.h"

#include "common/aead.h"

#include <openssl/crypto.h>
#include <string.h>

#define VERSION 1
#define OVERHEAD (1 + AEAD_OVERHEAD)

struct vault {
	uint8_t keys[2][AEAD_KEY_BYTES];
	size_t count;
};

static enum err_code derive(const char *purpose, const char *secret, uint8_t key[AEAD_KEY_BYTES], struct err *e)
{
	const struct aead_bytes from = {secret, strlen(secret)}, info = {purpose, strlen(purpose)};

	if (aead_derive(&from, &info, key, e) != ERR_OK)
		return err_wrap(e, "the key for stored secrets");
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

enum err_code vault_seal(const struct vault *v, TALLOC_CTX *ctx, const char *context, const char *text, void **sealed,
                         size_t *len, struct err *e)
{
	const struct aead_bytes bound = {context, strlen(context)}, content = {text, strlen(text)};
	uint8_t *bytes = talloc_size(ctx, content.len + OVERHEAD);

	ASSERT(bytes);
	bytes[0] = VERSION;
	if (aead_seal(v->keys[0], &bound, &content, bytes + 1, e) != ERR_OK)
		return err_wrap(e, "the secret of %s", context);
	*sealed = bytes;
	*len = content.len + OVERHEAD;
	return ERR_OK;
}

/* *by: which of the keys opened it. */
static enum err_code open_box(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed,
                              size_t len, char **text, size_t *by, struct err *e)
{
	const uint8_t *bytes = sealed;
	const struct aead_bytes bound = {context, strlen(context)};
	struct aead_bytes box;

	if (len < OVERHEAD || bytes[0] != VERSION)
		return ERR(e, ERR_CORRUPT, "the stored secret of %s is not one of this version", context);
	*text = talloc_zero_size(ctx, len - OVERHEAD + 1);
	ASSERT(*text);
	box = (struct aead_bytes){bytes + 1, len - 1};
	for (*by = 0; *by < v->count; ++*by)
		if (aead_open(v->keys[*by], &bound, &box, *text, NULL) == ERR_OK)
			return ERR_OK;
	return ERR(e, ERR_CORRUPT, "the stored secret of %s does not open with this cluster secret", context);
}

enum err_code vault_open(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed, size_t len,
                         char **text, struct err *e)
{
	size_t by;

	return open_box(v, ctx, context, sealed, len, text, &by, e);
}

enum err_code vault_renew(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed, size_t len,
                          void **renewed, size_t *renewed_len, struct err *e)
{
	enum err_code code = ERR_OK;
	char *text;
	size_t by;

	*renewed = NULL;
	TRY(open_box(v, ctx, context, sealed, len, &text, &by, e));
	if (by > 0)
		code = vault_seal(v, ctx, context, text, renewed, renewed_len, e);
	OPENSSL_cleanse(text, strlen(text));
	talloc_free(text);
	return code;
}
