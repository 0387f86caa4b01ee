/*
 * digest: SHA-256 content addresses, as OCI images name their blobs ("sha256:" and 64 lower-case hexadecimal digits).
 *
 * A digest of 32 zero bytes means "none"; no content is known to have it. Hashing of a stream goes through struct
 * hasher, which is OpenSSL's and uses the processor's SHA instructions where it has them.
 */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/err.h"

#define DIGEST_BYTES 32
#define DIGEST_HEX_SIZE 65  /* 64 digits and NUL */
#define DIGEST_TEXT_SIZE 72 /* "sha256:", 64 digits and NUL */

struct digest {
	uint8_t bytes[DIGEST_BYTES];
};

struct digest_text { /* returned by value, so that it can stand in a printf argument list */
	char text[DIGEST_TEXT_SIZE];
};

struct hasher;

bool digest_is_none(const struct digest *d);
bool digest_equal(const struct digest *a, const struct digest *b);
int digest_compare(const struct digest *a, const struct digest *b); /* as memcmp */

struct digest_text digest_text(const struct digest *d); /* sha256:... */
struct digest_text digest_hex(const struct digest *d);  /* the 64 digits alone */

/* Reads "sha256:<64 lower-case hex>"; false for anything else. The text need not end there for the _n form. */
bool digest_parse(const char *text, struct digest *d);
bool digest_parse_n(const char *text, size_t len, struct digest *d);
bool digest_parse_hex(const char *hex, size_t len, struct digest *d);

/* The digest of len bytes at once. */
struct digest digest_of(const void *bytes, size_t len);

/* hasher_new never returns NULL: without memory for it the process ends, as talloc's users do. */
struct hasher *hasher_new(TALLOC_CTX *ctx);
void hasher_reset(struct hasher *h);
void hasher_add(struct hasher *h, const void *bytes, size_t len);
struct digest hasher_finish(struct hasher *h); /* also resets */

#endif
