#include "common/json.h"
#include "common/registry_internal.h"

#include <string.h>

#define REDIRECTS_MAX 5
#define COMPLAINT_MAX 200 /* characters of the registry's words that are repeated */

static enum registry_scheme known_scheme(struct registry *r)
{
	enum registry_scheme scheme;

	pthread_mutex_lock(&r->lock);
	scheme = r->scheme;
	pthread_mutex_unlock(&r->lock);
	return scheme;
}

static void remember_scheme(struct registry *r, enum registry_scheme scheme)
{
	pthread_mutex_lock(&r->lock);
	r->scheme = scheme;
	pthread_mutex_unlock(&r->lock);
}

static char *base_url(TALLOC_CTX *ctx, const struct registry *r, enum registry_scheme scheme)
{
	return talloc_asprintf(ctx, "%s://%s", scheme == REGISTRY_SCHEME_HTTP ? "http" : "https", r->host);
}

static enum err_code send_with(struct registry *r, const struct registry_request *request, enum registry_scheme scheme,
                               const char *authorization, struct http_response *response, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct http_request plain = {
	    .method = "GET",
	    .url = talloc_asprintf(ctx, "%s/v2/%s/%s/%s", base_url(ctx, r, scheme), request->reference->repository,
	                           request->kind, request->name),
	    .headers = request->headers,
	    .authorization = authorization,
	    .redirects_max = REDIRECTS_MAX,
	    .begin = request->begin,
	    .sink = request->sink,
	    .arg = request->arg,
	    .memory_max = request->memory_max,
	    .patience = request->patience,
	};

	return http_send(r->http, &plain, response, e);
}

/* https first. A host that may be spoken to in the clear, and has nothing that speaks TLS, is asked in plain http; but
 * a 400 may be a TLS server's answer to that, and decides nothing. */
static enum err_code send_and_learn(struct registry *r, const struct registry_request *request,
                                    const char *authorization, enum registry_scheme *used,
                                    struct http_response *response, struct err *e)
{
	enum err_code code = send_with(r, request, REGISTRY_SCHEME_HTTPS, authorization, response, e), plain_code;
	struct err plain_error;

	*used = REGISTRY_SCHEME_HTTPS;
	if (code == ERR_OK)
		remember_scheme(r, REGISTRY_SCHEME_HTTPS);
	if (code == ERR_OK || !response->refused_tls || !r->plain_allowed ||
	    request->reference->scheme == REFERENCE_SCHEME_HTTPS)
		return code;
	http_response_release(response);
	plain_code = send_with(r, request, REGISTRY_SCHEME_HTTP, authorization, response, &plain_error);
	if (plain_code == ERR_OK && response->status == 400)
		return code;
	*used = REGISTRY_SCHEME_HTTP;
	if (plain_code == ERR_OK)
		remember_scheme(r, REGISTRY_SCHEME_HTTP);
	else
		*e = plain_error;
	return plain_code;
}

static enum err_code send_once(struct registry *r, const struct registry_request *request, const char *authorization,
                               enum registry_scheme *used, struct http_response *response, struct err *e)
{
	*used = known_scheme(r);
	if (request->reference->scheme == REFERENCE_SCHEME_HTTP) {
		if (!r->plain_allowed)
			return ERR(e, ERR_FORBIDDEN, "plain http to %s is not allowed: it is no insecure registry",
			           r->host);
		*used = REGISTRY_SCHEME_HTTP;
	} else if (request->reference->scheme == REFERENCE_SCHEME_HTTPS) {
		*used = REGISTRY_SCHEME_HTTPS;
	}
	if (*used == REGISTRY_SCHEME_UNKNOWN)
		return send_and_learn(r, request, authorization, used, response, e);
	return send_with(r, request, *used, authorization, response, e);
}

static enum err_code refused(const struct registry *r, const char *repository, const struct http_response *response,
                             struct err *e)
{
	SCRATCH_CTX(ctx);

	return registry_status_error(response, talloc_asprintf(ctx, "%s/%s for %s", r->name, repository, r->who), e);
}

enum err_code registry_send(struct registry *r, const struct registry_request *request, struct http_response *response,
                            struct err *e)
{
	const char *repository = request->reference->repository;
	SCRATCH_CTX(ctx);
	const char *authorization = registry_auth_header(r->auth, ctx, repository);
	enum registry_scheme used;

	*response = (struct http_response){0};
	TRY(send_once(r, request, authorization, &used, response, e));
	if (response->status != 401)
		return ERR_OK;
	/* What a stranger wants, a place where a redirect led, is not answered with the registry's credentials. */
	if (response->elsewhere)
		return refused(r, repository, response, e);
	TRY(registry_auth_answer(r->auth, ctx, repository, &authorization, base_url(ctx, r, used), response,
	                         request->patience, e));
	http_response_release(response);
	TRY(send_once(r, request, authorization, &used, response, e));
	return response->status == 401 ? refused(r, repository, response, e) : ERR_OK;
}

/* The first "CODE: message" of an error body, made printable; "" when there is none. */
static char *complaint(TALLOC_CTX *ctx, const struct http_response *response)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const cJSON *first = NULL;
	const char *code, *message;
	char *text;

	if (response->body.len == 0 ||
	    json_parse(response->body.bytes, response->body.len, HTTP_COMPLAINT_MAX, "error", &json, NULL) != ERR_OK)
		return talloc_strdup(ctx, "");
	first = cJSON_GetArrayItem(json_array(json, "errors"), 0);
	code = first ? json_text(first, "code") : NULL;
	message = first ? json_text(first, "message") : NULL;
	if (!code && !message)
		return talloc_strdup(ctx, "");
	text = talloc_asprintf(ctx, " (%s%s%s", code ? code : "", code && message ? ": " : "", message ? message : "");
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (strlen(text) > COMPLAINT_MAX)
		text[COMPLAINT_MAX] = '\0';
	return talloc_asprintf_append(text, ")");
}

static const char *words_for(int status)
{
	switch (status) {
	case 401:
		return "the registry refuses access";
	case 403:
		return "the registry denies access";
	case 404:
		return "not in the registry";
	case 429:
		return "the registry limits requests";
	default:
		return status >= 500 ? "the registry fails" : "the registry refuses the request";
	}
}

enum err_code registry_status_error(const struct http_response *response, const char *what, struct err *e)
{
	SCRATCH_CTX(ctx);

	return http_status_error(response, e, "%.250s: %s%s", what, words_for(response->status),
	                         complaint(ctx, response));
}
