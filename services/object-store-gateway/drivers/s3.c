/*
 * s3: chunks as objects of a bucket, at Amazon or at whoever speaks its protocol.
 *
 * A chunk is the object <prefix><store>/<hex>-<number>: two stores may share a bucket and a prefix. Objects are written
 * with one request each, whole or not at all, and signed with the hash of their bytes, so that the server itself
 * refuses what was damaged on the way. Where the server can, a put does not overwrite: what is there already must be
 * the same bytes, else two installations share a bucket and a prefix by mistake, and that is an error.
 *
 * What the server refuses at start is told apart (driver.h); later, when a key was revoked or the bucket is gone, it is
 * ERR_UNAVAILABLE: the chunks are not lost, they cannot be reached.
 */
#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PREFIX_MAX 512
#define STALE_TRIES 3     /* reads of an object that ought to be there */
#define STALE_WAIT_MS 100 /* jittered, doubled each time */
#define DOUBTS_MAX 8      /* given back by what is there */
#define PING_MS 5000      /* so long a success is proof enough */

struct settings {
	const char *access_key, *secret_key, *url, *region, *bucket, *prefix, *ca_file, *path_style;
	bool iamauto, create_bucket;
	int64_t timeout_ms;
};

#define IN(member) offsetof(struct settings, member)

static const struct config_option s3_options[] = {
    {"access_key", CONFIG_TEXT, IN(access_key), NULL, .help = "Access key; with secret_key."},
    {"secret_key", CONFIG_TEXT, IN(secret_key), NULL, .secret = true, .help = "Secret key."},
    {"iamauto", CONFIG_FLAG, IN(iamauto), "false",
     .help = "Where the two are not given: environment, shared credentials file, web identity, container, instance"
             " metadata."},
    {"url", CONFIG_TEXT, IN(url), NULL, .help = "Endpoint; without it Amazon's of the region."},
    {"region", CONFIG_TEXT, IN(region), NULL, .help = "Without it, or with false, the server is asked."},
    {"bucket", CONFIG_TEXT, IN(bucket), NULL, .required = true, .help = "Bucket for the chunks."},
    {"create_bucket", CONFIG_FLAG, IN(create_bucket), "false", .help = "Make the bucket if it is not there."},
    {"prefix", CONFIG_TEXT, IN(prefix), "", .help = "What the names of all objects begin with."},
    {"ca_file", CONFIG_TEXT, IN(ca_file), NULL, .help = "PEM; trusted instead of the system's authorities."},
    {"path_style", CONFIG_TEXT, IN(path_style), "auto",
     .help = "true: the bucket is in the path, false: in the host name, auto: in the host name at Amazon."},
    {"timeout", CONFIG_DURATION, IN(timeout_ms), "60s", 100, 600000, .help = "Of one attempt of a request."},
    CONFIG_END,
};

/* ---- keys ---- */

char *s3_key_of(TALLOC_CTX *ctx, const struct driver_conn *c, const struct location *at)
{
	char *key = talloc_asprintf(ctx, "%s%s-%" PRId64, c->base, digest_hex(&at->sha256).text, at->number);

	ASSERT(key);
	return key;
}

bool s3_key_parse(const struct driver_conn *c, const char *key, struct location *at)
{
	size_t base = strlen(c->base);
	const char *number;
	char *end;

	if (strncmp(key, c->base, base) != 0 || strlen(key + base) <= DIGEST_HEX_SIZE ||
	    key[base + DIGEST_HEX_SIZE - 1] != '-' || !digest_parse_hex(key + base, DIGEST_HEX_SIZE - 1, &at->sha256))
		return false;
	number = key + base + DIGEST_HEX_SIZE;
	if (*number < '1' || *number > '9')
		return false;
	errno = 0;
	at->number = strtoll(number, &end, 10);
	return *end == '\0' && errno == 0;
}

/* Path segments of dots would be tidied away on the wire. */
static enum err_code make_base(struct driver_conn *c, const char *prefix, const char *store, struct err *e)
{
	char *copy = talloc_strdup(c, prefix), *rest = copy, *part;

	if (strlen(prefix) > PREFIX_MAX)
		return ERR(e, ERR_INVALID, "prefix has more than %d bytes", PREFIX_MAX);
	for (const char *at = prefix; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			return ERR(e, ERR_INVALID, "prefix holds a control character");
	while ((part = strsep(&rest, "/")))
		if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
			return ERR(e, ERR_INVALID, "prefix '%s' holds a segment '%s'", prefix, part);
	talloc_free(copy);
	c->base = talloc_asprintf(c, "%s%s/", prefix, store);
	ASSERT(c->base);
	return ERR_OK;
}

/* ---- single objects ---- */

static enum err_code done(struct driver_conn *c, enum err_code code)
{
	if (code == ERR_OK)
		atomic_store(&c->worked_ms, clock_monotonic_ms());
	return code;
}

enum err_code s3_object_put(struct driver_conn *c, const char *key, const void *bytes, size_t len, bool only_if_absent,
                            struct s3_refusal *refusal, struct err *e)
{
	const char *headers[] = {"Content-Type: application/octet-stream", only_if_absent ? "If-None-Match: *" : NULL,
	                         NULL};
	const struct s3_call call = {
	    .what = "put", .method = "PUT", .key = key, .headers = headers, .body = bytes, .body_len = len};
	struct s3_answer answer;
	enum err_code code = s3_send(c->client, &call, &answer, e);

	*refusal = answer.refusal;
	s3_answer_release(&answer);
	return done(c, code);
}

struct room {
	char *into;
	size_t size, used;
};

static void empty_room(void *arg)
{
	struct room *r = arg;

	r->used = 0;
}

static enum err_code measure(void *arg, const struct http_response *response, struct err *e)
{
	const struct room *r = arg;

	if (response->has_length && response->length > r->size)
		return ERR(e, ERR_CORRUPT, "the object has %" PRIu64 " bytes, more than %zu", response->length,
		           r->size);
	return ERR_OK;
}

static enum err_code fill_room(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct room *r = arg;

	if (len > r->size - r->used)
		return ERR(e, ERR_CORRUPT, "the object has more than %zu bytes", r->size);
	memcpy(r->into + r->used, bytes, len);
	r->used += len;
	return ERR_OK;
}

enum err_code s3_object_get(struct driver_conn *c, const char *key, void *into, size_t size, size_t *got,
                            struct s3_refusal *refusal, struct err *e)
{
	struct room room = {.into = into, .size = size};
	const struct s3_call call = {
	    .what = "get",
	    .method = "GET",
	    .key = key,
	    .restart = empty_room,
	    .begin = measure,
	    .sink = fill_room,
	    .arg = &room,
	};
	struct s3_answer answer;
	enum err_code code = s3_send(c->client, &call, &answer, e);

	if (code == ERR_OK && answer.response.status != 200)
		code = ERR(e, ERR_INTERNAL, "get %s: status %d is not understood", key, answer.response.status);
	*refusal = answer.refusal;
	*got = room.used;
	s3_answer_release(&answer);
	return done(c, code);
}

/* ---- the driver's slots ---- */

/* A refusal that would have ended the start is, later, a back end that cannot be reached for now. */
static enum err_code at_run_time(enum err_code code, struct err *e)
{
	switch ((int)code) {
	case ERR_UNAUTHENTICATED:
	case ERR_FORBIDDEN:
	case ERR_NOT_FOUND:
	case ERR_PRECONDITION:
	case ERR_INVALID:
	case ERR_UNSUPPORTED:
		if (e)
			e->code = ERR_UNAVAILABLE;
		return ERR_UNAVAILABLE;
	default:
		return code;
	}
}

/* Something is there already, under a name that only this put can have used: an earlier attempt of it, or a stranger.
 */
static enum err_code compare(struct driver_conn *c, const char *key, const void *bytes, size_t len, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct s3_refusal refusal;
	char *there = talloc_size(ctx, MAX(len, (size_t)1));
	size_t got = 0;
	enum err_code code;

	ASSERT(there);
	code = s3_object_get(c, key, there, len, &got, &refusal, e);
	if (code != ERR_OK && code != ERR_CORRUPT)
		return at_run_time(code, e);
	if (code == ERR_OK && got == len && memcmp(there, bytes, len) == 0)
		return ERR_OK;
	return ERR(e, ERR_CONFLICT,
	           "object %s is there with other bytes: does another installation use this bucket and prefix?", key);
}

static enum err_code driver_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                                struct err *e)
{
	SCRATCH_CTX(ctx);
	char *key = s3_key_of(ctx, c, at);
	struct s3_refusal refusal;
	enum err_code code = s3_object_put(c, key, bytes, len, c->conditional_put, &refusal, e);

	if (c->conditional_put && refusal.status == 412)
		return compare(c, key, bytes, len, e);
	return at_run_time(code, e);
}

static bool doubt(struct driver_conn *c)
{
	int left = atomic_load(&c->doubts);

	while (left > 0)
		if (atomic_compare_exchange_weak(&c->doubts, &left, left - 1))
			return true;
	return false;
}

static void believe(struct driver_conn *c)
{
	int left = atomic_load(&c->doubts);

	while (left < DOUBTS_MAX && !atomic_compare_exchange_weak(&c->doubts, &left, left + 1))
		;
}

/* A server of the eventually consistent kind may not know yet what it was given: it is asked again before an object is
 * called missing. Rows name only what was written, so this is rare; where it is not, much is missing indeed, and soon
 * nothing is doubted any more. */
static enum err_code driver_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                                struct err *e)
{
	SCRATCH_CTX(ctx);
	char *key = s3_key_of(ctx, c, at);

	for (unsigned attempt = 1;; attempt++) {
		struct s3_refusal refusal;
		enum err_code code = s3_object_get(c, key, into, size, got, &refusal, e);
		int64_t wait_ms;

		if (code == ERR_OK)
			believe(c);
		if (!s3_refusal_is(&refusal, "NoSuchKey"))
			return at_run_time(code, e);
		if (attempt == STALE_TRIES || !doubt(c))
			return code;
		wait_ms = STALE_WAIT_MS + backoff_ms(attempt, STALE_WAIT_MS, 1000);
		nanosleep(&(struct timespec){.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000}, NULL);
	}
}

static enum err_code driver_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	SCRATCH_CTX(ctx);
	char **keys = talloc_array(ctx, char *, MAX(count, (size_t)1));

	ASSERT(keys);
	for (size_t i = 0; i < count; i++)
		keys[i] = s3_key_of(keys, c, &at[i]);
	return at_run_time(done(c, s3_keys_remove(c, keys, count, e)), e);
}

static enum err_code driver_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                                 size_t *count, struct err *e)
{
	return at_run_time(done(c, s3_list(c, after, into, max, count, e)), e);
}

static enum err_code driver_ping(struct driver_conn *c, struct err *e)
{
	const struct s3_call call = {.what = "list", .method = "GET", .query = "list-type=2&max-keys=1", .once = true};
	struct s3_answer answer;
	enum err_code code;

	if (clock_monotonic_ms() - atomic_load(&c->worked_ms) < PING_MS)
		return ERR_OK;
	code = s3_send(c->client, &call, &answer, e);
	s3_answer_release(&answer);
	return at_run_time(done(c, code), e);
}

/* ---- opening ---- */

static enum err_code read_style(const char *text, enum s3_style *style, struct err *e)
{
	if (strcmp(text, "auto") == 0)
		*style = S3_STYLE_AUTO;
	else if (strcmp(text, "true") == 0)
		*style = S3_STYLE_PATH;
	else if (strcmp(text, "false") == 0)
		*style = S3_STYLE_HOST;
	else
		return ERR(e, ERR_INVALID, "path_style is '%.50s', not auto, true or false", text);
	return ERR_OK;
}

static const char *given(const char *text)
{
	return text && text[0] ? text : NULL;
}

/* Others' files say "region: False" where there is none, and leave iamauto in beside keys, which then count. */
static void tidy(struct settings *s)
{
	s->access_key = given(s->access_key);
	s->secret_key = given(s->secret_key);
	s->iamauto &= !s->access_key && !s->secret_key;
	s->region = given(s->region);
	if (s->region && strcasecmp(s->region, "false") == 0)
		s->region = NULL;
	s->url = given(s->url);
	s->ca_file = given(s->ca_file);
}

static enum err_code connect_to(struct driver_conn *c, const struct settings *s, struct err *e)
{
	const struct s3_credentials_options keys = {
	    .access_key = s->access_key,
	    .secret_key = s->secret_key,
	    .automatic = s->iamauto,
	    .region = s->region,
	    .ca_file = s->ca_file,
	};
	struct s3_client_options options = {
	    .url = s->url,
	    .region = s->region,
	    .bucket = s->bucket,
	    .ca_file = s->ca_file,
	    .timeout_ms = s->timeout_ms,
	};

	TRY(read_style(s->path_style, &options.style, e));
	TRY(s3_credentials_new(c, &keys, &c->credentials, e));
	options.credentials = c->credentials;
	TRY(s3_client_new(c, &options, &c->client, e));
	atomic_store(&c->doubts, DOUBTS_MAX);
	s3_window_init(c);
	if (s3_probe(c, s->create_bucket, e) != ERR_OK) {
		SCRATCH_CTX(ctx);

		return err_wrap(e, "%s", s3_client_place(c->client, ctx));
	}
	c->identity = talloc_asprintf_append(s3_client_identity(c->client, c), "/%s", c->base);
	ASSERT(c->identity);
	return done(c, ERR_OK);
}

static const char *driver_identity(struct driver_conn *c)
{
	return c->identity;
}

static enum err_code driver_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
                                 struct err *e)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	struct settings settings = {0};
	enum err_code code;

	ASSERT(c);
	code = config_read_tree(c, setup->config, s3_options, &settings, e);
	settings.create_bucket &= !setup->must_exist;
	tidy(&settings);
	if (code == ERR_OK)
		code = make_base(c, settings.prefix, setup->store, e);
	if (code == ERR_OK)
		code = connect_to(c, &settings, e);
	if (code != ERR_OK) {
		talloc_free(c);
		return code;
	}
	*out = c;
	return ERR_OK;
}

static void driver_close(struct driver_conn *c)
{
	talloc_free(c);
}

const struct driver driver_s3 = {
    .name = "s3",
    .open = driver_open,
    .identity = driver_identity,
    .put = driver_put,
    .get = driver_get,
    .remove = driver_remove,
    .list = driver_list,
    .lists_late = true,
    .close = driver_close,
    .ping = driver_ping,
};
