#include "services/analyzer-worker/document_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* In the hash in order of use, the least recent first: a use takes an entry out and appends it. */
struct document {
	char *name;
	char *bytes;
	size_t len;
	UT_hash_handle hh;
};

struct document_cache {
	pthread_mutex_t mutex; /* guards all below */
	struct document *documents;
	size_t bytes, bytes_max;
};

static size_t weight(const struct document *d)
{
	return d->len + strlen(d->name) + sizeof(*d);
}

static void drop(struct document_cache *c, struct document *d)
{
	HASH_DEL(c->documents, d);
	c->bytes -= weight(d);
	free(d->name);
	free(d->bytes);
	free(d);
}

static int cache_destroy(struct document_cache *c)
{
	struct document *d, *next;

	HASH_ITER (hh, c->documents, d, next) {
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

bool document_cache_get(struct document_cache *c, TALLOC_CTX *ctx, const char *name, char **bytes, size_t *len)
{
	struct document *d;

	pthread_mutex_lock(&c->mutex);
	d = find(c, name);
	if (d) {
		HASH_DEL(c->documents, d);
		append(c, d);
		*bytes = talloc_memdup(ctx, d->bytes, d->len + 1);
		ASSERT(*bytes);
		*len = d->len;
	}
	pthread_mutex_unlock(&c->mutex);
	return d != NULL;
}

static struct document *document_make(const char *name, const void *bytes, size_t len)
{
	struct document *d = calloc(1, sizeof(*d));

	ASSERT(d);
	d->name = strdup(name);
	d->bytes = malloc(len + 1);
	ASSERT(d->name && d->bytes);
	if (len)
		memcpy(d->bytes, bytes, len);
	d->bytes[len] = '\0';
	d->len = len;
	return d;
}

void document_cache_put(struct document_cache *c, const char *name, const void *bytes, size_t len)
{
	struct document *d;

	if (len > c->bytes_max / 2)
		return;
	pthread_mutex_lock(&c->mutex);
	if (!find(c, name)) {
		d = document_make(name, bytes, len);
		append(c, d);
		c->bytes += weight(d);
		while (c->documents && c->bytes > c->bytes_max)
			drop(c, c->documents);
	}
	pthread_mutex_unlock(&c->mutex);
}
