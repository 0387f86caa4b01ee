#include "services/analyzer-worker/document_cache.h"

#include <pthread.h>
#include <string.h>
#include <uthash.h>

/* In the hash in order of use, the least recent first: a use takes an entry out and appends it. */
struct document {
	struct document_cache *cache;
	char *name;
	void *content;
	size_t weight;
	size_t users; /* pins */
	bool kept;    /* in the hash; a document is freed when it is neither kept nor used */
	UT_hash_handle hh;
};

/* On the context of one user. */
struct pin {
	struct document *document;
};

struct document_cache {
	pthread_mutex_t mutex; /* guards all below, and of each document all but name and content */
	struct document *documents;
	size_t bytes, bytes_max;
};

static void drop(struct document_cache *c, struct document *d)
{
	HASH_DEL(c->documents, d);
	c->bytes -= d->weight;
	d->kept = false;
	if (!d->users)
		talloc_free(d);
}

static int cache_destroy(struct document_cache *c)
{
	struct document *d, *next;

	HASH_ITER (hh, c->documents, d, next) {
		ASSERT(!d->users);
		drop(c, d);
	}
	pthread_mutex_destroy(&c->mutex);
	return 0;
}

struct document_cache *document_cache_new(TALLOC_CTX *ctx, size_t bytes_max)
{
	struct document_cache *c = talloc_zero(ctx, struct document_cache);

	ASSERT(c && pthread_mutex_init(&c->mutex, NULL) == 0);
	c->bytes_max = bytes_max;
	talloc_set_destructor(c, cache_destroy);
	return c;
}

static int pin_destroy(struct pin *pin)
{
	struct document *d = pin->document;
	struct document_cache *c = d->cache;
	bool last;

	pthread_mutex_lock(&c->mutex);
	last = --d->users == 0 && !d->kept;
	pthread_mutex_unlock(&c->mutex);
	if (last)
		talloc_free(d);
	return 0;
}

static struct document *find(struct document_cache *c, const char *name)
{
	struct document *d;

	HASH_FIND_STR(c->documents, name, d);
	return d;
}

static void append(struct document_cache *c, struct document *d)
{
	HASH_ADD_KEYPTR(hh, c->documents, d->name, strlen(d->name), d);
}

/* It is now the most recently used one. */
static void touch(struct document_cache *c, struct document *d)
{
	HASH_DEL(c->documents, d);
	append(c, d);
}

static void add_user(struct document *d, struct pin *pin)
{
	d->users++;
	pin->document = d;
	talloc_set_destructor(pin, pin_destroy);
}

static struct pin *pin_new(TALLOC_CTX *ctx)
{
	struct pin *pin = talloc(ctx, struct pin);

	ASSERT(pin);
	return pin;
}

const void *document_cache_get(struct document_cache *c, TALLOC_CTX *ctx, const char *name)
{
	struct pin *pin = pin_new(ctx);
	struct document *d;

	pthread_mutex_lock(&c->mutex);
	d = find(c, name);
	if (d) {
		touch(c, d);
		add_user(d, pin);
	}
	pthread_mutex_unlock(&c->mutex);
	if (!d)
		talloc_free(pin);
	return d ? d->content : NULL;
}

static struct document *document_make(struct document_cache *c, const char *name, void *content, size_t bytes)
{
	struct document *d = talloc_zero(NULL, struct document);

	ASSERT(d);
	d->cache = c;
	d->name = talloc_strdup(d, name);
	ASSERT(d->name);
	d->content = talloc_steal(d, content);
	d->weight = bytes + strlen(name) + sizeof(*d);
	return d;
}

static void keep(struct document_cache *c, struct document *d)
{
	append(c, d);
	d->kept = true;
	c->bytes += d->weight;
	while (c->documents && c->bytes > c->bytes_max)
		drop(c, c->documents);
}

const void *document_cache_put(struct document_cache *c, TALLOC_CTX *ctx, const char *name, void *made, size_t bytes)
{
	struct document *d, *mine = document_make(c, name, made, bytes);
	struct pin *pin = pin_new(ctx);

	pthread_mutex_lock(&c->mutex);
	d = find(c, name);
	if (d) {
		touch(c, d);
	} else {
		d = mine;
		if (d->weight <= c->bytes_max / 2)
			keep(c, d);
	}
	add_user(d, pin);
	pthread_mutex_unlock(&c->mutex);
	if (d != mine)
		talloc_free(mine);
	return d->content;
}
