/*
 * swift: chunks as objects of a container of OpenStack Swift, over HTTP or HTTPS. Names, requests and retries: swift.h.
 */
#include "services/object-store-gateway/drivers/swift.h"

#include "common/log.h"

#include <string.h>

#define PING_MS 5000

struct driver_conn {
	struct swift swift;
	char *identity;
};

/* Who the configuration says it is. */
static const char *owner_of(const struct swift_settings *s)
{
	return s->project_id      ? s->project_id
	       : s->project_name  ? s->project_name
	       : s->tenant_name   ? s->tenant_name
	       : s->credential_id ? s->credential_id
	       : s->username      ? s->username
	                          : "";
}

/* The last part of the account's URL: the same whoever logs in, and by whatever interface. Some servers have none
 * there, but end with the version. */
static const char *account_of(const struct swift_settings *settings, const char *storage_url)
{
	const char *last = strrchr(storage_url, '/') + 1;
	bool version = last[0] == 'v' && last[1] >= '0' && last[1] <= '9' && strlen(last) <= 4;

	return last[0] && !version ? last : owner_of(settings);
}

/* Whose container it is, not how it is reached. */
static enum err_code identify(struct driver_conn *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct swift_settings *set = &c->swift.settings;
	struct swift_access access;
	struct http_origin origin;

	TRY(swift_session_access(c->swift.session, ctx, 0, &access, e));
	TRY(http_origin_parse(set->auth_url, &origin, e));
	c->identity =
	    talloc_asprintf(c, "%s:%s %s%s%s %s/%s", origin.host, origin.port, account_of(set, access.storage_url),
	                    set->region ? " in " : "", set->region ? set->region : "", set->container, c->swift.prefix);
	ASSERT(c->identity);
	return ERR_OK;
}

static enum err_code open_conn(struct driver_conn *c, const struct driver_setup *setup, struct err *e)
{
	struct swift *s = &c->swift;

	TRY(swift_settings_read(c, setup->config, &s->settings, e));
	s->settings.create_container &= !setup->must_exist;
	/* Attempts have deadlines; a bulk delete that works on says nothing for a long time. */
	TRY(http_client_new(c,
	                    &(struct http_client_options){.ca_file = s->settings.ca_file,
	                                                  .connect_ms = MIN(s->settings.request_ms, (int64_t)10000),
	                                                  .stall_ms = INT64_MAX / 2},
	                    &s->http, e));
	s->session = swift_session_new(c, s->http, &s->settings);
	s->prefix = talloc_asprintf(c, "%s%s/", s->settings.key_prefix, setup->store);
	TRY(swift_probe(s, e));
	return identify(c, e);
}

static const char *driver_swift_identity(struct driver_conn *c)
{
	return c->identity;
}

static enum err_code driver_swift_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
                                       struct err *e)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	enum err_code code;

	ASSERT(c);
	code = open_conn(c, setup, e);
	if (code != ERR_OK) {
		talloc_free(c);
		return code;
	}
	LOG_INFO("swift container opened", LOG_TEXT("store", setup->store),
	         LOG_TEXT("container", c->swift.settings.container), LOG_TEXT("prefix", c->swift.prefix),
	         LOG_NUMBER("bulk_delete", c->swift.bulk_max), LOG_NUMBER("conditional_put", c->swift.conditional));
	*out = c;
	return ERR_OK;
}

static void driver_swift_close(struct driver_conn *c)
{
	talloc_free(c);
}

/* What would have ended the start is, later, a back end that cannot be used for now: nobody's request is at fault. */
static enum err_code at_run_time(enum err_code code, struct err *e)
{
	switch ((int)code) {
	case ERR_UNAUTHENTICATED:
	case ERR_FORBIDDEN:
	case ERR_NOT_FOUND:
	case ERR_PRECONDITION:
	case ERR_INVALID:
		if (e)
			e->code = ERR_UNAVAILABLE;
		return ERR_UNAVAILABLE;
	default:
		return code;
	}
}

/* ---- put ---- */

struct put {
	const char *name;
	const void *bytes;
	size_t len;
	struct swift_etag etag;
};

/* Never with a condition, even where Swift has it: a put that reached one node of three and failed would then be
 * refused when it is repeated, and look like success, with a single copy. Without one it is written to all of them
 * again.
 *
 * The checksum goes along, so that Swift refuses what changed on the way (422), and is compared with what Swift says
 * it has, so that no back end that does not look is believed. */
static enum err_code put_once(struct swift *s, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};
	const struct put *p = arg;
	const char *const headers[] = {"Content-Type: application/octet-stream",
	                               talloc_asprintf(ctx, "ETag: %s", p->etag.text), NULL};
	const struct swift_request request = {.method = "PUT",
	                                      .path = swift_path(ctx, s, p->name),
	                                      .headers = headers,
	                                      .body = p->bytes,
	                                      .body_len = p->len};

	TRY(swift_send(s, &request, &response, e));
	if (response.status != 201)
		return swift_status_error(&response, e, "cannot put %.300s", p->name);
	if (!swift_etag_agrees(&response, &p->etag))
		return ERR(e, ERR_UNAVAILABLE, "put of %.300s: the back end has other bytes than were sent", p->name);
	return ERR_OK;
}

static enum err_code driver_swift_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                                      struct err *e)
{
	SCRATCH_CTX(ctx);
	struct put p = {swift_name(ctx, &c->swift, at), bytes, len, swift_etag_of(bytes, len)};

	return at_run_time(swift_retry(&c->swift, put_once, &p, e), e);
}

/* ---- get ---- */

struct get {
	const char *name;
	char *into;
	size_t size, got;
};

static enum err_code get_begin(void *arg, const struct http_response *response, struct err *e)
{
	struct get *g = arg;

	g->got = 0;
	if (response->status != 200 || !response->has_length)
		return ERR(e, ERR_INTERNAL, "get of %.300s: status %d %s a length is an answer that is not understood",
		           g->name, response->status, response->has_length ? "with" : "without");
	if (response->length > g->size)
		return ERR(e, ERR_CORRUPT, "%.300s has %llu bytes, more than %zu", g->name,
		           (unsigned long long)response->length, g->size);
	return ERR_OK;
}

static enum err_code get_sink(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct get *g = arg;

	if (len > g->size - g->got)
		return ERR(e, ERR_CORRUPT, "%.300s has more than %zu bytes", g->name, g->size);
	memcpy(g->into + g->got, bytes, len);
	g->got += len;
	return ERR_OK;
}

static enum err_code send_get(struct swift *s, struct get *g, bool newest, struct http_response *response,
                              struct err *e)
{
	static const char *const newest_headers[] = {"X-Newest: true", NULL};
	SCRATCH_CTX(ctx);
	const struct swift_request request = {.method = "GET",
	                                      .path = swift_path(ctx, s, g->name),
	                                      .headers = newest ? newest_headers : NULL,
	                                      .begin = get_begin,
	                                      .sink = get_sink,
	                                      .arg = g};

	return swift_send(s, &request, response, e);
}

/* Swift answers from the first copy that it reaches; a node that was away when the chunk was written says 404. With
 * X-Newest it asks all of them, so that is what an absence must be confirmed by. */
static enum err_code get_once(struct swift *s, void *arg, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct get *g = arg;

	TRY(send_get(s, g, false, &response, e));
	if (response.status == 404) {
		http_response_release(&response);
		TRY(send_get(s, g, true, &response, e));
	}
	if (response.status != 200)
		return swift_status_error(&response, e, "cannot get %.300s", g->name);
	if (g->got != response.length)
		return ERR(e, ERR_UNAVAILABLE, "get of %.300s: %zu of %llu bytes came", g->name, g->got,
		           (unsigned long long)response.length);
	return ERR_OK;
}

static enum err_code driver_swift_get(struct driver_conn *c, const struct location *at, void *into, size_t size,
                                      size_t *got, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct get g = {.name = swift_name(ctx, &c->swift, at), .into = into, .size = size};

	enum err_code code = swift_retry(&c->swift, get_once, &g, e);

	*got = g.got;
	return code == ERR_NOT_FOUND ? code : at_run_time(code, e);
}

/* ---- the rest ---- */

static enum err_code driver_swift_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	return at_run_time(swift_remove(&c->swift, at, count, e), e);
}

static enum err_code driver_swift_list(struct driver_conn *c, const struct location *after, struct location *into,
                                       size_t max, size_t *count, struct err *e)
{
	return at_run_time(swift_list(&c->swift, after, into, max, count, e), e);
}

static enum err_code driver_swift_ping(struct driver_conn *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};
	struct swift *s = &c->swift;
	const struct swift_request request = {.method = "HEAD",
	                                      .path = swift_path(ctx, s, NULL),
	                                      .timeout_ms = MIN(s->settings.request_ms, (int64_t)PING_MS)};

	if (swift_send(s, &request, &response, e) != ERR_OK)
		return err_wrap(e, "swift container %.100s", s->settings.container);
	if (response.status != 204 && response.status != 200)
		return swift_status_error(&response, e, "swift container %.100s", s->settings.container);
	return ERR_OK;
}

const struct driver driver_swift = {
    .name = "swift",
    .open = driver_swift_open,
    .identity = driver_swift_identity,
    .put = driver_swift_put,
    .get = driver_swift_get,
    .remove = driver_swift_remove,
    .list = driver_swift_list,
    .lists_late = true,
    .close = driver_swift_close,
    .ping = driver_swift_ping,
};
