#include "services/analyzer-worker/parser/links.h"

#include <string.h>
#include <sys/random.h>

/* kind LINK_NONE in a used slot: there was a link, and searching goes on behind it. */
struct slot {
	uint64_t hash; /* 0: never used */
	uint64_t value : 62, kind : 2;
};

struct links {
	uint64_t key[2], max;
	struct slot *slots;
	size_t size, used; /* size is a power of two */
	bool any[3];
};

static uint64_t rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3; never 0. */
static uint64_t hash_path(const struct links *l, const char *path, size_t len)
{
	uint64_t v[4] = {l->key[0] ^ 0x736f6d6570736575u, l->key[1] ^ 0x646f72616e646f6du,
	                 l->key[0] ^ 0x6c7967656e657261u, l->key[1] ^ 0x7465646279746573u};
	size_t at = 0;
	uint64_t word, hash;

	for (; at + 8 <= len; at += 8) {
		memcpy(&word, path + at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	memcpy(&word, path + at, len - at);
	word |= (uint64_t)len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	hash = v[0] ^ v[1] ^ v[2] ^ v[3];
	return hash ? hash : 1;
}

struct links *links_new(TALLOC_CTX *ctx, uint64_t max)
{
	struct links *l = talloc_zero(ctx, struct links);

	ASSERT(l != NULL);
	ASSERT(getrandom(l->key, sizeof(l->key), 0) == (ssize_t)sizeof(l->key));
	l->max = max;
	return l;
}

/* The slot that has the hash, or the free one where it belongs. */
static struct slot *find(const struct links *l, uint64_t hash)
{
	size_t at = hash & (l->size - 1);

	while (l->slots[at].hash != 0 && l->slots[at].hash != hash)
		at = (at + 1) & (l->size - 1);
	return &l->slots[at];
}

static void grow(struct links *l)
{
	struct links bigger = *l;

	bigger.size = l->size ? 2 * l->size : 256;
	bigger.used = 0;
	bigger.slots = talloc_zero_array(l, struct slot, bigger.size);
	ASSERT(bigger.slots != NULL);
	for (size_t i = 0; i < l->size; i++) {
		if (l->slots[i].hash == 0 || l->slots[i].kind == LINK_NONE)
			continue;
		*find(&bigger, l->slots[i].hash) = l->slots[i];
		bigger.used++;
	}
	talloc_free(l->slots);
	*l = bigger;
}

enum err_code links_set(struct links *l, const char *path, size_t len, enum link_kind kind, uint64_t value,
                        struct err *e)
{
	uint64_t hash;
	struct slot *slot;

	if (kind == LINK_NONE && l->used == 0)
		return ERR_OK;
	if (4 * (l->used + 1) > 3 * l->size)
		grow(l);
	hash = hash_path(l, path, len);
	slot = find(l, hash);
	if (slot->hash == 0) {
		if (kind == LINK_NONE)
			return ERR_OK;
		if (l->used >= l->max)
			return ERR(e, ERR_TOO_LARGE, "the layer has more than %llu links", (unsigned long long)l->max);
		l->used++;
	}
	l->any[kind] = true;
	slot->hash = hash;
	slot->kind = kind & 3;
	slot->value = value & (((uint64_t)1 << 62) - 1);
	return ERR_OK;
}

enum link_kind links_get(const struct links *l, const char *path, size_t len, uint64_t *value)
{
	const struct slot *slot;

	if (l->used == 0)
		return LINK_NONE;
	slot = find(l, hash_path(l, path, len));
	if (slot->hash == 0)
		return LINK_NONE;
	*value = slot->value;
	return (enum link_kind)slot->kind;
}

bool links_any(const struct links *l, enum link_kind kind)
{
	return l->any[kind];
}
