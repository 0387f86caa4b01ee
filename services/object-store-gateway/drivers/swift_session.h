/*
 * swift_session: the token in use, shared by all threads and renewed by one of them at a time.
 *
 * A token is renewed when its life is nearly over (the last tenth of it, at most a minute), or when the back end has
 * refused it. Each token has a number: a thread whose token was refused says which one it was, so that ten threads
 * with the same refused token renew it once, and the eleventh, which comes late, gets the new one at once. While one
 * thread renews, the others wait for it and share what comes of it, success or failure. Nothing is tried twice in here:
 * whoever calls has a retry around it.
 *
 * If the renewal of a token fails that is not over yet, the old one is used as long as it lives.
 */
#ifndef GATEWAY_DRIVERS_SWIFT_SESSION_H
#define GATEWAY_DRIVERS_SWIFT_SESSION_H

#include "services/object-store-gateway/drivers/swift_auth.h"

struct swift_session;

struct swift_access {
	const char *token, *storage_url;
	uint64_t number; /* of the token; never 0 */
};

/* settings and http must outlive it. Nobody is asked yet. Hangs on ctx. */
struct swift_session *swift_session_new(TALLOC_CTX *ctx, struct http_client *http,
                                        const struct swift_settings *settings);

/* refused: the number of a token that is not to be used any more, 0: none. Texts of *out hang on ctx. Any thread; may
 * block for as long as an authentication takes. Fails as swift_authenticate does. */
enum err_code swift_session_access(struct swift_session *session, TALLOC_CTX *ctx, uint64_t refused,
                                   struct swift_access *out, struct err *e) MUST_CHECK;

#endif
