/*
 * Removing. Where Swift offers it, by bulk delete: one request names up to a thousand objects, and the answer, always
 * 200, says in its body what became of them. Else one by one. What is not there counts as removed.
 *
 * Swift works a bulk delete off two objects at a time, unless its operator had another idea, so that it takes as long
 * as half as many single deletes, one after the other. Several at once, each with a share of the names, are faster by
 * their number, until the back end has no more to give (spread.h).
 *
 * A bulk delete that removed only some is repeated whole: those that are gone are then not found, which is success.
 * The request itself needs no token, what it does needs one: that a token is over, too, is said in the body.
 *
 * An answer that is no bulk delete's (a server that has none takes the request for a change of the account and says
 * 204) never counts as done: these chunks are removed one by one.
 */
#include "common/json.h"
#include "services/object-store-gateway/drivers/spread.h"
#include "services/object-store-gateway/drivers/swift.h"

#include <stdlib.h>
#include <string.h>

#define BULK_ANSWER_MAX ((size_t)(1 * MIB))
#define BULK_TIMES 5 /* a bulk delete may take this many times as long as another request */

struct batch {
	const struct location *at;
	size_t count;
	struct buf *names; /* the body */
	bool not_bulk;     /* the answer was not that of a bulk delete */
	uint64_t token;    /* that the request went out with */
	uint64_t refused;  /* one that the answer refused; 0: none was */
};

/* ---- one by one ---- */

static enum err_code delete_once(struct swift *s, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};
	const char *name = arg;
	const struct swift_request request = {.method = "DELETE", .path = swift_path(ctx, s, name)};

	TRY(swift_send(s, &request, &response, e));
	if (response.status != 204 && response.status != 200 && response.status != 404)
		return swift_status_error(&response, e, "cannot remove %.300s", name);
	return ERR_OK;
}

static enum err_code remove_singly(struct swift *s, const struct location *at, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		SCRATCH_CTX(ctx);

		TRY(swift_retry(s, delete_once, swift_name(ctx, s, &at[i]), e));
	}
	return ERR_OK;
}

/* ---- in bulk ---- */

static enum err_code write_names(const struct swift *s, const struct batch *b, struct err *e)
{
	for (size_t i = 0; i < b->count; i++) {
		SCRATCH_CTX(ctx);

		buf_add_text(b->names, swift_path(ctx, s, swift_name(ctx, s, &b->at[i])));
		buf_add_char(b->names, '\n');
	}
	return buf_failed(b->names) ? ERR(e, ERR_EXHAUSTED, "no memory for a bulk delete") : ERR_OK;
}

/* The three digits that a status like "409 Conflict" begins with; 0 if it does not. */
static int status_of(const char *text)
{
	return text && strspn(text, "0123456789") == 3 ? (int)strtol(text, NULL, 10) : 0;
}

/* What one object, or the whole of it, came to; 404 stands among the errors of some versions. */
static enum err_code judge(struct batch *b, int status, const char *what, struct err *e)
{
	switch (status) {
	case 200:
	case 204:
	case 404:
		return ERR_OK;
	case 401:
		if (b->refused)
			return ERR(e, ERR_UNAUTHENTICATED, "cannot remove %.300s: status 401", what);
		b->refused = b->token;
		return ERR(e, ERR_UNAVAILABLE, "cannot remove %.300s: the token is refused", what);
	case 403:
		return ERR(e, ERR_FORBIDDEN, "cannot remove %.300s: status 403", what);
	case 408:
	case 409:
	case 429:
	case 498:
		return ERR(e, ERR_UNAVAILABLE, "cannot remove %.300s: status %d", what, status);
	default:
		return ERR(e, status >= 500 ? ERR_UNAVAILABLE : ERR_INTERNAL, "cannot remove %.300s: status %d", what,
		           status);
	}
}

static enum err_code judge_errors(struct batch *b, const cJSON *errors, struct err *e)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, errors) {
		const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(item, 0));
		const char *status = cJSON_GetStringValue(cJSON_GetArrayItem(item, 1));

		TRY(judge(b, status_of(status), name ? name : "an object", e));
	}
	return ERR_OK;
}

static enum err_code read_answer(struct batch *b, const struct http_response *response, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *errors;
	uint64_t deleted, absent, accounted;
	int status;

	b->not_bulk =
	    json_parse(response->body.bytes, response->body.len, BULK_ANSWER_MAX, "", &json, NULL) != ERR_OK ||
	    !json_size(json, "Number Deleted", &deleted) || !json_size(json, "Number Not Found", &absent) ||
	    !(errors = json_array(json, "Errors"));
	if (b->not_bulk)
		return ERR_OK;
	TRY(judge_errors(b, errors, e));
	status = status_of(json_text(json, "Response Status"));
	accounted = deleted + absent + (uint64_t)cJSON_GetArraySize(errors);
	if (status != 400 || accounted != b->count) /* 400 also sums up that there were errors */
		TRY(judge(b, status, "chunks in bulk", e));
	if (accounted != b->count)
		return ERR(e, ERR_UNAVAILABLE, "a bulk delete of %zu chunks accounts for %llu", b->count,
		           (unsigned long long)accounted);
	return ERR_OK;
}

static enum err_code bulk_once(struct swift *s, void *arg, struct err *e)
{
	static const char *const headers[] = {"Content-Type: text/plain", "Accept: application/json", NULL};
	CLEANUP(http_response_release) struct http_response response = {0};
	struct batch *b = arg;
	const struct swift_request request = {.method = "POST",
	                                      .path = "",
	                                      .query = "bulk-delete",
	                                      .headers = headers,
	                                      .body = b->names->bytes,
	                                      .body_len = b->names->len,
	                                      .memory_max = BULK_ANSWER_MAX,
	                                      .timeout_ms = s->settings.request_ms * BULK_TIMES,
	                                      .refused = b->refused,
	                                      .token = &b->token};

	TRY(swift_send(s, &request, &response, e));
	b->not_bulk = response.status < 400 && response.status != 200;
	if (b->not_bulk)
		return ERR_OK;
	if (response.status != 200)
		return swift_status_error(&response, e, "cannot remove %zu chunks in bulk", b->count);
	return read_answer(b, &response, e);
}

static enum err_code remove_batch(struct swift *s, const struct location *at, size_t count, struct err *e)
{
	CLEANUP(buf_release) struct buf names = {.max = count * 4096};
	struct batch b = {.at = at, .count = count, .names = &names};
	enum err_code code;

	TRY(write_names(s, &b, e));
	code = swift_retry(s, bulk_once, &b, e);
	/* Somebody on the way may know no such request, or take fewer names. */
	if (b.not_bulk || code == ERR_INTERNAL)
		return remove_singly(s, at, count, e);
	return code;
}

struct removal {
	struct swift *swift;
	const struct location *at;
	size_t count, share;
};

static enum err_code remove_share(void *arg, size_t part, struct err *e)
{
	const struct removal *r = arg;
	const struct location *at = r->at + part * r->share;
	size_t count = MIN(r->count - part * r->share, r->share);

	if (r->swift->bulk_max && count > 1)
		return remove_batch(r->swift, at, count, e);
	return remove_singly(r->swift, at, count, e);
}

enum err_code swift_remove(struct swift *s, const struct location *at, size_t count, struct err *e)
{
	struct removal r = {s, at, count, s->bulk_max ? spread_share(count, s->bulk_max) : 1};

	return spread((count + r.share - 1) / r.share, remove_share, &r, e);
}
