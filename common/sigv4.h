/*
 * sigv4: AWS Signature Version 4, as S3, STS and those who speak like them ask for it.
 *
 *     const struct sigv4_request request = {
 *             .method = "GET", .host = "bucket.s3.us-east-1.amazonaws.com", .path = "/a/b", .payload = SIGV4_EMPTY,
 *             .region = "us-east-1", .service = "s3", .wall_ms = clock_wall_ms()};
 *     struct sigv4_signed signed_request = sigv4_sign(ctx, &key, &request);
 *
 *     http_send(client, &(struct http_request){.headers = signed_request.headers,
 *                                              .authorization = signed_request.authorization, ...}, ...);
 *
 * A signature is good for the request as it goes out: method, host (with its port, where that is not the scheme's own),
 * path and query must be sent as they were signed, and it ages (servers allow some minutes), so each attempt is signed
 * anew. The key's parts may hold any character, a colon too.
 *
 * Nothing here fails but for want of memory, which ends the process. Nothing blocks. Any thread.
 */
#ifndef COMMON_SIGV4_H
#define COMMON_SIGV4_H

#include "common/base.h"

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* SHA-256 of no bytes */

struct sigv4_key {
	const char *access_key, *secret_key;
	const char *token; /* of temporary credentials; NULL or empty: none */
};

struct sigv4_request {
	const char *method, *host;
	const char *path;           /* percent-encoded as it is sent, begins with a slash; neither encoded nor tidied */
	const char *query;          /* percent-encoded, "a=1&b" in any order; NULL: none */
	const char *const *headers; /* others that are sent and signed, "Name: value"; NULL-terminated, may be NULL */
	const char *payload;        /* SHA-256 of the body in hexadecimal digits, or SIGV4_UNSIGNED */
	const char *region, *service;
	int64_t wall_ms; /* what the server's clock shows now, as far as is known */
};

struct sigv4_signed {
	const char **headers; /* request->headers, then X-Amz-Date, for S3 X-Amz-Content-Sha256, and the token's */
	const char *authorization;
};

/* The result hangs on ctx. */
struct sigv4_signed sigv4_sign(TALLOC_CTX *ctx, const struct sigv4_key *key, const struct sigv4_request *request);

#endif
