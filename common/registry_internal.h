/*
 * registry_internal: what common/registry*.c share: one request to the registry, with its credentials and over the
 * scheme that it speaks.
 */
#ifndef COMMON_REGISTRY_INTERNAL_H
#define COMMON_REGISTRY_INTERNAL_H

#include "common/http.h"
#include "common/registry.h"
#include "common/registry_auth.h"

#include <pthread.h>

enum registry_scheme { REGISTRY_SCHEME_UNKNOWN, REGISTRY_SCHEME_HTTPS, REGISTRY_SCHEME_HTTP };

struct registry {
	const char *name; /* as in references */
	const char *host; /* to connect to, with port */
	const char *who;  /* for messages: "user 'joe'" */
	bool plain_allowed;
	struct retry_policy retry;
	struct http_client *http;
	struct registry_auth *auth;
	pthread_mutex_t lock; /* guards scheme */
	enum registry_scheme scheme;
};

struct registry_request {
	const struct reference *reference; /* whose repository */
	const char *kind, *name;           /* "manifests" or "blobs", and which one */
	const char *const *headers;        /* NULL-terminated */
	http_begin begin;
	http_sink sink;
	void *arg;
	size_t memory_max;
	const struct patience *patience;
};

/* One attempt at a GET: chooses the scheme, sends credentials, renews them once on 401. Like http_send, it succeeds
 * with whatever status the registry answers, but for 401. */
enum err_code registry_send(struct registry *r, const struct registry_request *request, struct http_response *response,
                            struct err *e) MUST_CHECK;

/* A status that is no success, as an error that has the registry's own words in it. what is the thing asked for. */
enum err_code registry_status_error(const struct http_response *response, const char *what, struct err *e);

#endif
