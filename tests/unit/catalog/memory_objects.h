/*
 * memory_objects: the table of services/catalog/objects.h over a list in memory. Calls can be made to fail.
 */
#ifndef TESTS_CATALOG_MEMORY_OBJECTS_H
#define TESTS_CATALOG_MEMORY_OBJECTS_H

#include "common/clock.h"
#include "services/catalog/objects.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_OBJECTS_MAX 10000

struct memory_object {
	char *account, *bucket, *key;
	void *bytes;
	size_t len;
	int64_t created_at;
};

struct memory_objects {
	pthread_mutex_t mutex; /* guards the rest */
	struct memory_object items[MEMORY_OBJECTS_MAX];
	size_t count;
	size_t batch; /* of one remove_prefix; 0: all */
	int failing;  /* so many calls fail from now on */
};

static inline struct memory_objects *memory_objects_new(TALLOC_CTX *ctx)
{
	struct memory_objects *m = talloc_zero(ctx, struct memory_objects);

	ASSERT(m && pthread_mutex_init(&m->mutex, NULL) == 0);
	return m;
}

static inline enum err_code memory_objects_enter(struct memory_objects *m, struct err *e)
{
	pthread_mutex_lock(&m->mutex);
	if (m->failing == 0)
		return ERR_OK;
	m->failing--;
	pthread_mutex_unlock(&m->mutex);
	return ERR(e, ERR_UNAVAILABLE, "made to fail");
}

static inline enum err_code memory_objects_put(void *arg, const char *account, const char *bucket, const char *key,
                                               const void *bytes, size_t len, struct err *e)
{
	struct memory_objects *m = arg;

	TRY(memory_objects_enter(m, e));
	ASSERT(m->count < MEMORY_OBJECTS_MAX);
	m->items[m->count++] = (struct memory_object){talloc_strdup(m, account),
	                                              talloc_strdup(m, bucket),
	                                              talloc_strdup(m, key),
	                                              talloc_memdup(m, bytes, len ? len : 1),
	                                              len,
	                                              clock_wall_ms()};
	pthread_mutex_unlock(&m->mutex);
	return ERR_OK;
}

static inline enum err_code memory_objects_get(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket,
                                               const char *key, size_t max, void **bytes, size_t *len, struct err *e)
{
	struct memory_objects *m = arg;
	enum err_code code = ERR_NOT_FOUND;

	(void)max;
	TRY(memory_objects_enter(m, e));
	for (size_t i = 0; i < m->count && code != ERR_OK; i++) {
		const struct memory_object *o = &m->items[i];

		if (strcmp(o->account, account) == 0 && strcmp(o->bucket, bucket) == 0 && strcmp(o->key, key) == 0) {
			*bytes = talloc_memdup(ctx, o->bytes, o->len ? o->len : 1);
			*len = o->len;
			code = ERR_OK;
		}
	}
	pthread_mutex_unlock(&m->mutex);
	return code == ERR_OK ? ERR_OK : ERR(e, ERR_NOT_FOUND, "no object %s/%s", bucket, key);
}

static inline bool memory_objects_matches(const struct memory_object *o, const char *account, const char *bucket,
                                          const char *prefix)
{
	return strcmp(o->account, account) == 0 && strcmp(o->bucket, bucket) == 0 &&
	       strncmp(o->key, prefix, strlen(prefix)) == 0;
}

static inline enum err_code memory_objects_remove(void *arg, const char *account, const char *bucket,
                                                  const char *prefix, bool *more, struct err *e)
{
	struct memory_objects *m = arg;
	size_t removed = 0, kept = 0;

	TRY(memory_objects_enter(m, e));
	*more = false;
	for (size_t i = 0; i < m->count; i++) {
		bool match = memory_objects_matches(&m->items[i], account, bucket, prefix);

		if (match && (!m->batch || removed < m->batch)) {
			removed++;
			continue;
		}
		*more = *more || match;
		m->items[kept++] = m->items[i];
	}
	m->count = kept;
	pthread_mutex_unlock(&m->mutex);
	return ERR_OK;
}

static inline int memory_objects_compare(const void *a, const void *b)
{
	return strcmp(((const struct memory_object *)a)->key, ((const struct memory_object *)b)->key);
}

static inline enum err_code memory_objects_list(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket,
                                                const char *after, struct objects_page *page, struct err *e)
{
	struct memory_objects *m = arg;

	TRY(memory_objects_enter(m, e));
	qsort(m->items, m->count, sizeof(*m->items), memory_objects_compare);
	*page = (struct objects_page){.keys = talloc_zero_array(ctx, const char *, OBJECTS_PAGE),
	                              .created_at = talloc_zero_array(ctx, int64_t, OBJECTS_PAGE)};
	for (size_t i = 0; i < m->count; i++) {
		const struct memory_object *o = &m->items[i];

		if (!memory_objects_matches(o, account, bucket, "") || (after && strcmp(o->key, after) <= 0))
			continue;
		page->more = page->count == OBJECTS_PAGE;
		if (page->more)
			break;
		page->keys[page->count] = talloc_strdup(ctx, o->key);
		page->created_at[page->count++] = o->created_at;
	}
	pthread_mutex_unlock(&m->mutex);
	return ERR_OK;
}

static inline struct objects memory_objects_table(struct memory_objects *m)
{
	return (struct objects){.put = memory_objects_put,
	                        .get = memory_objects_get,
	                        .remove_prefix = memory_objects_remove,
	                        .list = memory_objects_list,
	                        .arg = m};
}

static inline void memory_objects_add(struct memory_objects *m, const char *account, const char *bucket,
                                      const char *key, const char *text)
{
	struct err e;

	ASSERT(memory_objects_put(m, account, bucket, key, text, strlen(text), &e) == ERR_OK);
}

/* How many objects have that prefix. */
static inline size_t memory_objects_count(struct memory_objects *m, const char *account, const char *bucket,
                                          const char *prefix)
{
	size_t count = 0;

	pthread_mutex_lock(&m->mutex);
	for (size_t i = 0; i < m->count; i++)
		count += memory_objects_matches(&m->items[i], account, bucket, prefix);
	pthread_mutex_unlock(&m->mutex);
	return count;
}

#endif
