#include "services/object-store-gateway/drivers/s3_client.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 60000
#define FIRST_REGION "us-east-1"
#define LESSONS_MAX 4         /* in one attempt */
#define SKEW_MS 240000        /* a clock that differs by this much may be why a signature was refused */
#define REPEATS_MAX 100       /* shared budget */
#define REPEATS_PER_SUCCESS 1 /* given back */
#define REPEAT_COST 4

static struct metric repeats_total = METRIC_COUNTER("stowage_s3_repeats_total", "Requests to S3 that were sent again.");
static struct metric refused_total =
    METRIC_COUNTER("stowage_s3_budget_spent_total", "Requests to S3 not repeated because too many had been.");

struct s3_client {
	struct http_client *http;
	struct s3_credentials *credentials;
	int64_t timeout_ms;

	pthread_mutex_t lock; /* guards what follows */
	struct s3_address *address;
	char region[40];
	int64_t clock_offset_ms; /* the server's clock minus ours */
	int repeats;             /* left in the shared budget */
};

/* What one attempt was sent with: a lesson is one only if it says otherwise. */
struct sent {
	TALLOC_CTX *ctx;
	struct s3_target target;
	bool redirected;
	char region[40];
	int64_t clock_offset_ms;
	uint64_t key_generation;
};

static int client_destroy(struct s3_client *c)
{
	pthread_mutex_destroy(&c->lock);
	return 0;
}

enum err_code s3_client_new(TALLOC_CTX *ctx, const struct s3_client_options *options, struct s3_client **out,
                            struct err *e)
{
	struct s3_client *c = talloc_zero(ctx, struct s3_client);
	const char *region = options->region ? options->region : FIRST_REGION;
	struct http_client_options http = {.ca_file = options->ca_file};

	ASSERT(c);
	c->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
	c->credentials = options->credentials;
	c->repeats = REPEATS_MAX;
	http.stall_ms = c->timeout_ms / 2;
	http.connect_ms = MIN(c->timeout_ms, 10000);
	if (strlen(region) >= sizeof(c->region))
		return ERR(e, ERR_INVALID, "region '%.50s' is too long", region);
	memcpy(c->region, region, strlen(region) + 1);
	pthread_mutex_init(&c->lock, NULL);
	talloc_set_destructor(c, client_destroy);
	TRY(s3_address_new(c, options->url, region, options->bucket, options->style, &c->address, e));
	TRY(http_client_new(c, &http, &c->http, e));
	*out = c;
	return ERR_OK;
}

char *s3_client_region(struct s3_client *c, TALLOC_CTX *ctx)
{
	char *region;

	pthread_mutex_lock(&c->lock);
	region = talloc_strdup(ctx, c->region);
	pthread_mutex_unlock(&c->lock);
	return region;
}

char *s3_client_place(struct s3_client *c, TALLOC_CTX *ctx)
{
	char *place;

	pthread_mutex_lock(&c->lock);
	place = talloc_asprintf(ctx, "bucket '%s' at %s://%s%s", c->address->bucket, c->address->scheme,
	                        c->address->authority, c->address->path);
	pthread_mutex_unlock(&c->lock);
	return place;
}

char *s3_client_identity(struct s3_client *c, TALLOC_CTX *ctx)
{
	const struct s3_address *a = c->address;
	char *identity;

	pthread_mutex_lock(&c->lock);
	identity = talloc_asprintf(ctx, "%s%s/%s", a->amazon ? "amazon" : a->authority, a->path, a->bucket);
	pthread_mutex_unlock(&c->lock);
	ASSERT(identity);
	return identity;
}

void s3_answer_release(struct s3_answer *answer)
{
	http_response_release(&answer->response);
}

/* ---- one exchange ---- */

static void prepare(struct s3_client *c, const struct s3_call *call, struct sent *sent)
{
	pthread_mutex_lock(&c->lock);
	memcpy(sent->region, c->region, sizeof(sent->region));
	sent->clock_offset_ms = c->clock_offset_ms;
	if (!sent->redirected)
		sent->target = s3_address_target(sent->ctx, c->address, call->key, call->query);
	pthread_mutex_unlock(&c->lock);
}

static enum err_code exchange(struct s3_client *c, const struct s3_call *call, const char *payload,
                              const struct patience *patience, struct sent *sent, struct s3_answer *answer,
                              struct err *e)
{
	struct sigv4_signed signature;
	struct http_request request;
	struct s3_key key;

	prepare(c, call, sent);
	TRY(s3_credentials_get(c->credentials, sent->ctx, &key, e));
	sent->key_generation = key.generation;
	signature = sigv4_sign(sent->ctx, &key.key,
	                       &(struct sigv4_request){
				   .method = call->method,
				   .host = sent->target.host,
				   .path = sent->target.path,
				   .query = sent->target.query,
				   .headers = call->headers,
				   .payload = payload,
				   .region = sent->region,
				   .service = "s3",
				   .wall_ms = clock_wall_ms() + sent->clock_offset_ms,
			       });
	request = (struct http_request){
	    .method = call->method,
	    .url = sent->target.url,
	    .headers = signature.headers,
	    .authorization = signature.authorization,
	    .body = call->body,
	    .body_len = call->body_len,
	    .begin = call->begin,
	    .sink = call->sink,
	    .arg = call->arg,
	    .memory_max = call->memory_max ? call->memory_max : S3_SMALL_MAX,
	    .patience = patience,
	};
	if (call->restart)
		call->restart(call->arg);
	return http_send(c->http, &request, &answer->response, e);
}

/* ---- what a refusal teaches ---- */

static bool learn_region(struct s3_client *c, const struct s3_refusal *r, const struct sent *sent)
{
	bool learnt;

	if (!r->region[0] || strcmp(r->region, sent->region) == 0)
		return false;
	if (r->status != 301 && r->status != 307 && r->status != 400 && r->status != 403)
		return false;
	pthread_mutex_lock(&c->lock);
	/* Another thread may have learnt it meanwhile. */
	learnt = strcmp(c->region, r->region) != 0;
	if (learnt) {
		memcpy(c->region, r->region, sizeof(c->region));
		s3_address_move(c->address, c->region);
	}
	pthread_mutex_unlock(&c->lock);
	return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; 0: the answer has no such date. */
static int64_t date_of(const struct http_response *response)
{
	SCRATCH_CTX(ctx);
	const char *text = http_header(ctx, response, "date");
	struct tm tm = {0};

	if (!text || !strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static bool learn_clock(struct s3_client *c, const struct s3_answer *answer, const struct sent *sent)
{
	const struct s3_refusal *r = &answer->refusal;
	int64_t date, offset;

	if (r->status != 400 && r->status != 401 && r->status != 403)
		return false;
	date = date_of(&answer->response);
	offset = date - clock_wall_ms();
	if (!date || llabs(offset - sent->clock_offset_ms) < SKEW_MS)
		return false;
	pthread_mutex_lock(&c->lock);
	c->clock_offset_ms = offset;
	pthread_mutex_unlock(&c->lock);
	return true;
}

static bool learn_credentials(struct s3_client *c, const struct s3_refusal *r, const struct sent *sent)
{
	if (!s3_refusal_is(r, "ExpiredToken") && !s3_refusal_is(r, "TokenRefreshRequired") &&
	    !s3_refusal_is(r, "InvalidToken") && !s3_refusal_is(r, "InvalidAccessKeyId"))
		return false;
	return s3_credentials_expired(c->credentials, sent->key_generation);
}

static bool learn_place(const struct s3_answer *answer, struct sent *sent, enum err_code *code, struct err *e)
{
	int status = answer->refusal.status;
	SCRATCH_CTX(ctx);
	const char *location;

	if (status != 301 && status != 302 && status != 307 && status != 308)
		return false;
	location = http_header(ctx, &answer->response, "location");
	if (!location)
		return false;
	sent->redirected = true;
	*code = s3_target_redirect(sent->ctx, &sent->target, location, &sent->target, e);
	return *code == ERR_OK;
}

static bool learn(struct s3_client *c, const struct s3_answer *answer, struct sent *sent, enum err_code *code,
                  struct err *e)
{
	return learn_region(c, &answer->refusal, sent) || learn_clock(c, answer, sent) ||
	       learn_credentials(c, &answer->refusal, sent) || learn_place(answer, sent, code, e);
}

static char *describe(TALLOC_CTX *ctx, struct s3_client *c, const struct s3_call *call)
{
	return call->key ? talloc_asprintf(ctx, "%s %s/%s", call->what, c->address->bucket, call->key)
	                 : talloc_asprintf(ctx, "%s %s", call->what, c->address->bucket);
}

static unsigned asked_to_wait_ms(const struct http_response *response)
{
	struct err e = {.retry_ms = 0};

	http_status_error(response, &e, "s3");
	return e.retry_ms;
}

/* Exchanges until there is nothing more to learn. */
static enum err_code attempt(struct s3_client *c, const struct s3_call *call, const char *payload,
                             const struct patience *whole, struct s3_answer *answer, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct sent sent = {.ctx = ctx};
	struct patience patience = {.deadline_ms = MIN(clock_monotonic_ms() + c->timeout_ms, whole->deadline_ms)};

	for (unsigned lessons = 0;; lessons++) {
		enum err_code code;

		s3_answer_release(answer);
		*answer = (struct s3_answer){.response = {.status = 0}};
		code = exchange(c, call, payload, &patience, &sent, answer, e);
		if (code != ERR_OK)
			return err_wrap(e, "%s", describe(ctx, c, call));
		if (!s3_refusal_read(&answer->response, &answer->refusal)) {
			answer->refusal = (struct s3_refusal){.status = 0};
			return ERR_OK;
		}
		code = s3_refusal_error(&answer->refusal, describe(ctx, c, call), e);
		e->retry_ms = asked_to_wait_ms(&answer->response);
		if (lessons == LESSONS_MAX || !learn(c, answer, &sent, &code, e))
			return code;
	}
}

/* ---- repeats ---- */

static bool take_repeat(struct s3_client *c)
{
	bool granted;

	pthread_mutex_lock(&c->lock);
	granted = c->repeats >= REPEAT_COST;
	if (granted)
		c->repeats -= REPEAT_COST;
	pthread_mutex_unlock(&c->lock);
	metric_add(granted ? &repeats_total : &refused_total, 1);
	return granted;
}

static void give_back(struct s3_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->repeats = MIN(c->repeats + REPEATS_PER_SUCCESS, REPEATS_MAX);
	pthread_mutex_unlock(&c->lock);
}

enum err_code s3_send(struct s3_client *c, const struct s3_call *call, struct s3_answer *answer, struct err *e)
{
	struct patience whole = {.deadline_ms = clock_monotonic_ms() + 3 * c->timeout_ms};
	struct retry_policy policy = {.attempts = call->once ? 1 : 5, .base_ms = 100, .cap_ms = 5000};
	struct retry retry = retry_start(&policy, &whole);
	struct digest sha256 = digest_of(call->body ? call->body : "", call->body_len);
	struct err failure = {.code = ERR_OK};
	enum err_code code;

	*answer = (struct s3_answer){.response = {.status = 0}};
	for (;;) {
		code = attempt(c, call, digest_hex(&sha256).text, &whole, answer, &failure);
		if (code == ERR_OK) {
			give_back(c);
			return ERR_OK;
		}
		if ((code != ERR_UNAVAILABLE && code != ERR_DEADLINE) || !retry_again(&retry, &failure) ||
		    !take_repeat(c))
			break;
	}
	if (e)
		*e = failure;
	return code;
}
