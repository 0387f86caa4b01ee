#include "common/replay.h"

#include <pthread.h>
#include <string.h>
#include <uthash.h>

#define WORD_BITS 64
#define WINDOW_WORDS (REPLAY_WINDOW_BITS / WORD_BITS)

struct sender {
	uint8_t salt[FRAME_SALT_BYTES];
	uint64_t highest;
	uint64_t *bits; /* a ring: counter c is bit c % (64 * words), for those within 64 * words of the highest */
	size_t words;   /* a power of two */
	uint64_t first; /* what bits points to while words is 1 */
	UT_hash_handle hh;
};

struct replay {
	pthread_mutex_t lock;
	struct sender *senders; /* least recently used first */
	size_t salts_max;
};

static void sender_clear(struct sender *s)
{
	if (s->words > 1)
		talloc_free(s->bits);
	memset(s, 0, sizeof(*s));
	s->bits = &s->first;
	s->words = 1;
}

static int replay_destroy(struct replay *r)
{
	HASH_CLEAR(hh, r->senders);
	pthread_mutex_destroy(&r->lock);
	return 0;
}

struct replay *replay_new(TALLOC_CTX *ctx, size_t salts_max)
{
	struct replay *r = talloc_zero(ctx, struct replay);

	ASSERT(r && salts_max > 0 && pthread_mutex_init(&r->lock, NULL) == 0);
	r->salts_max = salts_max;
	talloc_set_destructor(r, replay_destroy);
	return r;
}

/* Moved to the end of the order; made, in the place of the least recently used one if need be. */
static struct sender *touch_sender(struct replay *r, const uint8_t *salt)
{
	struct sender *s;

	HASH_FIND(hh, r->senders, salt, FRAME_SALT_BYTES, s);
	if (s) {
		HASH_DEL(r->senders, s);
	} else {
		if (HASH_COUNT(r->senders) >= r->salts_max) {
			s = r->senders;
			HASH_DEL(r->senders, s);
		} else {
			s = talloc_zero(r, struct sender);
			ASSERT(s);
		}
		sender_clear(s);
		memcpy(s->salt, salt, FRAME_SALT_BYTES);
	}
	HASH_ADD(hh, r->senders, salt, FRAME_SALT_BYTES, s);
	return s;
}

static uint64_t *word_of(const struct sender *s, uint64_t counter, uint64_t *mask)
{
	*mask = (uint64_t)1 << (counter % WORD_BITS);
	return &s->bits[counter / WORD_BITS % s->words];
}

static uint64_t window_of(const struct sender *s)
{
	return (uint64_t)s->words * WORD_BITS;
}

/* Twice as many words; what the old window held keeps its marks, what lay below it counts as seen. */
static void widen(struct replay *r, struct sender *s)
{
	struct sender old = *s; /* its bits stay where they are until the end */
	uint64_t mask, below = s->highest >= window_of(s) ? s->highest - window_of(s) + 1 : 0;

	s->words *= 2;
	s->bits = talloc_array(r, uint64_t, s->words);
	ASSERT(s->bits);
	memset(s->bits, 0xff, s->words * sizeof(*s->bits));
	for (uint64_t counter = below; counter <= s->highest; counter++) {
		uint64_t old_mask, *old_word = word_of(&old, counter, &old_mask);
		uint64_t *word = word_of(s, counter, &mask);

		if (!(*old_word & old_mask))
			*word &= ~mask;
	}
	if (old.words > 1)
		talloc_free(old.bits);
}

/* The window moves up to counter: what it newly covers was not seen yet. */
static void advance(struct sender *s, uint64_t counter)
{
	uint64_t fresh = counter - s->highest, mask;

	if (fresh >= window_of(s)) {
		memset(s->bits, 0, s->words * sizeof(*s->bits));
	} else {
		for (uint64_t c = s->highest + 1; c <= counter; c++)
			*word_of(s, c, &mask) &= ~mask;
	}
	s->highest = counter;
}

static bool mark(struct replay *r, struct sender *s, uint64_t counter)
{
	uint64_t mask, *word;

	while (s->words < WINDOW_WORDS && counter > window_of(s) / 2)
		widen(r, s);
	if (counter > s->highest)
		advance(s, counter);
	else if (s->highest - counter >= window_of(s))
		return false;
	word = word_of(s, counter, &mask);
	if (*word & mask)
		return false;
	*word |= mask;
	return true;
}

bool replay_first_time(struct replay *r, const uint8_t salt[FRAME_SALT_BYTES], uint64_t counter)
{
	bool first;

	pthread_mutex_lock(&r->lock);
	first = mark(r, touch_sender(r, salt), counter);
	pthread_mutex_unlock(&r->lock);
	return first;
}
