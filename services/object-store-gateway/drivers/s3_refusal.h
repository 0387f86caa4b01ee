/*
 * s3_refusal: what a server of S3 means when it does not do what it was asked.
 *
 * A refusal is a status and, where the server speaks S3, a code such as "NoSuchKey". The code says more than the status
 * (SignatureDoesNotMatch and AccessDenied are both 403), and only a 404 with a code says that something is not there:
 * that of a stray proxy says nothing. Servers also refuse within an answer of status 200.
 */
#ifndef GATEWAY_DRIVERS_S3_REFUSAL_H
#define GATEWAY_DRIVERS_S3_REFUSAL_H

#include "common/http.h"

struct s3_refusal {
	int status;
	char code[64];     /* of the server, "" when it gave none */
	char message[160]; /* its words, "" when it gave none */
	char region[40];   /* where it says that the bucket is, "" when it does not */
};

/* True when the answer is a refusal, whatever its status. */
bool s3_refusal_read(const struct http_response *response, struct s3_refusal *r);

bool s3_refusal_is(const struct s3_refusal *r, const char *code);

/* The error for a refusal; what begins its text. ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_NOT_FOUND (bucket or key),
 * ERR_PRECONDITION, ERR_UNSUPPORTED, ERR_INVALID, ERR_EXHAUSTED (no space, a quota), ERR_UNAVAILABLE (worth another
 * try), ERR_INTERNAL (not understood). */
enum err_code s3_refusal_error(const struct s3_refusal *r, const char *what, struct err *e);

/* The error for a code alone, as in the answer to a removal of many. */
enum err_code s3_refusal_of_code(const char *code);

#endif
