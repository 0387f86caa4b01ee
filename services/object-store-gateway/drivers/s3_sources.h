/*
 * s3_sources: where credentials come from when the configuration has none.
 *
 *   environment  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   file         AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, section AWS_PROFILE or "default"
 *   web identity AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, exchanged at the token service (AWS_ENDPOINT_URL_STS)
 *   container    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN(_FILE)
 *   machine      instance metadata, version 2 only, unless AWS_EC2_METADATA_DISABLED
 *
 * Each is asked again whenever keys are needed: files are read anew, so that what rotates them is noticed.
 */
#ifndef GATEWAY_DRIVERS_S3_SOURCES_H
#define GATEWAY_DRIVERS_S3_SOURCES_H

#include "common/http.h"

struct s3_found {
	const char *access_key, *secret_key, *token; /* token may be NULL */
	int64_t expires_ms;                          /* Unix time; 0: never */
};

struct s3_source_context {
	struct http_client *http;     /* for the token service */
	struct http_client *metadata; /* for what is next door: gives up soon */
	const char *region;           /* may be NULL */
};

/* ERR_NOT_FOUND: not set up here, ask the next. Results hang on ctx. */
typedef enum err_code (*s3_source)(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                   struct err *e);

enum err_code s3_source_environment(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                    struct err *e) MUST_CHECK;
enum err_code s3_source_file(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                             struct err *e) MUST_CHECK;
enum err_code s3_source_web_identity(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                     struct err *e) MUST_CHECK;
enum err_code s3_source_container(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                  struct err *e) MUST_CHECK;
enum err_code s3_source_machine(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                struct err *e) MUST_CHECK;

/* A variable of the environment; NULL when it is not set or empty. */
const char *s3_variable(const char *name);

/* The content of a small text file, without the blanks and newlines at its end. */
enum err_code s3_read_file(TALLOC_CTX *ctx, const char *path, char **text, struct err *e) MUST_CHECK;

/* The request's answer, repeated a few times while the other side is unwell; any status but 200 is an error that begins
 * with what. */
enum err_code s3_ask(struct http_client *http, const char *what, const struct http_request *request,
                     struct http_response *response, struct err *e) MUST_CHECK;

#endif
