/*
 * swift_auth: one authentication, v1 (Swift's own), v2 or v3 (OpenStack's identity service).
 *
 * What comes of it is a token, the URL of the account that it opens, and for how long. v1 says the URL in a header; v2
 * and v3 give a catalog of services, from which region and interface choose (swift_catalog.h).
 *
 * A token is as good as a password while it lives. It is never sent in the clear where the credentials were not: an
 * account's URL that is plain http, found by authenticating over https, is refused unless the configuration itself
 * names it.
 */
#ifndef GATEWAY_DRIVERS_SWIFT_AUTH_H
#define GATEWAY_DRIVERS_SWIFT_AUTH_H

#include "common/http.h"
#include "services/object-store-gateway/drivers/swift_settings.h"

struct swift_grant {
	const char *token, *storage_url; /* no slash at the URL's end */
	int64_t lives_ms;                /* counted from when it was asked for; 0: nobody said */
};

/* One attempt. ERR_UNAUTHENTICATED: refused; ERR_FORBIDDEN; ERR_UNAVAILABLE, ERR_DEADLINE: may be repeated;
 * ERR_INVALID: the catalog has no such region or interface, or leads to plain http; ERR_INTERNAL: an answer that is not
 * understood. */
enum err_code swift_authenticate(TALLOC_CTX *ctx, struct http_client *http, const struct swift_settings *settings,
                                 const struct patience *patience, struct swift_grant *out, struct err *e) MUST_CHECK;

/* Turns a status into an error, as all of Swift's answers are taken: what came of it, in words of this driver, with the
 * back end's number for the transaction. 401, 403, 404 have their codes; 408, 409, 422, 429, 498 and most of 5xx are
 * ERR_UNAVAILABLE, with Retry-After in retry_ms; 413 (a quota) and 507 ERR_EXHAUSTED; everything else is not
 * understood, ERR_INTERNAL. */
enum err_code swift_status_error(const struct http_response *response, struct err *e, const char *fmt, ...)
    PRINTF(3, 4);

#endif
