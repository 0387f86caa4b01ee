#include "services/analyzer-worker/parser/ring.h"

#include <pthread.h>

/* Buffers are counted from 0 without end; number n lies in slot n % RING_BUFFERS. Always
 * released <= hashed <= published and released <= published <= released + RING_BUFFERS. */
struct ring {
	pthread_mutex_t lock; /* over everything but the bytes */
	pthread_cond_t changed;
	uint64_t published, hashed, released;
	bool hashing;                  /* a thread is at buffer number `hashed`, without the lock */
	bool closed, abandoned, taken; /* taken: number `released` is the consumer's */
	struct err error;
	size_t lens[RING_BUFFERS];
	struct hasher *hasher; /* of the thread that set hashing */
	uint8_t *bytes;
};

static int ring_destroy(struct ring *r)
{
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	return 0;
}

struct ring *ring_new(TALLOC_CTX *ctx)
{
	struct ring *r = talloc_zero(ctx, struct ring);

	ASSERT(r != NULL);
	r->bytes = talloc_size(r, RING_BUFFERS * RING_BUFFER_SIZE);
	ASSERT(r->bytes != NULL);
	r->hasher = hasher_new(r);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	talloc_set_destructor(r, ring_destroy);
	return r;
}

static uint8_t *buffer(struct ring *r, uint64_t number)
{
	return r->bytes + number % RING_BUFFERS * RING_BUFFER_SIZE;
}

/* With the lock: hashes one buffer if there is one to hash, otherwise waits for something to change. */
static void hash_or_wait(struct ring *r)
{
	uint64_t number = r->hashed;

	if (r->hashing || number == r->published) {
		pthread_cond_wait(&r->changed, &r->lock);
		return;
	}
	r->hashing = true;
	pthread_mutex_unlock(&r->lock);
	hasher_add(r->hasher, buffer(r, number), r->lens[number % RING_BUFFERS]);
	pthread_mutex_lock(&r->lock);
	r->hashing = false;
	r->hashed++;
	pthread_cond_broadcast(&r->changed);
}

uint8_t *ring_produce(struct ring *r)
{
	uint8_t *bytes;

	pthread_mutex_lock(&r->lock);
	while (!r->abandoned && r->published - r->released == RING_BUFFERS)
		hash_or_wait(r);
	bytes = r->abandoned ? NULL : buffer(r, r->published);
	pthread_mutex_unlock(&r->lock);
	return bytes;
}

void ring_publish(struct ring *r, size_t len)
{
	ASSERT(len > 0 && len <= RING_BUFFER_SIZE);
	pthread_mutex_lock(&r->lock);
	r->lens[r->published % RING_BUFFERS] = len;
	r->published++;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

void ring_close(struct ring *r, const struct err *e)
{
	pthread_mutex_lock(&r->lock);
	r->closed = true;
	if (e)
		r->error = *e;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

enum err_code ring_consume(struct ring *r, const uint8_t **bytes, size_t *len, struct err *e)
{
	enum err_code code = ERR_OK;

	pthread_mutex_lock(&r->lock);
	if (r->taken) {
		while (r->hashed == r->released)
			hash_or_wait(r);
		r->released++;
		r->taken = false;
		pthread_cond_broadcast(&r->changed);
	}
	while (r->published == r->released && !r->closed)
		hash_or_wait(r);
	r->taken = r->published > r->released;
	*bytes = r->taken ? buffer(r, r->released) : NULL;
	*len = r->taken ? r->lens[r->released % RING_BUFFERS] : 0;
	if (!r->taken && r->error.code != ERR_OK) {
		code = r->error.code;
		if (e)
			*e = r->error;
	}
	pthread_mutex_unlock(&r->lock);
	return code;
}

void ring_abandon(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->abandoned = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

struct digest ring_digest(struct ring *r)
{
	ASSERT(r->closed && !r->taken && r->hashed == r->published);
	return hasher_finish(r->hasher);
}
