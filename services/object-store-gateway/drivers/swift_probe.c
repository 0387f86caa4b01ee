/*
 * The start-up probe: five requests with an object of its own, beside the chunks, and two questions. What the back end
 * answers decides what is used of it; what is not understood refuses the start.
 */
#include "common/clock.h"
#include "common/json.h"
#include "services/object-store-gateway/drivers/swift.h"

#include <stdio.h>
#include <string.h>

#define PROBE_SIZE 64
#define INFO_MAX ((size_t)(1 * MIB))
#define RANGE_FIRST 7
#define RANGE_LAST 20

struct probe {
	const char *path;
	uint8_t bytes[PROBE_SIZE];
	struct swift_etag etag;
	bool put; /* it may be there */
};

static enum err_code strange(const struct http_response *response, const char *what, struct err *e)
{
	return ERR(e, ERR_INTERNAL, "%s: status %d with %zu bytes is an answer that is not understood", what,
	           response->status, response->body.len);
}

/* ---- the container ---- */

static enum err_code create_container(struct swift *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};

	TRY(swift_send(s, &(struct swift_request){.method = "PUT", .path = swift_path(ctx, s, NULL)}, &response, e));
	if (response.status != 201 && response.status != 202)
		return swift_status_error(&response, e, "cannot make the container");
	return ERR_OK;
}

static enum err_code find_container(struct swift *s, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};

	(void)arg;
	TRY(swift_send(s, &(struct swift_request){.method = "HEAD", .path = swift_path(ctx, s, NULL)}, &response, e));
	if (response.status == 204 || response.status == 200)
		return ERR_OK;
	if (response.status != 404)
		return swift_status_error(&response, e, "cannot look at it");
	if (s->settings.create_container)
		return create_container(s, e);
	return ERR(e, ERR_NOT_FOUND, "it does not exist, and create_container is not set");
}

/* ---- the object ---- */

/* The server removes what a gateway that is killed between here and its removal leaves. */
static enum err_code put_probe(struct swift *s, struct probe *p, struct http_response *response, struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *const headers[] = {"Content-Type: application/octet-stream", "If-None-Match: *",
	                               "X-Delete-After: 3600", talloc_asprintf(ctx, "ETag: %s", p->etag.text), NULL};

	p->put = true;
	return swift_send(
	    s,
	    &(struct swift_request){
		.method = "PUT", .path = p->path, .headers = headers, .body = p->bytes, .body_len = sizeof(p->bytes)},
	    response, e);
}

/* The name is one of its own, so 412 means that this was sent twice after an answer was lost, if only by libcurl. The
 * get that follows tells. */
static enum err_code put_first(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct probe *p = arg;

	TRY(put_probe(s, p, &response, e));
	if (response.status == 412)
		return ERR_OK;
	if (response.status != 201)
		return swift_status_error(&response, e, "cannot put a probe");
	if (!swift_etag_agrees(&response, &p->etag))
		return ERR(e, ERR_INTERNAL,
		           "put of a probe: an ETag that is not the MD5 of what was sent is not understood");
	return ERR_OK;
}

static enum err_code put_second(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};

	TRY(put_probe(s, arg, &response, e));
	if (response.status != 412 && response.status != 201)
		return swift_status_error(&response, e, "cannot put a probe twice");
	s->conditional = response.status == 412;
	return ERR_OK;
}

static enum err_code get_probe(struct swift *s, const struct probe *p, const char *range,
                               struct http_response *response, struct err *e)
{
	const char *const headers[] = {"X-Newest: true", range, NULL};

	return swift_send(s, &(struct swift_request){.method = "GET", .path = p->path, .headers = headers}, response,
	                  e);
}

static bool is_part(const struct http_response *response, const struct probe *p, size_t first, size_t count)
{
	return response->body.len == count && memcmp(response->body.bytes, p->bytes + first, count) == 0;
}

static enum err_code get_whole(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};

	TRY(get_probe(s, arg, NULL, &response, e));
	if (response.status != 200)
		return swift_status_error(&response, e, "cannot get the probe that was put");
	return is_part(&response, arg, 0, PROBE_SIZE) ? ERR_OK : strange(&response, "get of a probe", e);
}

/* Chunks are read whole, so a back end may do without ranges; but it must not give wrong ones. */
static enum err_code get_range(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	char range[64];

	snprintf(range, sizeof(range), "Range: bytes=%d-%d", RANGE_FIRST, RANGE_LAST);
	TRY(get_probe(s, arg, range, &response, e));
	if ((response.status == 206 && is_part(&response, arg, RANGE_FIRST, RANGE_LAST - RANGE_FIRST + 1)) ||
	    (response.status == 200 && is_part(&response, arg, 0, PROBE_SIZE)))
		return ERR_OK;
	if (response.status == 200 || response.status == 206)
		return strange(&response, "get of a part of a probe", e);
	return swift_status_error(&response, e, "cannot get a part of a probe");
}

static enum err_code delete_probe(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	const struct probe *p = arg;

	TRY(swift_send(s, &(struct swift_request){.method = "DELETE", .path = p->path}, &response, e));
	if (response.status != 204 && response.status != 200 && response.status != 404)
		return swift_status_error(&response, e, "cannot remove a probe");
	return ERR_OK;
}

static enum err_code try_object(struct swift *s, struct probe *p, struct err *e)
{
	TRY(swift_retry(s, put_first, p, e));
	TRY(swift_retry(s, get_whole, p, e));
	TRY(swift_retry(s, get_range, p, e));
	return swift_retry(s, put_second, p, e);
}

/* ---- what the server says of itself ---- */

/* "https://host/v1/AUTH_a" has it at "https://host/info"; what stands before "/v1" stays. */
static char *info_url(TALLOC_CTX *ctx, const char *storage_url)
{
	const char *path = strstr(storage_url, "://"), *version;

	path = path ? path + 3 + strcspn(path + 3, "/") : storage_url;
	version = strstr(path, "/v1");
	return talloc_asprintf(ctx, "%.*s/info", (int)((version ? version : path) - storage_url), storage_url);
}

static size_t bulk_max_of(const struct http_response *response)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *bulk;
	uint64_t deletes = SWIFT_BULK_MAX, failures = SWIFT_BULK_MAX;

	if (json_parse(response->body.bytes, response->body.len, INFO_MAX, "", &json, NULL) != ERR_OK)
		return 0;
	bulk = json_object(json, "bulk_delete");
	if (!bulk)
		return 0;
	json_size(bulk, "max_deletes_per_request", &deletes);
	json_size(bulk, "max_failed_deletes", &failures);
	return (size_t)MIN(MIN(deletes, failures), (uint64_t)SWIFT_BULK_MAX);
}

/* A server that does not tell, or tells something else, has nothing to offer. */
static enum err_code ask_info(struct swift *s, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};
	struct patience patience = {.deadline_ms = clock_monotonic_ms() + s->settings.request_ms};
	struct swift_access access;

	(void)arg;
	TRY(swift_session_access(s->session, ctx, 0, &access, e));
	TRY(http_send(s->http,
	              &(struct http_request){.method = "GET",
	                                     .url = info_url(ctx, access.storage_url),
	                                     .memory_max = INFO_MAX,
	                                     .patience = &patience},
	              &response, e));
	if (response.status == 429 || response.status >= 500)
		return swift_status_error(&response, e, "cannot ask for /info");
	s->bulk_max = response.status == 200 ? bulk_max_of(&response) : 0;
	return ERR_OK;
}

enum err_code swift_probe(struct swift *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct probe p = {0};
	enum err_code code;

	random_bytes(p.bytes, sizeof(p.bytes));
	p.etag = swift_etag_of(p.bytes, sizeof(p.bytes));
	p.path = swift_path(ctx, s, talloc_asprintf(ctx, "%sprobe/%s", s->settings.key_prefix, p.etag.text));
	TRY(swift_retry(s, find_container, NULL, e));
	code = try_object(s, &p, e);
	if (code != ERR_OK) {
		if (p.put)
			(void)!delete_probe(s, &p, NULL);
		return code;
	}
	TRY(swift_retry(s, delete_probe, &p, e));
	return swift_retry(s, ask_info, NULL, e);
}
