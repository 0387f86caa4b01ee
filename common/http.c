#include "common/http_internal.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define IDLE_MAX 16

struct http_client {
	struct http_client_options options;
	pthread_mutex_t lock; /* guards idle and idle_count */
	CURL *idle[IDLE_MAX]; /* each with the connections it has open */
	size_t idle_count;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
	ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static int client_destroy(struct http_client *c)
{
	for (size_t i = 0; i < c->idle_count; i++)
		curl_easy_cleanup(c->idle[i]);
	pthread_mutex_destroy(&c->lock);
	return 0;
}

enum err_code http_client_new(TALLOC_CTX *ctx, const struct http_client_options *options, struct http_client **out,
                              struct err *e)
{
	struct http_client *c;

	pthread_once(&curl_once, start_curl);
	c = talloc_zero(ctx, struct http_client);
	if (!c)
		return ERR(e, ERR_EXHAUSTED, "no memory for an http client");
	c->options = *options;
	c->options.user_agent = talloc_strdup(c, options->user_agent ? options->user_agent : "stowage");
	c->options.ca_file = options->ca_file && options->ca_file[0] ? talloc_strdup(c, options->ca_file) : NULL;
	pthread_mutex_init(&c->lock, NULL);
	talloc_set_destructor(c, client_destroy);
	*out = c;
	return ERR_OK;
}

static CURL *take_handle(struct http_client *c)
{
	CURL *curl = NULL;

	pthread_mutex_lock(&c->lock);
	if (c->idle_count > 0)
		curl = c->idle[--c->idle_count];
	pthread_mutex_unlock(&c->lock);
	return curl ? curl : curl_easy_init();
}

static void give_handle(struct http_client *c, CURL *curl)
{
	pthread_mutex_lock(&c->lock);
	if (c->idle_count < IDLE_MAX) {
		c->idle[c->idle_count++] = curl;
		curl = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (curl)
		curl_easy_cleanup(curl);
}

void http_response_init(struct http_response *response)
{
	*response = (struct http_response){0};
	buf_init(&response->headers, HTTP_HEADERS_MAX);
	buf_init(&response->body, 0);
}

void http_response_release(struct http_response *response)
{
	buf_release(&response->headers);
	buf_release(&response->body);
}

static void curlu_cleanup(CURLU **url)
{
	curl_url_cleanup(*url);
}

static bool get_part(CURLU *url, CURLUPart part, unsigned flags, char *into, size_t size)
{
	char *text = NULL;
	bool fits;

	if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
		return false;
	fits = strlen(text) < size;
	if (fits)
		memcpy(into, text, strlen(text) + 1);
	curl_free(text);
	return fits;
}

static enum err_code origin_of(CURLU *url, struct http_origin *origin, struct err *e)
{
	if (!get_part(url, CURLUPART_SCHEME, 0, origin->scheme, sizeof(origin->scheme)) ||
	    !get_part(url, CURLUPART_HOST, 0, origin->host, sizeof(origin->host)) ||
	    !get_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, origin->port, sizeof(origin->port)) ||
	    (strcasecmp(origin->scheme, "http") != 0 && strcasecmp(origin->scheme, "https") != 0))
		return ERR(e, ERR_INVALID, "not an http or https URL");
	return ERR_OK;
}

static enum err_code parse_url(CURLU *url, const char *text, struct err *e)
{
	if (!url || strlen(text) > HTTP_URL_MAX || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return ERR(e, ERR_INVALID, "'%.100s' is not a URL", text);
	return ERR_OK;
}

enum err_code http_origin_parse(const char *text, struct http_origin *origin, struct err *e)
{
	CLEANUP(curlu_cleanup) CURLU *url = curl_url();

	TRY(parse_url(url, text, e));
	return origin_of(url, origin, e);
}

static bool same_origin(const struct http_origin *a, const struct http_origin *b)
{
	return strcasecmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
	       strcmp(a->port, b->port) == 0;
}

static bool is_redirect(const struct http_request *request, int status)
{
	return request->redirects_max > 0 &&
	       (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
	       (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0);
}

/* Moves url to where the answer points, and says in origin where that is. */
static enum err_code follow(CURLU *url, struct http_origin *origin, const struct http_response *response, struct err *e)
{
	struct http_origin from = *origin;
	SCRATCH_CTX(ctx);
	const char *location = http_header(ctx, response, "location");

	if (!location || !location[0])
		return ERR(e, ERR_CORRUPT, "%s:%s: status %d without a location", from.host, from.port,
		           response->status);
	if (strlen(location) > HTTP_URL_MAX || curl_url_set(url, CURLUPART_URL, location, 0) != CURLUE_OK ||
	    origin_of(url, origin, NULL) != ERR_OK)
		return ERR(e, ERR_CORRUPT, "%s:%s: redirects to something that is no http URL", from.host, from.port);
	if (strcasecmp(from.scheme, "https") == 0 && strcasecmp(origin->scheme, "https") != 0)
		return ERR(e, ERR_CORRUPT, "%s:%s: redirects from https to plain http at %s:%s", from.host, from.port,
		           origin->host, origin->port);
	return ERR_OK;
}

static enum err_code send_on(CURL *curl, struct http_client *c, const struct http_request *request,
                             struct http_response *response, struct err *e)
{
	CLEANUP(curlu_cleanup) CURLU *url = curl_url();
	struct http_origin first, origin;
	bool authorized = true;

	TRY(parse_url(url, request->url, e));
	TRY(origin_of(url, &first, e));
	origin = first;
	for (unsigned hops = 0;; hops++) {
		char *text = NULL;
		enum err_code code;

		if (curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
			return ERR(e, ERR_EXHAUSTED, "no memory for a URL");
		/* Once elsewhere, always elsewhere: a stranger must not send us back with credentials. */
		authorized = authorized && same_origin(&first, &origin);
		code = http_hop(curl, &c->options, request, text, authorized, response, e);
		curl_free(text);
		TRY(code);
		response->elsewhere = !authorized;
		if (!is_redirect(request, response->status))
			return ERR_OK;
		if (hops == request->redirects_max)
			return ERR(e, ERR_CORRUPT, "%s:%s: more than %u redirects", first.host, first.port, hops);
		TRY(follow(url, &origin, response, e));
	}
}

enum err_code http_send(struct http_client *c, const struct http_request *request, struct http_response *response,
                        struct err *e)
{
	CURL *curl = take_handle(c);
	enum err_code code;

	http_response_init(response);
	if (!curl)
		return ERR(e, ERR_EXHAUSTED, "no memory for an http request");
	code = send_on(curl, c, request, response, e);
	give_handle(c, curl);
	return code;
}
