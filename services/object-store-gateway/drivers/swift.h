/*
 * swift: what the parts of the driver share: its state, the names of its objects, and a request.
 *
 * A chunk is the object
 *
 *     <anchore_key_prefix><store>/<number>-<hex>
 *
 * with 19 digits for the number, so that the order of names is the order of numbers, which driver_list promises, and a
 * container's listing is that list.
 *
 * A request goes out with the token of the session. A 401 renews the token and sends the request once more; nothing
 * else is repeated here. An operation is an attempt, written as a function, that swift_retry repeats:
 *
 *     return swift_retry(s, put_once, &put, e);
 *
 * Every error says which container is meant. Credentials that are refused, a permission or container that is gone are,
 * once the driver is open, ERR_UNAVAILABLE to the gateway: they are the operator's business and no client's.
 *
 * Blocking, any thread.
 */
#ifndef GATEWAY_DRIVERS_SWIFT_H
#define GATEWAY_DRIVERS_SWIFT_H

#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/drivers/swift_session.h"

#define SWIFT_BULK_MAX 1000 /* names in one bulk delete, if the back end takes so many */

struct swift { /* not changed once it is open */
	struct swift_settings settings;
	struct http_client *http;
	struct swift_session *session;
	const char *prefix; /* of the names of this store's chunks */
	size_t bulk_max;    /* names that one bulk delete may have; 0: there is none */
	bool conditional;   /* a put with If-None-Match is refused when there is something; for the log */
};

struct swift_request {
	const char *method;
	const char *path;           /* below the account's URL, "" or "/container/name", escaped; see swift_path */
	const char *query;          /* without the question mark; may be NULL */
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const void *body;           /* stays the caller's; may be NULL */
	size_t body_len;
	http_begin begin; /* for these see common/http.h */
	http_sink sink;
	void *arg;
	size_t memory_max;  /* 0: 64 KiB */
	int64_t timeout_ms; /* 0: as configured */
	uint64_t refused;   /* number of a token that is not to be used; 0: none */
	uint64_t *token;    /* here goes the number of the one that was; may be NULL */
};

/* One exchange, or two when the token was refused. An answer with whatever status is a success. response is released
 * by the caller in any case. */
enum err_code swift_send(struct swift *s, const struct swift_request *request, struct http_response *response,
                         struct err *e) MUST_CHECK;

/* Repeats once on ERR_UNAVAILABLE and ERR_DEADLINE, with full jitter, as often as attempts and retry_budget allow, and
 * begins none when three times the timeout of one are over. */
enum err_code swift_retry(struct swift *s, enum err_code (*once)(struct swift *s, void *arg, struct err *e), void *arg,
                          struct err *e) MUST_CHECK;

char *swift_name(TALLOC_CTX *ctx, const struct swift *s, const struct location *at);

/* False: not the name of a chunk of this store. */
bool swift_parse_name(const struct swift *s, const char *name, struct location *at) MUST_CHECK;

/* "/container/name", escaped; name NULL: "/container". */
char *swift_path(TALLOC_CTX *ctx, const struct swift *s, const char *name);

/* Text for a path: everything is escaped but slashes. */
char *swift_escape(TALLOC_CTX *ctx, const char *text);

/* The MD5 that Swift calls ETag, in hex. */
struct swift_etag {
	char text[33];
};

struct swift_etag swift_etag_of(const void *bytes, size_t len);

/* True when the answer's ETag, quoted or not, is this one. */
bool swift_etag_agrees(const struct http_response *response, const struct swift_etag *etag);

/* Made and used by the driver's functions (swift.c): what driver.h says of them. */
enum err_code swift_remove(struct swift *s, const struct location *at, size_t count, struct err *e) MUST_CHECK;
enum err_code swift_list(struct swift *s, const struct location *after, struct location *into, size_t max,
                         size_t *count, struct err *e) MUST_CHECK;

/* The start-up probe: makes the container if it may, puts, reads and removes an object beside the chunks, and fills
 * bulk_max and conditional. Codes as of driver_open. */
enum err_code swift_probe(struct swift *s, struct err *e) MUST_CHECK;

#endif
