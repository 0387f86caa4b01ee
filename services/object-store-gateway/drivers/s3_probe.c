/*
 * The start-up probe: an object of its own is put, read, read in part, put on the condition that it is absent, removed
 * and looked for. Each answer must be one that a server of S3 gives; whatever else answers there is refused.
 *
 * The object's name holds the time and a random part, so that gateways that start at once do not meet. One that a
 * killed gateway left behind is removed by a later probe.
 */
#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE "probe-"
#define RANGE_FIRST 8
#define RANGE_LAST 15
#define LEFT_BEHIND_S 3600
#define LEFT_BEHIND_MAX 100

static const char content[] = "Stowage was here, and can write, read and remove.\n";

static enum err_code make_bucket(struct driver_conn *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *region = s3_client_region(c->client, ctx);
	char *body = NULL;
	struct s3_call call = {.what = "create bucket", .method = "PUT"};
	struct s3_answer answer;
	enum err_code code;

	/* The first region must not be named: it is what there was before there were regions. */
	if (strcmp(region, "us-east-1") != 0)
		body = talloc_asprintf(ctx,
		                       "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
		                       "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
		                       region);
	call.body = body;
	call.body_len = body ? strlen(body) : 0;
	code = s3_send(c->client, &call, &answer, e);
	if (s3_refusal_is(&answer.refusal, "BucketAlreadyOwnedByYou")) /* another gateway was faster */
		code = ERR_OK;
	s3_answer_release(&answer);
	return code;
}

/* A new bucket may take some time to be known everywhere. */
static enum err_code put_first(struct driver_conn *c, const char *key, bool create_bucket, struct err *e)
{
	struct retry retry = retry_start(&(struct retry_policy){.attempts = 6, .base_ms = 200, .cap_ms = 2000}, NULL);
	struct s3_refusal refusal;
	struct err failure;
	enum err_code code = s3_object_put(c, key, content, strlen(content), false, &refusal, e);

	if (code == ERR_OK || !create_bucket || !s3_refusal_is(&refusal, "NoSuchBucket"))
		return code;
	TRY(make_bucket(c, e));
	for (;;) {
		code = s3_object_put(c, key, content, strlen(content), false, &refusal, &failure);
		if (code == ERR_OK)
			return ERR_OK;
		if (s3_refusal_is(&refusal, "NoSuchBucket"))
			failure.code = ERR_UNAVAILABLE;
		if (!retry_again(&retry, &failure))
			break;
	}
	if (e)
		*e = failure;
	return failure.code;
}

static enum err_code read_back(struct driver_conn *c, const char *key, struct err *e)
{
	char back[sizeof(content)];
	struct s3_refusal refusal;
	size_t got = 0;
	enum err_code code = s3_object_get(c, key, back, sizeof(back), &got, &refusal, e);

	if (code == ERR_CORRUPT || (code == ERR_OK && (got != strlen(content) || memcmp(back, content, got) != 0)))
		return ERR(e, ERR_INTERNAL, "what was put as %s is not what comes back", key);
	return code;
}

static enum err_code read_part(struct driver_conn *c, const char *key, struct err *e)
{
	char range[64];
	const char *headers[] = {range, NULL};
	const struct s3_call call = {.what = "get range of", .method = "GET", .key = key, .headers = headers};
	const size_t len = RANGE_LAST - RANGE_FIRST + 1;
	struct s3_answer answer;
	const struct buf *body = &answer.response.body;
	enum err_code code;

	snprintf(range, sizeof(range), "Range: bytes=%d-%d", RANGE_FIRST, RANGE_LAST);
	code = s3_send(c->client, &call, &answer, e);
	if (code == ERR_OK &&
	    (answer.response.status != 206 || body->len != len || memcmp(body->bytes, &content[RANGE_FIRST], len) != 0))
		code = ERR(e, ERR_INTERNAL, "bytes %d to %d of %s come back as %zu bytes with status %d", RANGE_FIRST,
		           RANGE_LAST, key, body->len, answer.response.status);
	s3_answer_release(&answer);
	return code;
}

/* Refusing because it is there, taking it all the same and not knowing the condition are all understood. */
static enum err_code put_on_condition(struct driver_conn *c, const char *key, struct err *e)
{
	struct s3_refusal refusal;
	enum err_code code = s3_object_put(c, key, content, strlen(content), true, &refusal, e);

	c->conditional_put = refusal.status == 412;
	if (c->conditional_put || code == ERR_UNSUPPORTED)
		return ERR_OK;
	if (refusal.status == 400 && code == ERR_INTERNAL)
		return ERR_OK;
	return code;
}

static enum err_code look_for(struct driver_conn *c, const char *key, struct err *e)
{
	char back[sizeof(content)];
	struct s3_refusal refusal;
	size_t got;
	enum err_code code = s3_object_get(c, key, back, sizeof(back), &got, &refusal, e);

	/* A removal may take its time to show. */
	if (code == ERR_OK || s3_refusal_is(&refusal, "NoSuchKey"))
		return ERR_OK;
	return code;
}

struct leftovers {
	const struct driver_conn *conn;
	TALLOC_CTX *ctx;
	char *keys[LEFT_BEHIND_MAX];
	size_t count;
};

static void notice_leftover(void *arg, const char *key)
{
	struct leftovers *l = arg;
	const char *time = key + strlen(l->conn->base) + strlen(PROBE);
	int64_t made_s = strtoll(time, NULL, 10);

	if (made_s > 0 && clock_wall_ms() / 1000 - made_s > LEFT_BEHIND_S && l->count < LEFT_BEHIND_MAX)
		l->keys[l->count++] = talloc_strdup(l->ctx, key);
}

/* Also the proof that listing works, which audits need. */
static enum err_code remove_leftovers(struct driver_conn *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct leftovers l = {.conn = c, .ctx = ctx};
	char *prefix = talloc_asprintf(ctx, "%s" PROBE, c->base), *next;

	TRY(s3_keys_page(c, ctx, prefix, NULL, LEFT_BEHIND_MAX, notice_leftover, &l, &next, e));
	return s3_keys_remove(c, l.keys, l.count, e);
}

static enum err_code probe_object(struct driver_conn *c, const char *key, bool create_bucket, struct err *e)
{
	TRY(put_first(c, key, create_bucket, e));
	TRY(read_back(c, key, e));
	TRY(read_part(c, key, e));
	return put_on_condition(c, key, e);
}

enum err_code s3_probe(struct driver_conn *c, bool create_bucket, struct err *e)
{
	SCRATCH_CTX(ctx);
	uint64_t random;
	char *keys[2];
	enum err_code code;

	random_bytes(&random, sizeof(random));
	keys[0] = talloc_asprintf(ctx, "%s" PROBE "%" PRId64 "-%016" PRIx64, c->base, clock_wall_ms() / 1000, random);
	/* A second key, which is not there: so that it is a removal of many. */
	keys[1] = talloc_asprintf(ctx, "%s-none", keys[0]);
	ASSERT(keys[0] && keys[1]);
	code = probe_object(c, keys[0], create_bucket, e);
	if (code == ERR_OK)
		TRY(s3_keys_remove(c, keys, ARRAY_SIZE(keys), e));
	else if (code != ERR_UNAVAILABLE && code != ERR_DEADLINE && s3_keys_remove(c, keys, 1, NULL) != ERR_OK)
		return code; /* the first failure is the one to tell */
	TRY(code);
	TRY(look_for(c, keys[0], e));
	return remove_leftovers(c, e);
}
