/*
 * registry_auth: how a registry is told who asks: not at all, with Basic credentials, or with bearer tokens that its
 * token server hands out for each repository (distribution token specification, RFC 6750).
 *
 *     header = registry_auth_header(auth, ctx, repository);
 *     ... send; on status 401:
 *     TRY(registry_auth_answer(auth, ctx, repository, &header, base_url, &response, patience, e));
 *     ... send again, once; a second 401 is final
 *
 * Tokens are kept until shortly before they expire, for the repositories used last. Any number of threads.
 */
#ifndef COMMON_REGISTRY_AUTH_H
#define COMMON_REGISTRY_AUTH_H

#include "common/http.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

/* What a WWW-Authenticate header asks for. Texts are "" where it does not say. */
struct challenge {
	enum challenge_scheme scheme;
	const char *realm, *service, *scope;
};

/* From the values of all WWW-Authenticate headers (NULL-terminated): the first bearer challenge with a realm, else
 * Basic, else none. Never fails: what cannot be understood is skipped. Texts hang on ctx. */
void challenge_parse(TALLOC_CTX *ctx, char *const *values, struct challenge *c);

struct registry_auth_options {
	const char *registry; /* its name, for messages */
	const char *user, *password;
	const char *token;
};

struct registry_auth;

/* Texts are copied. http must outlive the result, which hangs on ctx. */
struct registry_auth *registry_auth_new(TALLOC_CTX *ctx, struct http_client *http,
                                        const struct registry_auth_options *options);

/* The value for the Authorization header, on ctx; NULL: send none. */
char *registry_auth_header(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository);

/*
 * After a 401 to a request that had *header (NULL: none), at base_url ("https://host:port"): does what the answer asks
 * for, getting a new token if need be, and replaces *header by one, on ctx, that is worth another try.
 * ERR_UNAUTHENTICATED when it is not: no credentials, or they were refused. ERR_FORBIDDEN: the token server refuses, or
 * is at a place where credentials must not go. The token server's failures pass through, retryable as they are.
 */
enum err_code registry_auth_answer(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository,
                                   const char **header, const char *base_url, const struct http_response *response,
                                   const struct patience *patience, struct err *e) MUST_CHECK;

#endif
