#include "services/object-store-gateway/drivers/swift_session.h"

#include "common/clock.h"

#include <pthread.h>

#define MARGIN_PART 10
#define MARGIN_MOST_MS 60000
#define REST_MS 5000 /* after a failed renewal, while the old token lives */

struct swift_session {
	struct http_client *http;
	const struct swift_settings *settings;

	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t landed;
	bool flying;                /* somebody authenticates */
	uint64_t flights;           /* that have landed */
	enum err_code outcome;      /* of the last of them */
	struct err failure;         /* why, if it failed */
	TALLOC_CTX *texts;          /* of access; a root of its own, since threads come and go */
	struct swift_access access; /* number 0: there never was one */
	int64_t renew_ms, ends_ms;  /* clock_monotonic_ms() */
};

static int session_destroy(struct swift_session *s)
{
	talloc_free(s->texts);
	pthread_cond_destroy(&s->landed);
	pthread_mutex_destroy(&s->lock);
	return 0;
}

struct swift_session *swift_session_new(TALLOC_CTX *ctx, struct http_client *http,
                                        const struct swift_settings *settings)
{
	struct swift_session *s = talloc_zero(ctx, struct swift_session);

	ASSERT(s);
	s->http = http;
	s->settings = settings;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->landed, NULL);
	talloc_set_destructor(s, session_destroy);
	return s;
}

/* With the lock held. */
static void keep(struct swift_session *s, TALLOC_CTX *texts, const struct swift_grant *grant, int64_t asked_ms)
{
	talloc_free(s->texts);
	s->texts = texts;
	s->access = (struct swift_access){grant->token, grant->storage_url, s->access.number + 1};
	if (!grant->lives_ms) {
		s->renew_ms = s->ends_ms = INT64_MAX;
		return;
	}
	s->ends_ms = asked_ms + grant->lives_ms;
	s->renew_ms = s->ends_ms - MIN(grant->lives_ms / MARGIN_PART, (int64_t)MARGIN_MOST_MS);
}

/* Called and left with the lock held, which is free meanwhile. */
static void fly(struct swift_session *s)
{
	TALLOC_CTX *texts = talloc_new(NULL);
	int64_t asked_ms = clock_monotonic_ms();
	struct patience patience = {.deadline_ms = asked_ms + s->settings->request_ms};
	struct swift_grant grant;
	struct err failure;
	enum err_code code;

	s->flying = true;
	pthread_mutex_unlock(&s->lock);
	code = swift_authenticate(texts, s->http, s->settings, &patience, &grant, &failure);
	pthread_mutex_lock(&s->lock);
	s->flying = false;
	s->flights++;
	s->outcome = code;
	if (code == ERR_OK) {
		keep(s, texts, &grant, asked_ms);
	} else {
		s->failure = failure;
		s->renew_ms = MIN(clock_monotonic_ms() + REST_MS, s->ends_ms);
		talloc_free(texts);
	}
	pthread_cond_broadcast(&s->landed);
}

/* Takes part in a flight: in the one that is under way, else in one of its own. */
static void join_flight(struct swift_session *s)
{
	uint64_t before = s->flights;

	if (!s->flying) {
		fly(s);
		return;
	}
	while (s->flights == before)
		pthread_cond_wait(&s->landed, &s->lock);
}

static bool is_usable(const struct swift_session *s, uint64_t refused, int64_t until_ms)
{
	return s->access.number != 0 && s->access.number != refused && clock_monotonic_ms() < until_ms;
}

enum err_code swift_session_access(struct swift_session *s, TALLOC_CTX *ctx, uint64_t refused, struct swift_access *out,
                                   struct err *e)
{
	enum err_code code = ERR_OK;

	pthread_mutex_lock(&s->lock);
	if (!is_usable(s, refused, s->renew_ms)) {
		join_flight(s);
		if (s->outcome != ERR_OK && !is_usable(s, refused, s->ends_ms)) {
			code = s->outcome;
			if (e)
				*e = s->failure;
		}
	}
	if (code == ERR_OK)
		*out = (struct swift_access){talloc_strdup(ctx, s->access.token),
		                             talloc_strdup(ctx, s->access.storage_url), s->access.number};
	pthread_mutex_unlock(&s->lock);
	return code;
}
