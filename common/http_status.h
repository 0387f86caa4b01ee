/*
 * http_status: /healthz, /readyz and /metrics for orchestrators and Prometheus, on an HTTP port of their own.
 *
 *   /healthz  200 while alive() says so, else 503: restart me
 *   /readyz   200 while ready() succeeds, else 503 and the reason: send me no work
 *   /metrics  common/metrics.h in the Prometheus text format
 *
 * Everything else is 404, every method but GET and HEAD 405. Connections are few (16), short (5 s) and each has a
 * thread of its own, so that a ready() that blocks does not hold up /healthz. That ready() succeeded is good for a
 * second, that it failed for a twentieth of one, and while one thread asks, the others answer with what was found
 * before.
 */
#ifndef COMMON_HTTP_STATUS_H
#define COMMON_HTTP_STATUS_H

#include "common/buf.h"
#include "common/err.h"

struct http_status;

struct http_status_options {
	const char *listen; /* "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses), "localhost:0" (any port) */
	bool (*alive)(void *arg);
	enum err_code (*ready)(void *arg, struct err *e);
	void (*measure)(void *arg); /* before metrics are printed, to set gauges; may be NULL */
	void *arg;
};

/* Serves from now on, on threads of its own. ERR_INVALID: listen cannot be understood; ERR_UNAVAILABLE: not to be had.
 */
enum err_code http_status_start(TALLOC_CTX *ctx, const struct http_status_options *options, struct http_status **out,
                                struct err *e) MUST_CHECK;

uint16_t http_status_port(const struct http_status *s);

/* Waits until no callback runs any more. NULL is fine. */
void http_status_stop(struct http_status *s);

#endif
