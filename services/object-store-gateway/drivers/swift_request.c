#include "common/clock.h"
#include "services/object-store-gateway/drivers/swift.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_DIGITS 19 /* of INT64_MAX */
#define SMALL_MAX ((size_t)(64 * KIB))
#define ATTEMPTS 5
#define WHOLE_TIMES 3 /* so many times as long as one may take, all of them may, and the last a bit longer */
#define WAIT_BASE_MS 200
#define WAIT_CAP_MS 5000

static enum err_code send_with(struct swift *s, const struct swift_request *request, const struct swift_access *access,
                               struct http_response *response, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct patience patience = {
	    .deadline_ms = clock_monotonic_ms() + (request->timeout_ms ? request->timeout_ms : s->settings.request_ms)};
	const char **headers;
	size_t count = 0;

	while (request->headers && request->headers[count])
		count++;
	headers = talloc_zero_array(ctx, const char *, count + 2);
	ASSERT(headers);
	if (count)
		memcpy(headers, request->headers, count * sizeof(*headers));
	headers[count] = talloc_asprintf(ctx, "X-Auth-Token: %s", access->token);
	return http_send(s->http,
	                 &(struct http_request){
			     .method = request->method,
			     .url = talloc_asprintf(ctx, "%s%s%s%s", access->storage_url, request->path,
	                                            request->query ? "?" : "", request->query ? request->query : ""),
			     .headers = headers,
			     .body = request->body,
			     .body_len = request->body_len,
			     .begin = request->begin,
			     .sink = request->sink,
			     .arg = request->arg,
			     .memory_max = request->memory_max ? request->memory_max : SMALL_MAX,
			     .patience = &patience,
			 },
	                 response, e);
}

enum err_code swift_send(struct swift *s, const struct swift_request *request, struct http_response *response,
                         struct err *e)
{
	SCRATCH_CTX(ctx);
	struct swift_access access;

	*response = (struct http_response){0};
	TRY(swift_session_access(s->session, ctx, request->refused, &access, e));
	TRY(send_with(s, request, &access, response, e));
	if (response->status == 401) {
		http_response_release(response);
		*response = (struct http_response){0};
		TRY(swift_session_access(s->session, ctx, access.number, &access, e));
		TRY(send_with(s, request, &access, response, e));
	}
	if (request->token)
		*request->token = access.number;
	return ERR_OK;
}

enum err_code swift_retry(struct swift *s, enum err_code (*once)(struct swift *s, void *arg, struct err *e), void *arg,
                          struct err *e)
{
	const struct retry_policy policy = {ATTEMPTS, WAIT_BASE_MS, WAIT_CAP_MS, s->settings.budget_ms};
	/* No attempt begins after that: a back end that says nothing must not hold a thread five times as long. */
	const struct patience whole = {.deadline_ms = clock_monotonic_ms() + WHOLE_TIMES * s->settings.request_ms};
	struct retry retry = retry_start(&policy, &whole);
	enum err_code code;
	struct err why;

	/* A full back end will not be emptier in a second. */
	do
		code = once(s, arg, &why);
	while (code != ERR_OK && code != ERR_EXHAUSTED && retry_again(&retry, &why));
	if (code != ERR_OK && e)
		*e = why;
	return code == ERR_OK ? code : err_wrap(e, "swift container %.100s", s->settings.container);
}

char *swift_name(TALLOC_CTX *ctx, const struct swift *s, const struct location *at)
{
	char *name = talloc_asprintf(ctx, "%s%0*" PRId64 "-%s", s->prefix, NUMBER_DIGITS, at->number,
	                             digest_hex(&at->sha256).text);

	ASSERT(name && at->number >= 0);
	return name;
}

bool swift_parse_name(const struct swift *s, const char *name, struct location *at)
{
	size_t prefix_len = strlen(s->prefix);
	const char *digits = name + prefix_len;
	char *end;

	if (strncmp(name, s->prefix, prefix_len) != 0 || strspn(digits, "0123456789") != NUMBER_DIGITS ||
	    digits[NUMBER_DIGITS] != '-')
		return false;
	errno = 0;
	at->number = strtoll(digits, &end, 10);
	return errno == 0 && digest_parse_hex(end + 1, strlen(end + 1), &at->sha256);
}

char *swift_escape(TALLOC_CTX *ctx, const char *text)
{
	SCRATCH_CTX(scratch);
	char *out = talloc_strdup(ctx, "");

	for (;;) {
		size_t len = strcspn(text, "/");

		out = talloc_asprintf_append(out, "%s", http_escape(scratch, talloc_strndup(scratch, text, len)));
		if (!text[len])
			break;
		out = talloc_strdup_append(out, "/");
		text += len + 1;
	}
	ASSERT(out);
	return out;
}

char *swift_path(TALLOC_CTX *ctx, const struct swift *s, const char *name)
{
	SCRATCH_CTX(scratch);
	char *path = talloc_asprintf(ctx, "/%s%s%s", swift_escape(scratch, s->settings.container), name ? "/" : "",
	                             name ? swift_escape(scratch, name) : "");

	ASSERT(path);
	return path;
}

struct swift_etag swift_etag_of(const void *bytes, size_t len)
{
	struct swift_etag etag;
	uint8_t md5[16];
	size_t md5_len = 0;

	ASSERT(EVP_Q_digest(NULL, "MD5", NULL, bytes, len, md5, &md5_len) == 1 && md5_len == sizeof(md5));
	for (size_t i = 0; i < sizeof(md5); i++)
		snprintf(etag.text + 2 * i, 3, "%02x", md5[i]);
	return etag;
}

bool swift_etag_agrees(const struct http_response *response, const struct swift_etag *etag)
{
	SCRATCH_CTX(ctx);
	const char *said = http_header(ctx, response, "etag");
	size_t len = said ? strlen(said) : 0;

	if (len >= 2 && said[0] == '"' && said[len - 1] == '"') {
		said++;
		len -= 2;
	}
	return len == sizeof(etag->text) - 1 && memcmp(said, etag->text, len) == 0;
}
