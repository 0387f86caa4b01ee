#include "common/rpc_replies.h"

#include <pthread.h>
#include <string.h>
#include <uthash.h>

struct running {
	const char *key;
	struct rpc_routes routes;
	size_t next_to_replace;
	UT_hash_handle hh;
};

struct kept {
	const char *key;
	uint8_t *bytes;
	size_t len;
	int64_t until_ms;
	UT_hash_handle hh; /* in order of insertion: the oldest first */
};

struct rpc_replies {
	struct rpc_replies_limits limits;
	pthread_mutex_t lock; /* guards everything below */
	struct running *running;
	struct kept *kept;
	size_t kept_bytes;
};

static int replies_destroy(struct rpc_replies *r)
{
	HASH_CLEAR(hh, r->running);
	HASH_CLEAR(hh, r->kept);
	pthread_mutex_destroy(&r->lock);
	return 0;
}

struct rpc_replies *rpc_replies_new(TALLOC_CTX *ctx, const struct rpc_replies_limits *limits)
{
	struct rpc_replies *r = talloc_zero(ctx, struct rpc_replies);

	ASSERT(r && pthread_mutex_init(&r->lock, NULL) == 0);
	r->limits = *limits;
	talloc_set_destructor(r, replies_destroy);
	return r;
}

static void give_up(struct rpc_replies *r, struct kept *k)
{
	HASH_DEL(r->kept, k);
	r->kept_bytes -= k->len;
	talloc_free(k);
}

/* All of them are kept equally long, so those whose time is over stand at the front. */
static void expire(struct rpc_replies *r, int64_t now_ms)
{
	while (r->kept && r->kept->until_ms <= now_ms)
		give_up(r, r->kept);
}

static void join(struct running *run, const struct transport_route *route)
{
	if (run->routes.count < ARRAY_SIZE(run->routes.route)) {
		run->routes.route[run->routes.count++] = *route;
		return;
	}
	run->routes.route[run->next_to_replace] = *route;
	run->next_to_replace = (run->next_to_replace + 1) % ARRAY_SIZE(run->routes.route);
}

static void add_running(struct rpc_replies *r, const char *key, const struct transport_route *route)
{
	struct running *run = talloc_zero(r, struct running);

	ASSERT(run);
	run->key = talloc_strdup(run, key);
	ASSERT(run->key);
	join(run, route);
	HASH_ADD_KEYPTR(hh, r->running, run->key, strlen(run->key), run);
}

/* Without memory for a copy the caller says nothing, and its peer asks again. */
static enum rpc_replies_verdict copy_kept(const struct kept *k, struct transport_message *kept)
{
	if (transport_message_new(k->len, kept, NULL) != ERR_OK)
		return RPC_REPLIES_GONE;
	memcpy(kept->bytes, k->bytes, k->len);
	return RPC_REPLIES_KEPT;
}

static enum rpc_replies_verdict enter(struct rpc_replies *r, const char *key, bool first_time,
                                      const struct transport_route *route, struct transport_message *kept)
{
	struct running *run;
	struct kept *k;

	HASH_FIND_STR(r->running, key, run);
	if (run) {
		join(run, route);
		return RPC_REPLIES_JOINED;
	}
	HASH_FIND_STR(r->kept, key, k);
	if (k)
		return copy_kept(k, kept);
	if (!first_time)
		return RPC_REPLIES_GONE;
	add_running(r, key, route);
	return RPC_REPLIES_RUN;
}

enum rpc_replies_verdict rpc_replies_enter(struct rpc_replies *r, const char *key, bool first_time,
                                           const struct transport_route *route, int64_t now_ms,
                                           struct transport_message *kept)
{
	enum rpc_replies_verdict verdict;

	pthread_mutex_lock(&r->lock);
	expire(r, now_ms);
	verdict = enter(r, key, first_time, route, kept);
	pthread_mutex_unlock(&r->lock);
	return verdict;
}

static void keep_reply(struct rpc_replies *r, const char *key, const struct transport_message *sealed, int64_t now_ms)
{
	struct kept *k;

	if (sealed->len > RPC_REPLIES_EACH_MAX || sealed->len > r->limits.bytes || r->limits.count == 0)
		return;
	while (r->kept && (r->kept_bytes + sealed->len > r->limits.bytes || HASH_COUNT(r->kept) >= r->limits.count))
		give_up(r, r->kept);
	k = talloc_zero(r, struct kept);
	ASSERT(k);
	k->key = talloc_strdup(k, key);
	k->bytes = talloc_memdup(k, sealed->bytes, sealed->len);
	ASSERT(k->key && k->bytes);
	k->len = sealed->len;
	k->until_ms = now_ms + r->limits.window_ms;
	r->kept_bytes += k->len;
	HASH_ADD_KEYPTR(hh, r->kept, k->key, strlen(k->key), k);
}

void rpc_replies_finish(struct rpc_replies *r, const char *key, const struct transport_message *sealed, bool keep,
                        int64_t now_ms, struct rpc_routes *routes)
{
	struct running *run;

	pthread_mutex_lock(&r->lock);
	HASH_FIND_STR(r->running, key, run);
	ASSERT(run);
	*routes = run->routes;
	HASH_DEL(r->running, run);
	talloc_free(run);
	expire(r, now_ms);
	if (keep)
		keep_reply(r, key, sealed, now_ms);
	pthread_mutex_unlock(&r->lock);
}

static pthread_mutex_t *lock_of(const struct rpc_replies *r)
{
	return (pthread_mutex_t *)(uintptr_t)&r->lock;
}

size_t rpc_replies_kept(const struct rpc_replies *r)
{
	size_t count;

	pthread_mutex_lock(lock_of(r));
	count = HASH_COUNT(r->kept);
	pthread_mutex_unlock(lock_of(r));
	return count;
}

size_t rpc_replies_kept_bytes(const struct rpc_replies *r)
{
	size_t bytes;

	pthread_mutex_lock(lock_of(r));
	bytes = r->kept_bytes;
	pthread_mutex_unlock(lock_of(r));
	return bytes;
}
