#include "services/object-store-gateway/keyring.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define BASE64_LEN 44   /* of 32 bytes: 43 characters and a = */
#define BASE64_BYTES 33 /* that EVP_DecodeBlock writes for them */
#define SEPARATORS ",\r\n"

struct key {
	char id[KEY_ID_MAX + 1];
	uint8_t bytes[AEAD_KEY_BYTES];
};

struct keyring {
	char *sql;
	bool off; /* none of them encrypts */
	size_t count;
	struct key keys[KEYS_MAX];
};

/* What stands between two separators. */
struct entry {
	const char *place;
	size_t number; /* from 1 */
	const char *text;
	size_t len;
};

static int forget(struct keyring *ring)
{
	OPENSSL_cleanse(ring->keys, sizeof(ring->keys));
	return 0;
}

/* The next one from *at on; false at the end. */
static bool next_entry(const char **at, struct entry *entry)
{
	for (;;) {
		*at += strspn(*at, " \t" SEPARATORS);
		if (**at != '#')
			break;
		*at += strcspn(*at, "\n");
	}
	entry->text = *at;
	entry->len = strcspn(*at, "#" SEPARATORS);
	*at += entry->len;
	while (entry->len > 0 && strchr(" \t", entry->text[entry->len - 1]))
		entry->len--;
	entry->number++;
	return entry->len > 0;
}

static enum err_code parse_id(const struct entry *entry, struct key *key, struct err *e)
{
	const char *colon = memchr(entry->text, ':', entry->len);
	size_t len = colon ? (size_t)(colon - entry->text) : 0;

	if (len == 0 || len > KEY_ID_MAX || strspn(entry->text, "abcdefghijklmnopqrstuvwxyz0123456789._-") != len)
		return ERR(e, ERR_INVALID, "%s: entry %zu is not ID:KEY with an ID of 1 to %d of a-z 0-9 . _ -",
		           entry->place, entry->number, KEY_ID_MAX);
	memcpy(key->id, entry->text, len);
	key->id[len] = '\0';
	if (strcmp(key->id, KEY_NONE) == 0)
		return ERR(e, ERR_INVALID, "%s: entry %zu: no key can be called " KEY_NONE, entry->place,
		           entry->number);
	return ERR_OK;
}

/* Strictly: EVP_DecodeBlock alone would take white space and bits that mean nothing. */
static bool decode(const char *text, size_t len, uint8_t bytes[BASE64_BYTES])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *last;

	if (len != BASE64_LEN || strspn(text, alphabet) != BASE64_LEN - 1 || text[BASE64_LEN - 1] != '=')
		return false;
	last = strchr(alphabet, text[BASE64_LEN - 2]);
	return (last - alphabet) % 4 == 0 && EVP_DecodeBlock(bytes, (const uint8_t *)text, BASE64_LEN) == BASE64_BYTES;
}

static enum err_code parse_key(const struct entry *entry, struct key *key, struct err *e)
{
	const char *text = (const char *)memchr(entry->text, ':', entry->len) + 1;
	uint8_t bytes[BASE64_BYTES];
	bool decoded;

	text += strspn(text, " \t");
	decoded = decode(text, (size_t)(entry->text + entry->len - text), bytes);
	memcpy(key->bytes, bytes, AEAD_KEY_BYTES);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (!decoded)
		return ERR(e, ERR_INVALID, "%s: key %s (entry %zu) is not the base64 of %d bytes, %d characters",
		           entry->place, key->id, entry->number, AEAD_KEY_BYTES, BASE64_LEN);
	if (memcmp(key->bytes, key->bytes + 1, AEAD_KEY_BYTES - 1) == 0)
		return ERR(e, ERR_INVALID, "%s: key %s is not random: all its bytes are equal", entry->place, key->id);
	return ERR_OK;
}

static enum err_code check_new(const struct keyring *ring, const struct entry *entry, const struct key *key,
                               struct err *e)
{
	for (size_t i = 0; i < ring->count; i++) {
		if (strcmp(ring->keys[i].id, key->id) == 0)
			return ERR(e, ERR_INVALID, "%s: there are two keys %s", entry->place, key->id);
		if (CRYPTO_memcmp(ring->keys[i].bytes, key->bytes, AEAD_KEY_BYTES) == 0)
			return ERR(e, ERR_INVALID, "%s: keys %s and %s are the same", entry->place, ring->keys[i].id,
			           key->id);
	}
	return ERR_OK;
}

static enum err_code add_entry(struct keyring *ring, const struct entry *entry, struct err *e)
{
	struct key *key;

	if (ring->count == KEYS_MAX)
		return ERR(e, ERR_INVALID, "%s has more than %d keys", entry->place, KEYS_MAX);
	key = &ring->keys[ring->count];
	TRY(parse_id(entry, key, e));
	TRY(parse_key(entry, key, e));
	TRY(check_new(ring, entry, key, e));
	ring->sql = talloc_asprintf_append(ring->sql, "%s\"%s\"", ring->count ? "," : "", key->id);
	ASSERT(ring->sql);
	ring->count++;
	return ERR_OK;
}

static enum err_code add_entries(struct keyring *ring, const char *place, const char *text, struct err *e)
{
	struct entry entry = {.place = place};

	while (next_entry(&text, &entry)) {
		if (entry.number == 1 && entry.len == strlen(KEY_NONE) && memcmp(entry.text, KEY_NONE, entry.len) == 0)
			ring->off = true;
		else
			TRY(add_entry(ring, &entry, e));
	}
	if (!ring->count && !ring->off)
		return ERR(e, ERR_INVALID, "%s holds no key; leave it out to store chunks as they are", place);
	ring->sql = talloc_strdup_append(ring->sql, "}");
	ASSERT(ring->sql);
	return ERR_OK;
}

enum err_code keyring_parse(TALLOC_CTX *ctx, const char *place, const char *text, struct keyring **out, struct err *e)
{
	struct keyring *ring;

	*out = NULL;
	if (!text)
		return ERR_OK;
	ring = talloc_zero(ctx, struct keyring);
	ASSERT(ring);
	talloc_set_destructor(ring, forget);
	ring->sql = talloc_strdup(ring, "{");
	if (add_entries(ring, place, text, e) != ERR_OK) {
		talloc_free(ring);
		return ERR_INVALID;
	}
	*out = ring;
	return ERR_OK;
}

const char *keyring_current(const struct keyring *ring)
{
	return ring && !ring->off ? ring->keys[0].id : NULL;
}

size_t keyring_count(const struct keyring *ring)
{
	return ring ? ring->count : 0;
}

const char *keyring_id(const struct keyring *ring, size_t i)
{
	ASSERT(i < keyring_count(ring));
	return ring->keys[i].id;
}

const uint8_t *keyring_find(const struct keyring *ring, const char *id)
{
	for (size_t i = 0; ring && i < ring->count; i++)
		if (strcmp(ring->keys[i].id, id) == 0)
			return ring->keys[i].bytes;
	return NULL;
}

const char *keyring_sql(const struct keyring *ring)
{
	return ring ? ring->sql : "{}";
}
