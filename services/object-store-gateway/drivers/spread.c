#include "services/object-store-gateway/drivers/spread.h"

#include <pthread.h>

struct spreading {
	spread_part once;
	void *arg;
	size_t parts;

	pthread_mutex_t lock; /* for what follows */
	size_t next;
	enum err_code code;
	struct err failure; /* the first; set if code is not ERR_OK */
};

static bool take(struct spreading *s, size_t *part)
{
	bool taken;

	pthread_mutex_lock(&s->lock);
	taken = s->code == ERR_OK && s->next < s->parts;
	if (taken)
		*part = s->next++;
	pthread_mutex_unlock(&s->lock);
	return taken;
}

static void note(struct spreading *s, enum err_code code, const struct err *why)
{
	if (code == ERR_OK)
		return;
	pthread_mutex_lock(&s->lock);
	if (s->code == ERR_OK) {
		s->code = code;
		s->failure = *why;
	}
	pthread_mutex_unlock(&s->lock);
}

static void *work(void *arg)
{
	struct spreading *s = arg;
	size_t part;

	while (take(s, &part)) {
		struct err why = {0};

		note(s, s->once(s->arg, part, &why), &why);
	}
	return NULL;
}

enum err_code spread(size_t parts, spread_part once, void *arg, struct err *e)
{
	struct spreading s = {.once = once, .arg = arg, .parts = parts, .code = ERR_OK};
	pthread_t threads[SPREAD_THREADS - 1];
	size_t started = 0;

	ASSERT(pthread_mutex_init(&s.lock, NULL) == 0);
	while (started < ARRAY_SIZE(threads) && started + 1 < parts &&
	       pthread_create(&threads[started], NULL, work, &s) == 0)
		started++;
	work(&s);
	while (started > 0)
		ASSERT(pthread_join(threads[--started], NULL) == 0);
	pthread_mutex_destroy(&s.lock);
	if (s.code != ERR_OK && e)
		*e = s.failure;
	return s.code;
}

size_t spread_share(size_t count, size_t most)
{
	size_t fair = count / SPREAD_THREADS + (count % SPREAD_THREADS != 0);

	ASSERT(most > 0);
	return MIN(MAX(fair, (size_t)SPREAD_LEAST), most);
}
