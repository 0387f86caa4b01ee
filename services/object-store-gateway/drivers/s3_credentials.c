#include "services/object-store-gateway/drivers/s3_credentials.h"

#include "common/clock.h"
#include "common/log.h"
#include "services/object-store-gateway/drivers/s3_sources.h"

#include <pthread.h>
#include <string.h>

#define REFRESH_MS 300000  /* before the end */
#define FAILED_MS 10000    /* not asked again, while the old key is good */
#define FAILED_LATE_MS 500 /* the same when it is not: one failure answers all threads that wait */
#define METADATA_CONNECT_MS 1000
#define METADATA_STALL_MS 5000

static const struct {
	const char *name;
	s3_source ask;
} sources[] = {
    {"environment", s3_source_environment}, {"file", s3_source_file},       {"web identity", s3_source_web_identity},
    {"container", s3_source_container},     {"machine", s3_source_machine},
};

struct s3_credentials {
	bool automatic;
	struct s3_source_context context;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t asked;
	bool asking;
	struct s3_found *now; /* NULL: none yet */
	uint64_t generation;
	int64_t not_before_ms; /* clock_monotonic_ms() */
	struct err failure;
};

static int credentials_destroy(struct s3_credentials *c)
{
	pthread_cond_destroy(&c->asked);
	pthread_mutex_destroy(&c->lock);
	return 0;
}

static enum err_code make_clients(struct s3_credentials *c, const struct s3_credentials_options *options, struct err *e)
{
	const struct http_client_options near = {
	    .connect_ms = METADATA_CONNECT_MS,
	    .stall_ms = METADATA_STALL_MS,
	    .stall_bytes = 1,
	};

	TRY(http_client_new(c, &(struct http_client_options){.ca_file = options->ca_file}, &c->context.http, e));
	return http_client_new(c, &near, &c->context.metadata, e);
}

static struct s3_found *copy_found(TALLOC_CTX *ctx, const struct s3_found *from)
{
	struct s3_found *f = talloc(ctx, struct s3_found);

	ASSERT(f);
	*f = (struct s3_found){
	    .access_key = talloc_strdup(f, from->access_key),
	    .secret_key = talloc_strdup(f, from->secret_key),
	    .token = from->token ? talloc_strdup(f, from->token) : NULL,
	    .expires_ms = from->expires_ms,
	};
	ASSERT(f->access_key && f->secret_key);
	return f;
}

enum err_code s3_credentials_new(TALLOC_CTX *ctx, const struct s3_credentials_options *options,
                                 struct s3_credentials **out, struct err *e)
{
	struct s3_credentials *c;

	if (options->automatic == (options->access_key || options->secret_key))
		return ERR(e, ERR_INVALID, "credentials are either access_key and secret_key, or iamauto: true");
	if (!options->automatic && (!options->access_key || !options->secret_key))
		return ERR(e, ERR_INVALID, "access_key and secret_key go together");
	c = talloc_zero(ctx, struct s3_credentials);
	ASSERT(c);
	c->automatic = options->automatic;
	c->context.region = options->region ? talloc_strdup(c, options->region) : NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->asked, NULL);
	talloc_set_destructor(c, credentials_destroy);
	if (c->automatic)
		TRY(make_clients(c, options, e));
	else
		c->now = copy_found(c, &(struct s3_found){options->access_key, options->secret_key, NULL, 0});
	*out = c;
	return ERR_OK;
}

/* Without the lock: this may take a while. */
static enum err_code ask_sources(struct s3_credentials *c, TALLOC_CTX *ctx, bool had_some, struct s3_found *found,
                                 struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		enum err_code code = sources[i].ask(ctx, &c->context, found, e);

		if (code == ERR_OK)
			return ERR_OK;
		if (code == ERR_NOT_FOUND)
			continue;
		/* Whatever is wrong, either it passes or there is nobody we can be. */
		if (err_retry(code) != ERR_RETRY_LATER)
			e->code = ERR_UNAUTHENTICATED;
		return err_wrap(e, "credentials from %s", sources[i].name);
	}
	if (had_some)
		return ERR(e, ERR_UNAVAILABLE, "the credentials have ended, and nothing gives others");
	return ERR(e, ERR_UNAUTHENTICATED,
	           "no credentials: neither environment, file, web identity, container nor "
	           "machine has any");
}

/* With the lock, which is let go while sources are asked. */
static enum err_code renew(struct s3_credentials *c, bool usable, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct s3_found found = {0};
	struct err failure = {0};
	bool had_some = c->generation > 0;
	enum err_code code;

	c->asking = true;
	pthread_mutex_unlock(&c->lock);
	code = ask_sources(c, ctx, had_some, &found, &failure);
	pthread_mutex_lock(&c->lock);
	c->asking = false;
	pthread_cond_broadcast(&c->asked);
	if (code == ERR_OK) {
		talloc_free(c->now);
		c->now = copy_found(c, &found);
		c->generation++;
		c->failure.code = ERR_OK;
		return ERR_OK;
	}
	c->failure = failure;
	c->not_before_ms = clock_monotonic_ms() + (usable ? FAILED_MS : FAILED_LATE_MS);
	if (usable) {
		LOG_WARN("s3 credentials not renewed", LOG_ERR(&failure));
		return ERR_OK;
	}
	if (e)
		*e = failure;
	return code;
}

static enum err_code make_usable(struct s3_credentials *c, struct err *e)
{
	for (;;) {
		int64_t left = c->now && c->now->expires_ms ? c->now->expires_ms - clock_wall_ms() : INT64_MAX;
		bool usable = c->now && left > 0, waits = clock_monotonic_ms() < c->not_before_ms;

		if (usable && (left > REFRESH_MS || c->asking || waits))
			return ERR_OK;
		if (!c->asking && !waits)
			return renew(c, usable, e);
		if (!c->asking) {
			if (e)
				*e = c->failure;
			return c->failure.code;
		}
		pthread_cond_wait(&c->asked, &c->lock);
	}
}

enum err_code s3_credentials_get(struct s3_credentials *c, TALLOC_CTX *ctx, struct s3_key *out, struct err *e)
{
	enum err_code code = ERR_OK;

	pthread_mutex_lock(&c->lock);
	if (c->automatic)
		code = make_usable(c, e);
	if (code == ERR_OK) {
		struct s3_found *copy = copy_found(ctx, c->now);

		out->key = (struct sigv4_key){copy->access_key, copy->secret_key, copy->token};
		out->generation = c->generation;
	}
	pthread_mutex_unlock(&c->lock);
	return code;
}

bool s3_credentials_expired(struct s3_credentials *c, uint64_t generation)
{
	bool renewable = c->automatic;

	pthread_mutex_lock(&c->lock);
	if (renewable && c->now && c->generation == generation && !c->asking)
		TALLOC_FREE(c->now);
	pthread_mutex_unlock(&c->lock);
	return renewable;
}
