#include "common/clock.h"
#include "common/http_internal.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_MS 10000
#define STALL_MS 30000
#define STALL_BYTES KIB
#define READ_SIZE (256L * 1024)

/* One exchange, as the callbacks see it. What goes wrong in them stands in fault; curl only says that they refused. */
struct hop {
	CURL *curl;
	const struct http_client_options *options;
	const struct http_request *request;
	struct http_response *response;
	char where[200]; /* host and port: URLs may hold signatures, which are for nobody's log */
	bool begun, to_sink, cut;
	int64_t window_start_ms, window_sink_ms; /* since when progress is measured, and what the sink took of it */
	uint64_t window_bytes;
	curl_off_t uploaded; /* at the start of the window */
	struct err fault;
	enum err_code code;
};

static bool is_success(int status)
{
	return status >= 200 && status < 300;
}

/* Status line and headers are complete. */
static enum err_code begin_body(struct hop *h)
{
	const struct http_request *request = h->request;
	struct http_response *response = h->response;
	curl_off_t length = -1;
	long status = 0;

	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(h->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	h->begun = true;
	response->status = (int)status;
	response->has_length = length >= 0;
	response->length = length >= 0 ? (uint64_t)length : 0;
	h->to_sink = request->sink && (status == 200 || status == 206);
	if (h->to_sink && request->begin)
		return request->begin(request->arg, response, &h->fault);
	if (!is_success(response->status))
		response->body.max = MIN(request->memory_max, (size_t)HTTP_COMPLAINT_MAX);
	else
		response->body.max = request->memory_max;
	return ERR_OK;
}

static enum err_code keep_body(struct hop *h, const char *bytes, size_t len)
{
	struct buf *body = &h->response->body;

	if (len <= body->max - body->len) {
		buf_add(body, bytes, len);
		return buf_failed(body) ? ERR(&h->fault, ERR_EXHAUSTED, "no memory for an answer") : ERR_OK;
	}
	if (is_success(h->response->status))
		return ERR(&h->fault, ERR_TOO_LARGE, "%s: answer is larger than %zu bytes", h->where, body->max);
	buf_add(body, bytes, body->max - body->len);
	h->cut = true;
	return ERR_CANCELLED;
}

static enum err_code pass_to_sink(struct hop *h, const char *bytes, size_t len)
{
	int64_t start = clock_monotonic_ms();
	enum err_code code = h->request->sink(h->request->arg, bytes, len, &h->fault);

	h->window_sink_ms += clock_monotonic_ms() - start;
	return code;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
	struct hop *h = arg;

	(void)one;
	h->window_bytes += len;
	if (!h->begun)
		h->code = begin_body(h);
	if (h->code == ERR_OK)
		h->code = h->to_sink ? pass_to_sink(h, bytes, len) : keep_body(h, bytes, len);
	return h->code == ERR_OK ? len : 0;
}

static size_t on_header(char *bytes, size_t one, size_t len, void *arg)
{
	struct hop *h = arg;
	struct buf *headers = &h->response->headers;
	size_t used = len;

	(void)one;
	h->window_bytes += len;
	/* A new status line: what came before was an interim answer. */
	if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
		buf_reset(headers);
	while (used > 0 && (bytes[used - 1] == '\r' || bytes[used - 1] == '\n' || bytes[used - 1] == ' '))
		used--;
	if (used > 0 && !memchr(bytes, '\0', used)) {
		buf_add(headers, bytes, used);
		buf_add_char(headers, '\n');
	}
	if (!buf_failed(headers))
		return len;
	h->code = ERR(&h->fault, ERR_TOO_LARGE, "%s: headers of the answer are larger than %zu bytes", h->where,
	              headers->max);
	return 0;
}

/* Called by curl at least once a second, whatever the connection does. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct hop *h = arg;
	int64_t now = clock_monotonic_ms(), limit = h->options->stall_ms ? h->options->stall_ms : STALL_MS;
	uint64_t least = h->options->stall_bytes ? h->options->stall_bytes : STALL_BYTES, moved;

	(void)down_total, (void)down, (void)up_total;
	if (h->code == ERR_OK)
		h->code = patience_check(h->request->patience, h->where, &h->fault);
	if (h->code != ERR_OK)
		return 1;
	if (now - h->window_start_ms - h->window_sink_ms < limit)
		return 0;
	moved = h->window_bytes + (uint64_t)(up - h->uploaded);
	if (moved < least) {
		h->code = ERR(&h->fault, ERR_DEADLINE, "%s: stalled, only %llu bytes in %lld ms", h->where,
		              (unsigned long long)moved, (long long)limit);
		return 1;
	}
	h->uploaded = up;
	h->window_start_ms = now;
	h->window_sink_ms = 0;
	h->window_bytes = 0;
	return 0;
}

static bool header_is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

static enum err_code add_header(struct curl_slist **list, const char *text, struct err *e)
{
	struct curl_slist *longer;

	if (!header_is_clean(text))
		return ERR(e, ERR_INVALID, "a request header would hold a control character");
	longer = curl_slist_append(*list, text);
	if (!longer)
		return ERR(e, ERR_EXHAUSTED, "no memory for request headers");
	*list = longer;
	return ERR_OK;
}

static enum err_code make_headers(const struct http_request *request, bool authorized, struct curl_slist **list,
                                  struct err *e)
{
	SCRATCH_CTX(ctx);

	for (const char *const *h = request->headers; h && *h; h++)
		TRY(add_header(list, *h, e));
	/* Without this, curl waits for leave before it sends a body. */
	if (request->body)
		TRY(add_header(list, "Expect:", e));
	if (authorized && request->authorization)
		TRY(add_header(list, talloc_asprintf(ctx, "Authorization: %s", request->authorization), e));
	return ERR_OK;
}

static void set_method(CURL *curl, const struct http_request *request)
{
	if (strcmp(request->method, "HEAD") == 0) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return;
	}
	if (request->body || strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body ? request->body : "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_limits(CURL *curl, const struct http_client_options *options, const struct http_request *request)
{
	int64_t left = patience_left(request->patience);

	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
	                 (long)(options->connect_ms ? options->connect_ms : CONNECT_MS));
	/* Its clock rounds in another way: a little later than ours, so that the deadline is what is told. */
	if (left < INT32_MAX)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left + 2);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, READ_SIZE);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, options->user_agent ? options->user_agent : "stowage");
}

static void set_trust(CURL *curl, const struct http_client_options *options)
{
	if (options->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
	if (options->skip_verify) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_callbacks(CURL *curl, struct hop *h)
{
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, h);
}

static enum err_code connect_error(struct hop *h, CURLcode result, const char *words, struct err *e)
{
	const char *where = h->where;
	long sys = 0;

	curl_easy_getinfo(h->curl, CURLINFO_OS_ERRNO, &sys);
	switch ((int)result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return ERR(e, ERR_UNAVAILABLE, "%s: the host is not known (%s)", where, words);
	case CURLE_COULDNT_CONNECT:
		h->response->refused_tls = true;
		return ERR(e, ERR_UNAVAILABLE, "%s: no connection (%s)", where, sys ? strerror((int)sys) : words);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		return ERR(e, ERR_PRECONDITION, "%s: the certificate is not trusted (%s)", where, words);
	case CURLE_SSL_CACERT_BADFILE:
		return ERR(e, ERR_PRECONDITION, "%s: the file of trusted certificates cannot be used (%s)", where,
		           words);
	default:
		h->response->refused_tls = true;
		return ERR(e, ERR_UNAVAILABLE, "%s: no TLS connection (%s)", where, words);
	}
}

static enum err_code curl_error(struct hop *h, CURLcode result, const char *buffer, struct err *e)
{
	/* curl's own words about what happened, or the general ones for its code. */
	const char *words = buffer[0] ? buffer : curl_easy_strerror(result), *where = h->where;

	switch ((int)result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CONNECT_ERROR:
		return connect_error(h, result, words, e);
	case CURLE_OPERATION_TIMEDOUT:
		TRY(patience_check(h->request->patience, where, e));
		return ERR(e, ERR_UNAVAILABLE, "%s: no connection in time (%s)", where, words);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_LOGIN_DENIED:
		return ERR(e, ERR_INVALID, "%s: request or answer is not proper http (%s)", where, words);
	case CURLE_OUT_OF_MEMORY:
		return ERR(e, ERR_EXHAUSTED, "%s: no memory for a request", where);
	default:
		return ERR(e, ERR_UNAVAILABLE, "%s: connection lost (%s)", where, words);
	}
}

static enum err_code finish(struct hop *h, CURLcode result, const char *buffer, struct err *e)
{
	if (result == CURLE_OK && !h->begun)
		h->code = begin_body(h);
	if (h->cut)
		return ERR_OK;
	if (h->code != ERR_OK) {
		if (e)
			*e = h->fault;
		return h->code;
	}
	return result == CURLE_OK ? ERR_OK : curl_error(h, result, buffer, e);
}

static void note_where(struct hop *h, const char *url)
{
	const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;

	snprintf(h->where, sizeof(h->where), "%.*s", (int)MIN(strcspn(host, "/?#"), sizeof(h->where) - 1), host);
}

enum err_code http_hop(CURL *curl, const struct http_client_options *options, const struct http_request *request,
                       const char *url, bool authorized, struct http_response *response, struct err *e)
{
	struct hop h = {.curl = curl, .options = options, .request = request, .response = response};
	char buffer[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	enum err_code code;
	CURLcode result;

	http_response_release(response);
	http_response_init(response);
	note_where(&h, url);
	TRY(patience_check(request->patience, h.where, e));
	code = make_headers(request, authorized, &headers, e);
	if (code == ERR_OK) {
		curl_easy_reset(curl);
		set_limits(curl, options, request);
		set_trust(curl, options);
		set_callbacks(curl, &h);
		set_method(curl, request);
		if (http_host_is_loopback(h.where) || http_host_is_on_link(h.where))
			curl_easy_setopt(curl, CURLOPT_PROXY, "");
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, buffer);
		h.window_start_ms = clock_monotonic_ms();
		result = curl_easy_perform(curl);
		code = finish(&h, result, buffer, e);
		/* The handle outlives both. */
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	}
	curl_slist_free_all(headers);
	return code;
}
