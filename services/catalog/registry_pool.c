#include "services/catalog/registry_pool.h"

#include <pthread.h>
#include <string.h>

struct pooled {
	const char *host;
	struct registry_access access;
	struct registry *registry;
};

struct registry_pool {
	pthread_mutex_t mutex; /* guards the rest; a client, once in, stays */
	const char *ca_file;
	struct pooled items[REGISTRY_POOL_MAX];
	size_t count;
};

static int pool_destroy(struct registry_pool *pool)
{
	pthread_mutex_destroy(&pool->mutex);
	return 0;
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static char *copy(struct registry_pool *pool, const char *text)
{
	char *copied = talloc_strdup(pool, text_of(text));

	ASSERT(copied);
	return copied;
}

struct registry_pool *registry_pool_new(TALLOC_CTX *ctx, const char *ca_file)
{
	struct registry_pool *pool = talloc_zero(ctx, struct registry_pool);

	ASSERT(pool && pthread_mutex_init(&pool->mutex, NULL) == 0);
	pool->ca_file = copy(pool, ca_file);
	talloc_set_destructor(pool, pool_destroy);
	return pool;
}

static struct registry *find(const struct registry_pool *pool, const char *host, const struct registry_access *access)
{
	for (size_t i = 0; i < pool->count; i++) {
		const struct pooled *p = &pool->items[i];

		if (strcmp(p->host, host) == 0 && strcmp(p->access.user, text_of(access->user)) == 0 &&
		    strcmp(p->access.password, text_of(access->password)) == 0 &&
		    p->access.insecure == access->insecure)
			return p->registry;
	}
	return NULL;
}

static enum err_code make(struct registry_pool *pool, TALLOC_CTX *ctx, const char *host,
                          const struct registry_access *access, struct registry **out, struct err *e)
{
	struct registry_options options = {
	    .user = text_of(access->user),
	    .password = text_of(access->password),
	    .ca_file = *pool->ca_file ? pool->ca_file : NULL,
	    .insecure = access->insecure,
	    .skip_verify = access->insecure,
	};

	if (pool->count == REGISTRY_POOL_MAX)
		return registry_new(ctx, host, &options, out, e);
	TRY(registry_new(pool, host, &options, out, e));
	pool->items[pool->count++] = (struct pooled){
	    .host = copy(pool, host),
	    .access = {copy(pool, access->user), copy(pool, access->password), access->insecure},
	    .registry = *out,
	};
	return ERR_OK;
}

enum err_code registry_pool_get(struct registry_pool *pool, TALLOC_CTX *ctx, const char *host,
                                const struct registry_access *access, struct registry **out, struct err *e)
{
	enum err_code code = ERR_OK;

	pthread_mutex_lock(&pool->mutex);
	*out = find(pool, host, access);
	if (!*out)
		code = make(pool, ctx, host, access, out, e);
	pthread_mutex_unlock(&pool->mutex);
	return code;
}
