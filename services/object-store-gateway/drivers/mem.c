/*
 * mem: chunks in this process's memory. For tests: another gateway does not see them, and they are gone with the
 * process.
 */
#include "common/clock.h"
#include "services/object-store-gateway/driver.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

struct held {
	struct location at;
	size_t len;
	void *bytes;
	UT_hash_handle hh;
};

struct driver_conn {
	pthread_mutex_t mutex; /* guards held */
	struct held *held;
	char identity[64];
};

static enum err_code mem_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
                              struct err *e)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	static const struct config_option no_options[] = {CONFIG_END};
	uint64_t number;
	char nothing;

	TRY(config_read_tree(ctx, setup->config, no_options, &nothing, e));
	ASSERT(c && pthread_mutex_init(&c->mutex, NULL) == 0);
	random_bytes(&number, sizeof(number));
	snprintf(c->identity, sizeof(c->identity), "memory of process %d, %016" PRIx64, (int)getpid(), number);
	*out = c;
	return ERR_OK;
}

/* Another one at each start: what was there is gone. */
static const char *mem_identity(struct driver_conn *c)
{
	return c->identity;
}

static struct held *find(struct driver_conn *c, int64_t number)
{
	struct held *h;

	HASH_FIND(hh, c->held, &number, sizeof(number), h);
	return h;
}

static enum err_code mem_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                             struct err *e)
{
	struct held *h;

	(void)e;
	pthread_mutex_lock(&c->mutex);
	h = find(c, at->number);
	if (!h) {
		h = calloc(1, sizeof(*h));
		ASSERT(h);
		h->at = *at;
		HASH_ADD(hh, c->held, at.number, sizeof(h->at.number), h);
	}
	free(h->bytes);
	h->bytes = malloc(MAX(len, (size_t)1));
	ASSERT(h->bytes);
	memcpy(h->bytes, bytes, len);
	h->len = len;
	pthread_mutex_unlock(&c->mutex);
	return ERR_OK;
}

static enum err_code mem_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                             struct err *e)
{
	enum err_code code = ERR_OK;
	const struct held *h;

	pthread_mutex_lock(&c->mutex);
	h = find(c, at->number);
	if (!h) {
		code = ERR(e, ERR_NOT_FOUND, "memory holds no chunk %lld", (long long)at->number);
	} else if (h->len > size) {
		code = ERR(e, ERR_CORRUPT, "chunk %lld has %zu bytes, not %zu", (long long)at->number, h->len, size);
	} else {
		memcpy(into, h->bytes, h->len);
		*got = h->len;
	}
	pthread_mutex_unlock(&c->mutex);
	return code;
}

static void drop(struct driver_conn *c, struct held *h)
{
	HASH_DEL(c->held, h);
	free(h->bytes);
	free(h);
}

static enum err_code mem_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	(void)e;
	pthread_mutex_lock(&c->mutex);
	for (size_t i = 0; i < count; i++) {
		struct held *h = find(c, at[i].number);

		if (h)
			drop(c, h);
	}
	pthread_mutex_unlock(&c->mutex);
	return ERR_OK;
}

static int by_number(const void *a, const void *b)
{
	const struct location *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static enum err_code mem_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                              size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct location *all;
	struct held *h, *next;
	size_t n = 0;

	(void)e;
	pthread_mutex_lock(&c->mutex);
	all = talloc_array(ctx, struct location, HASH_COUNT(c->held) + 1);
	ASSERT(all);
	HASH_ITER (hh, c->held, h, next) {
		if (!after || h->at.number > after->number)
			all[n++] = h->at;
	}
	pthread_mutex_unlock(&c->mutex);
	qsort(all, n, sizeof(*all), by_number);
	*count = MIN(n, max);
	memcpy(into, all, *count * sizeof(*all));
	return ERR_OK;
}

static void mem_close(struct driver_conn *c)
{
	struct held *h, *next;

	HASH_ITER (hh, c->held, h, next) {
		drop(c, h);
	}
	pthread_mutex_destroy(&c->mutex);
	talloc_free(c);
}

const struct driver driver_mem = {
    .name = "mem",
    .open = mem_open,
    .identity = mem_identity,
    .put = mem_put,
    .get = mem_get,
    .remove = mem_remove,
    .list = mem_list,
    .close = mem_close,
};
