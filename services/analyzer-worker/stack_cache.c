#include "services/analyzer-worker/stack_cache.h"

#include <pthread.h>
#include <string.h>
#include <utlist.h>

struct stack {
	const char *account;
	struct digest *digests;
	struct image_sight sight;
	size_t weight;
	struct stack *prev, *next;
};

struct stack_cache {
	pthread_mutex_t mutex; /* guards all below */
	struct stack *stacks;  /* children of this; the most recently used first */
	size_t bytes, bytes_max;
};

static int cache_destroy(struct stack_cache *c)
{
	pthread_mutex_destroy(&c->mutex);
	return 0;
}

struct stack_cache *stack_cache_new(TALLOC_CTX *ctx, size_t bytes_max)
{
	struct stack_cache *c = talloc_zero(ctx, struct stack_cache);

	ASSERT(c && pthread_mutex_init(&c->mutex, NULL) == 0);
	c->bytes_max = bytes_max;
	talloc_set_destructor(c, cache_destroy);
	return c;
}

/* How many of the lowest layers are the same. */
static size_t common_layers(const struct stack *s, const char *account, const struct digest *digests, size_t count)
{
	size_t n = 0;

	if (strcmp(s->account, account) != 0)
		return 0;
	while (n < MIN(count, s->sight.layers) && digest_equal(&s->digests[n], &digests[n]))
		n++;
	return n;
}

/* The stack that knows most of the lowest layers, *common of them; NULL if there is none. */
static struct stack *find(struct stack_cache *c, const char *account, const struct digest *digests, size_t count,
                          size_t *common)
{
	struct stack *s, *best = NULL;

	*common = 0;
	DL_FOREACH(c->stacks, s)
	{
		size_t n = common_layers(s, account, digests, count);

		if (n > *common) {
			*common = n;
			best = s;
		}
	}
	return best;
}

static void use(struct stack_cache *c, struct stack *s)
{
	DL_DELETE(c->stacks, s);
	DL_PREPEND(c->stacks, s);
}

bool stack_cache_find(struct stack_cache *c, TALLOC_CTX *ctx, const char *account, const struct digest *digests,
                      size_t count, struct image_sight *out)
{
	const uint16_t *copy = NULL;
	struct stack *s;
	size_t common;

	pthread_mutex_lock(&c->mutex);
	s = find(c, account, digests, count, &common);
	if (s) {
		use(c, s);
		copy = talloc_memdup(ctx, s->sight.hidden_by, MAX(s->sight.count, (size_t)1) * sizeof(*copy));
		ASSERT(copy);
		*out = (struct image_sight){.layers = common, .count = s->sight.count, .hidden_by = copy};
	}
	pthread_mutex_unlock(&c->mutex);
	return s != NULL;
}

static void drop(struct stack_cache *c, struct stack *s)
{
	DL_DELETE(c->stacks, s);
	c->bytes -= s->weight;
	talloc_free(s);
}

static struct stack *stack_make(TALLOC_CTX *ctx, const char *account, const struct digest *digests, size_t count,
                                const struct image_sight *sight)
{
	struct stack *s = talloc_zero(ctx, struct stack);

	ASSERT(s && sight->layers == count);
	s->account = talloc_strdup(s, account);
	s->digests = talloc_memdup(s, digests, count * sizeof(*digests));
	s->sight = *sight;
	s->sight.hidden_by =
	    talloc_memdup(s, sight->hidden_by, MAX(sight->count, (size_t)1) * sizeof(*sight->hidden_by));
	ASSERT(s->account && s->digests && s->sight.hidden_by);
	s->weight = sizeof(*s) + strlen(account) + count * sizeof(*digests) + sight->count * sizeof(*sight->hidden_by);
	return s;
}

/* What the new one says, too, goes: a stack that is the base of another is known with it. */
static void drop_bases(struct stack_cache *c, const struct stack *s)
{
	struct stack *other, *next;

	DL_FOREACH_SAFE(c->stacks, other, next)
	{
		if (common_layers(other, s->account, s->digests, s->sight.layers) == other->sight.layers)
			drop(c, other);
	}
}

void stack_cache_add(struct stack_cache *c, const char *account, const struct digest *digests, size_t count,
                     const struct image_sight *sight)
{
	struct stack *s;
	size_t common;

	pthread_mutex_lock(&c->mutex);
	s = find(c, account, digests, count, &common);
	if (s && common == count) {
		use(c, s);
	} else if (count) {
		s = stack_make(c, account, digests, count, sight);
		drop_bases(c, s);
		DL_PREPEND(c->stacks, s);
		c->bytes += s->weight;
		while (c->stacks && c->bytes > c->bytes_max)
			drop(c, c->stacks->prev);
	}
	pthread_mutex_unlock(&c->mutex);
}
