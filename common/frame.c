#include "common/frame.h"

#include "common/clock.h"
#include "common/frame_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "STW1"
#define MAGIC_BYTES 4
#define LENGTH_BYTES 4
#define TAG_BYTES 16
#define SALT_AT MAGIC_BYTES
#define COUNTER_AT (SALT_AT + FRAME_SALT_BYTES)
#define SEALED_AT (COUNTER_AT + FRAME_COUNTER_BYTES)

struct frame_ring {
	struct rpc_secret secret;
	EVP_CIPHER *cipher;
	pthread_mutex_t lock; /* guards everything below */
	struct frame_keys *peers;
	uint8_t salt[FRAME_SALT_BYTES]; /* our own */
	struct frame_key key;
	uint64_t counter;
	pid_t pid; /* that chose the salt */
};

static int ring_destroy(struct frame_ring *ring)
{
	EVP_CIPHER_free(ring->cipher);
	pthread_mutex_destroy(&ring->lock);
	OPENSSL_cleanse(&ring->key, sizeof(ring->key));
	return 0;
}

static bool secret_fits(const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;

	return len >= FRAME_SECRET_MIN && len <= FRAME_SECRET_MAX;
}

static enum err_code choose_salt(struct frame_ring *ring, struct err *e)
{
	random_bytes(ring->salt, sizeof(ring->salt));
	ring->counter = 0;
	ring->pid = getpid();
	return frame_key_derive(ring->secret.current, ring->salt, &ring->key, e);
}

enum err_code frame_ring_new(TALLOC_CTX *ctx, const struct rpc_secret *secret, struct frame_ring **out, struct err *e)
{
	struct frame_ring *ring;
	bool rotating = secret->previous && *secret->previous;

	if (!secret_fits(secret->current) || (rotating && !secret_fits(secret->previous)))
		return ERR(e, ERR_INVALID, "a cluster secret must have %d to %d bytes", FRAME_SECRET_MIN,
		           FRAME_SECRET_MAX);
	ring = talloc_zero(ctx, struct frame_ring);
	ASSERT(ring && pthread_mutex_init(&ring->lock, NULL) == 0);
	talloc_set_destructor(ring, ring_destroy);
	ring->secret.current = talloc_strdup(ring, secret->current);
	ring->secret.previous = rotating ? talloc_strdup(ring, secret->previous) : NULL;
	ring->peers = frame_keys_new(ring, FRAME_PEERS_MAX);
	ring->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!ring->cipher) {
		talloc_free(ring);
		return ERR(e, ERR_INTERNAL, "libcrypto has no aes-256-gcm");
	}
	if (choose_salt(ring, e) != ERR_OK) {
		talloc_free(ring);
		return ERR_INTERNAL;
	}
	*out = ring;
	return ERR_OK;
}

size_t frame_size(size_t header_len, size_t payload_len)
{
	size_t size;

	ASSERT(size_add(header_len, payload_len, &size) && size_add(size, FRAME_OVERHEAD, &size));
	return size;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The upper 32 bits of the 96 stay zero: 64 bits outlast any process. */
static void put_counter(uint8_t *at, uint64_t counter)
{
	put_u32(at, 0);
	put_u32(at + 4, (uint32_t)(counter >> 32));
	put_u32(at + 8, (uint32_t)counter);
}

/* Salt and counter for the next frame, and the key that goes with them. */
static enum err_code next_nonce(struct frame_ring *ring, uint8_t *frame, struct frame_key *key, struct err *e)
{
	enum err_code code = ERR_OK;

	pthread_mutex_lock(&ring->lock);
	if (ring->pid != getpid()) /* a fork shares salt and counter with its parent: two frames, one nonce */
		code = choose_salt(ring, e);
	memcpy(frame + SALT_AT, ring->salt, FRAME_SALT_BYTES);
	put_counter(frame + COUNTER_AT, ++ring->counter);
	*key = ring->key;
	pthread_mutex_unlock(&ring->lock);
	return code;
}

/* What is authenticated without being sent: the direction, and the request a reply belongs to. */
static bool add_bound(EVP_CIPHER_CTX *run, const char *bound)
{
	const uint8_t direction[] = {'S', 'T', 'W', '1', bound ? 'R' : 'Q'};
	int ignored;

	if (EVP_CipherUpdate(run, NULL, &ignored, direction, sizeof(direction)) != 1)
		return false;
	return !bound || !*bound ||
	       EVP_CipherUpdate(run, NULL, &ignored, (const uint8_t *)bound, (int)strlen(bound)) == 1;
}

static bool encrypt(EVP_CIPHER_CTX *run, const struct frame_content *content, uint8_t *at)
{
	const struct part {
		const void *bytes;
		size_t len;
	} parts[] = {{content->header, content->header_len}, {content->payload, content->payload_len}};
	uint8_t length[LENGTH_BYTES];
	int done;

	put_u32(length, (uint32_t)content->header_len);
	if (EVP_EncryptUpdate(run, at, &done, length, sizeof(length)) != 1)
		return false;
	at += done;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].len == 0)
			continue;
		if (EVP_EncryptUpdate(run, at, &done, parts[i].bytes, (int)parts[i].len) != 1)
			return false;
		at += done;
	}
	return EVP_EncryptFinal_ex(run, at, &done) == 1 &&
	       EVP_CIPHER_CTX_ctrl(run, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at) == 1;
}

enum err_code frame_seal(struct frame_ring *ring, const struct frame_content *content, uint8_t *into, struct err *e)
{
	struct frame_key key;
	EVP_CIPHER_CTX *run;
	bool sealed;

	if (content->header_len > RPC_HEADER_MAX || content->payload_len > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_TOO_LARGE, "a message of %zu and a payload of %zu bytes exceed %ju and %ju",
		           content->header_len, content->payload_len, (uintmax_t)RPC_HEADER_MAX,
		           (uintmax_t)RPC_PAYLOAD_MAX);
	memcpy(into, MAGIC, MAGIC_BYTES);
	TRY(next_nonce(ring, into, &key, e));
	run = EVP_CIPHER_CTX_new();
	sealed = run && EVP_EncryptInit_ex2(run, ring->cipher, key.bytes, into + COUNTER_AT, NULL) == 1 &&
	         add_bound(run, content->bound) && encrypt(run, content, into + SEALED_AT);
	EVP_CIPHER_CTX_free(run);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!sealed)
		return ERR(e, ERR_INTERNAL, "libcrypto cannot seal a frame");
	return ERR_OK;
}

/* One frame on its way to being opened. */
struct opening {
	struct frame_ring *ring;
	const char *bound;
	uint8_t *bytes;
	size_t sealed_len; /* between counter and tag */
};

/* Decrypts in place; false when the tag does not agree. */
static bool decrypt(const struct opening *o, const struct frame_key *key)
{
	EVP_CIPHER_CTX *run = EVP_CIPHER_CTX_new();
	uint8_t *at = o->bytes + SEALED_AT;
	int done;
	bool opened;

	opened = run && EVP_DecryptInit_ex2(run, o->ring->cipher, key->bytes, o->bytes + COUNTER_AT, NULL) == 1 &&
	         add_bound(run, o->bound) && EVP_DecryptUpdate(run, at, &done, at, (int)o->sealed_len) == 1 &&
	         EVP_CIPHER_CTX_ctrl(run, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, at + o->sealed_len) == 1 &&
	         EVP_DecryptFinal_ex(run, at + o->sealed_len, &done) == 1;
	EVP_CIPHER_CTX_free(run);
	return opened;
}

/* GCM is a key stream laid over the bytes: laying the wrong key's stream over them again gives back what was there, so
 * that another key can be tried without a copy of every frame. */
static bool undo(const struct opening *o, const struct frame_key *key)
{
	EVP_CIPHER_CTX *run = EVP_CIPHER_CTX_new();
	uint8_t *at = o->bytes + SEALED_AT;
	int done;
	bool undone;

	undone = run && EVP_EncryptInit_ex2(run, o->ring->cipher, key->bytes, o->bytes + COUNTER_AT, NULL) == 1 &&
	         EVP_EncryptUpdate(run, at, &done, at, (int)o->sealed_len) == 1;
	EVP_CIPHER_CTX_free(run);
	return undone;
}

static bool try_secret(const struct opening *o, const char *secret, struct frame_key *key)
{
	return frame_key_derive(secret, o->bytes + SALT_AT, key, NULL) == ERR_OK && decrypt(o, key);
}

/* A salt not seen before: which of the two secrets its sender has is found by trying. */
static bool decrypt_stranger(const struct opening *o)
{
	struct frame_ring *ring = o->ring;
	struct frame_key key;
	bool opened = try_secret(o, ring->secret.current, &key);

	if (!opened && ring->secret.previous)
		opened = undo(o, &key) && try_secret(o, ring->secret.previous, &key);
	if (opened) {
		pthread_mutex_lock(&ring->lock);
		frame_keys_keep(ring->peers, o->bytes + SALT_AT, &key);
		pthread_mutex_unlock(&ring->lock);
	}
	OPENSSL_cleanse(&key, sizeof(key));
	return opened;
}

static bool decrypt_any(const struct opening *o)
{
	struct frame_key key;
	bool known, opened;

	pthread_mutex_lock(&o->ring->lock);
	known = frame_keys_find(o->ring->peers, o->bytes + SALT_AT, &key);
	pthread_mutex_unlock(&o->ring->lock);
	if (!known)
		return decrypt_stranger(o);
	opened = decrypt(o, &key);
	OPENSSL_cleanse(&key, sizeof(key));
	return opened;
}

static enum frame_fault split(uint8_t *inside, size_t len, struct frame *out)
{
	size_t header_len = get_u32(inside);

	inside += LENGTH_BYTES;
	len -= LENGTH_BYTES;
	if (header_len > RPC_HEADER_MAX || header_len > len || len - header_len > RPC_PAYLOAD_MAX)
		return FRAME_MALFORMED;
	out->header = (const char *)inside;
	out->header_len = header_len;
	out->payload = inside + header_len;
	out->payload_len = len - header_len;
	return FRAME_FINE;
}

enum frame_fault frame_open(struct frame_ring *ring, const char *bound, uint8_t *bytes, size_t len, struct frame *out)
{
	struct opening opening = {.ring = ring, .bound = bound, .bytes = bytes};
	const uint8_t *counter = bytes + COUNTER_AT;

	if (len > RPC_FRAME_MAX)
		return FRAME_OVERSIZE;
	if (len < FRAME_OVERHEAD || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0 || get_u32(counter) != 0)
		return FRAME_MALFORMED;
	memcpy(out->salt, bytes + SALT_AT, FRAME_SALT_BYTES);
	out->counter = (uint64_t)get_u32(counter + 4) << 32 | get_u32(counter + 8);
	opening.sealed_len = len - SEALED_AT - TAG_BYTES;
	if (!decrypt_any(&opening))
		return FRAME_UNOPENED;
	return split(bytes + SEALED_AT, opening.sealed_len, out);
}
