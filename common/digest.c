#include "common/digest.h"

#include <openssl/evp.h>
#include <string.h>

struct hasher {
	EVP_MD_CTX *md;
};

static const char prefix[] = "sha256:";

bool digest_is_none(const struct digest *d)
{
	static const struct digest none;

	return digest_equal(d, &none);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

int digest_compare(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES);
}

static void write_hex(const struct digest *d, char *to)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		*to++ = digits[d->bytes[i] >> 4];
		*to++ = digits[d->bytes[i] & 15];
	}
	*to = '\0';
}

struct digest_text digest_text(const struct digest *d)
{
	struct digest_text t;

	memcpy(t.text, prefix, sizeof(prefix) - 1);
	write_hex(d, t.text + sizeof(prefix) - 1);
	return t;
}

struct digest_text digest_hex(const struct digest *d)
{
	struct digest_text t;

	write_hex(d, t.text);
	return t;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool digest_parse_hex(const char *hex, size_t len, struct digest *d)
{
	if (len != 2 * DIGEST_BYTES)
		return false;
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		d->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool digest_parse_n(const char *text, size_t len, struct digest *d)
{
	size_t skip = sizeof(prefix) - 1;

	if (len < skip || memcmp(text, prefix, skip) != 0)
		return false;
	return digest_parse_hex(text + skip, len - skip, d);
}

bool digest_parse(const char *text, struct digest *d)
{
	return digest_parse_n(text, strlen(text), d);
}

struct digest digest_of(const void *bytes, size_t len)
{
	struct digest d;

	ASSERT(EVP_Digest(bytes, len, d.bytes, NULL, EVP_sha256(), NULL) == 1);
	return d;
}

static int hasher_destroy(struct hasher *h)
{
	EVP_MD_CTX_free(h->md);
	return 0;
}

struct hasher *hasher_new(TALLOC_CTX *ctx)
{
	struct hasher *h = talloc_zero(ctx, struct hasher);

	ASSERT(h);
	h->md = EVP_MD_CTX_new();
	ASSERT(h->md);
	talloc_set_destructor(h, hasher_destroy);
	hasher_reset(h);
	return h;
}

void hasher_reset(struct hasher *h)
{
	ASSERT(EVP_DigestInit_ex(h->md, EVP_sha256(), NULL) == 1);
}

void hasher_add(struct hasher *h, const void *bytes, size_t len)
{
	ASSERT(EVP_DigestUpdate(h->md, bytes, len) == 1);
}

struct digest hasher_finish(struct hasher *h)
{
	struct digest d;

	ASSERT(EVP_DigestFinal_ex(h->md, d.bytes, NULL) == 1);
	hasher_reset(h);
	return d;
}
