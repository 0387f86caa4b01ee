/*
 * s3_credentials: the keys that requests are signed with, fixed ones or such as the surroundings hand out for a while.
 *
 *     TRY(s3_credentials_new(ctx, &options, &credentials, e));
 *     ...
 *     TRY(s3_credentials_get(credentials, ctx, &key, e));
 *     ... sign with key.key; if the server says that it has expired: ...
 *     if (s3_credentials_expired(credentials, key.generation))
 *             ... get again
 *
 * With automatic (iamauto) the first of these that is set up is asked: the environment, the shared credentials file, a
 * web identity token, the container's endpoint, the machine's metadata service (s3_sources.h). A source that is set up
 * and fails is an error, not a reason to go on under another name. Keys that end are replaced five minutes before that,
 * by the thread that notices; others sign with what they have meanwhile, and wait only when it has ended. A source that
 * failed is left alone for some seconds as long as the old key is good.
 *
 * Any thread; get may block on files and the network. A key that was handed out belongs to the caller's context.
 */
#ifndef GATEWAY_DRIVERS_S3_CREDENTIALS_H
#define GATEWAY_DRIVERS_S3_CREDENTIALS_H

#include "common/err.h"
#include "common/sigv4.h"

struct s3_credentials;

struct s3_credentials_options { /* texts are copied */
	const char *access_key, *secret_key;
	bool automatic;      /* instead of these two */
	const char *region;  /* for the token service; NULL: as the environment says */
	const char *ca_file; /* for the token service; NULL: the system's authorities */
};

struct s3_key {
	struct sigv4_key key;
	uint64_t generation;
};

enum err_code s3_credentials_new(TALLOC_CTX *ctx, const struct s3_credentials_options *options,
                                 struct s3_credentials **out, struct err *e) MUST_CHECK;

/* ERR_UNAUTHENTICATED: there are none, or the source refuses; ERR_UNAVAILABLE, ERR_DEADLINE: it may have some later. */
enum err_code s3_credentials_get(struct s3_credentials *c, TALLOC_CTX *ctx, struct s3_key *out,
                                 struct err *e) MUST_CHECK;

/* The server does not take the key of that generation any more. True: another one may be had. */
bool s3_credentials_expired(struct s3_credentials *c, uint64_t generation);

#endif
