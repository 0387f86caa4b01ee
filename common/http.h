/*
 * http: single requests through libcurl, with every length bounded.
 *
 *     TRY(http_client_new(ctx, &options, &client, e));
 *     ...
 *     CLEANUP(http_response_release) struct http_response response;
 *
 *     TRY(http_send(client, &(struct http_request){.method = "GET", .url = url, .memory_max = 64 * KIB}, &response,
 * e)); if (response.status != 200) return http_status_error(&response, e, "%s", url); use(response.body.bytes,
 * response.body.len);
 *
 * One call is one attempt: what is worth another try is the caller's decision (common/retry.h), because a new attempt
 * may need a new signature or another offset. An answer with whatever status is a success of http_send; a failure
 * means that there was no whole answer. The client keeps idle connections and hands them out; any number of threads may
 * use it at the same time, and each call blocks its thread.
 *
 * Proxies of the environment (https_proxy, http_proxy, no_proxy) are used, but not for loopback hosts, nor for those on
 * this machine's own link. Bodies are not decoded: what was sent is what arrives.
 *
 * Redirects are followed here, up to redirects_max, for GET and HEAD only, to http and https only, never from https to
 * http. request->authorization goes to the scheme, host and port of request->url, until a redirect leads elsewhere.
 *
 * Failures: ERR_UNAVAILABLE unknown host, no connection, connection lost; ERR_DEADLINE stalled, or the deadline passed;
 * ERR_CANCELLED; ERR_PRECONDITION the certificate is not trusted; ERR_TOO_LARGE body or headers beyond their limit;
 * ERR_INVALID not a URL; ERR_CORRUPT a redirect to nowhere, or too many; and whatever begin or sink returned.
 */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include "common/buf.h"
#include "common/err.h"
#include "common/retry.h"

#define HTTP_HEADERS_MAX (64 * KIB) /* of one answer, together */
#define HTTP_URL_MAX 8192
#define HTTP_COMPLAINT_MAX (64 * KIB)

struct http_client;

struct http_client_options { /* texts are copied; zero is a good value for everything */
	const char *user_agent;
	const char *ca_file; /* PEM; trusted instead of the system's authorities */
	bool skip_verify;
	int64_t connect_ms; /* 0: 10 s */
	int64_t stall_ms; /* a transfer of fewer than stall_bytes in such a time has stalled; 0: 30 s. The time that */
	uint64_t stall_bytes; /* the sink takes does not count. 0: 1 KiB */
};

struct http_response {
	int status;
	bool has_length;
	uint64_t length;    /* Content-Length, if has_length */
	bool elsewhere;     /* it comes from where a redirect led, not from the origin of the request's URL */
	bool refused_tls;   /* http_send failed: nothing listens there, or what does speaks no TLS */
	struct buf headers; /* as "name: value\n"; see http_header */
	struct buf body;    /* what did not go to the sink */
};

/* Called once, before the first byte for sink and also when there is none. An error ends the transfer. */
typedef enum err_code (*http_begin)(void *arg, const struct http_response *response, struct err *e);
typedef enum err_code (*http_sink)(void *arg, const void *bytes, size_t len, struct err *e);

struct http_request {
	const char *method, *url;
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const char *authorization;  /* value of that header; may be NULL */
	const void *body;           /* stays the caller's; may be NULL */
	size_t body_len;
	unsigned redirects_max; /* 0: a redirect is an answer like others */
	/* An answer of status 200 or 206 goes to begin (may be NULL) and sink. Without sink, and with any other status,
	 * its body is kept in response->body: beyond memory_max that is ERR_TOO_LARGE, but when the status is no
	 * success the body is only cut, at memory_max or HTTP_COMPLAINT_MAX. */
	http_begin begin;
	http_sink sink;
	void *arg;
	size_t memory_max;
	const struct patience *patience; /* may be NULL */
};

enum err_code http_client_new(TALLOC_CTX *ctx, const struct http_client_options *options, struct http_client **out,
                              struct err *e) MUST_CHECK;

/* response is initialised in any case; release it in any case. */
enum err_code http_send(struct http_client *c, const struct http_request *request, struct http_response *response,
                        struct err *e) MUST_CHECK;
void http_response_release(struct http_response *response);

/* The value of the first header of that name (any case), copied to ctx, or NULL. http_header_all gives all of them, a
 * NULL-terminated list. */
char *http_header(TALLOC_CTX *ctx, const struct http_response *response, const char *name);
char **http_header_all(TALLOC_CTX *ctx, const struct http_response *response, const char *name);

/* Turns a status that is not a success into an error: "what: status 404". 401, 403, 404, 409, 412, 413 have their
 * codes, 429 is ERR_EXHAUSTED, 408 and 5xx ERR_UNAVAILABLE, both with Retry-After in retry_ms; others ERR_INVALID. */
enum err_code http_status_error(const struct http_response *response, struct err *e, const char *fmt, ...) PRINTF(3, 4);

/* "Basic <base64>" on ctx. */
char *http_basic(TALLOC_CTX *ctx, const char *user, const char *password);

/* Scheme, host and port of a URL: what decides who may see credentials. The default port is filled in. */
struct http_origin {
	char scheme[8], host[264], port[8];
};

/* ERR_INVALID: not a URL of scheme http or https. */
enum err_code http_origin_parse(const char *url, struct http_origin *origin, struct err *e) MUST_CHECK;

/* True for localhost, 127.0.0.0/8 and [::1], with or without a port. No proxy is used for these. */
bool http_host_is_loopback(const char *host);

/* True for 169.254.0.0/16 and [fe80::]/10, where agents give this machine's credentials out, and for Amazon's own
 * [fd00:ec2::]/32; with or without a port. No proxy is used for these either: it would see the credentials, and ask
 * neighbours of its own. */
bool http_host_is_on_link(const char *host);

/* Text for a URL's query or path: everything but letters, digits and "-._~" as %XX. */
char *http_escape(TALLOC_CTX *ctx, const char *text);

#endif
