/* cipher_support: keys for tests of encrypted chunks, and what a back end really holds of them. */
#ifndef TESTS_UNIT_GATEWAY_CIPHER_SUPPORT_H
#define TESTS_UNIT_GATEWAY_CIPHER_SUPPORT_H

#include "tests/unit/object-store-gateway/chunk_support.h"

#define KEY_ONE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_TWO "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define KEY_THREE "/////////////////////////////////////////+8="
#define K1 "k1:" KEY_ONE
#define K2 "k2:" KEY_TWO

static inline struct keyring *ring_of(TALLOC_CTX *ctx, const char *text)
{
	struct keyring *ring;
	struct err e = {0};

	fixture_must(keyring_parse(ctx, "test", text, &ring, &e), &e);
	return ring;
}

/* As a restart with other keys does. NULL: without any. */
static inline void use_keys(struct fixture *f, const char *text)
{
	TALLOC_FREE(f->store.keys);
	f->store.keys = ring_of(f, text);
}

/* What stands in the back end, whatever it is. */
static inline size_t raw_bytes(struct fixture *f, const struct chunk *chunk, void *into, size_t size)
{
	struct location at = {chunk->sha256, chunk->id};
	struct backend *b = NULL;
	struct err e = {0};
	size_t got = 0;

	fixture_must(backend_by_id(&f->store, chunk->backend, &b, &e), &e);
	fixture_must(b->driver->get(b->conn, &at, into, size, &got, &e), &e);
	return got;
}

#endif
