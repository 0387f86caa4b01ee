/*
 * s3_client: one request to a bucket, repeated until it is answered or it is not worth more.
 *
 *     struct s3_answer answer;
 *     enum err_code code = s3_send(client, &(struct s3_call){.what = "get", .method = "GET", .key = key, ...}, &answer,
 * e);
 *     ...
 *     s3_answer_release(&answer);
 *
 * What is temporary (429, 5xx, resets, timeouts, a success that holds an error) is tried again with full jitter, within
 * a number of attempts, a budget of waiting for each call, and a budget of repeats that all calls of the client share:
 * each repeat takes from it, each success gives back, so that an overloaded server is not asked many times as much as
 * a healthy one. Each attempt is signed anew.
 *
 * What the server teaches is learnt and the request sent again at once: the bucket's region, where a redirect leads,
 * what its clock shows (when it finds the signature's time wrong), and that temporary credentials have ended.
 *
 * Any thread; calls block. Connections are kept.
 */
#ifndef GATEWAY_DRIVERS_S3_CLIENT_H
#define GATEWAY_DRIVERS_S3_CLIENT_H

#include "services/object-store-gateway/drivers/s3_address.h"
#include "services/object-store-gateway/drivers/s3_credentials.h"
#include "services/object-store-gateway/drivers/s3_refusal.h"

#define S3_SMALL_MAX (64 * KIB) /* of an answer that has little to say */

struct s3_client;

struct s3_client_options {
	const char *url, *region; /* NULL: Amazon; found out */
	const char *bucket;
	enum s3_style style;
	const char *ca_file;
	int64_t timeout_ms;                 /* of one attempt; all of them together take at most three times that */
	struct s3_credentials *credentials; /* outlive the client */
};

struct s3_call {
	const char *what; /* for messages: "put"; the key follows */
	const char *method;
	const char *key;            /* NULL: the bucket */
	const char *query;          /* encoded; may be NULL */
	const char *const *headers; /* NULL-terminated; may be NULL */
	const void *body;           /* may be NULL */
	size_t body_len;
	void (*restart)(void *arg); /* before each attempt: what came so far does not count; may be NULL */
	http_begin begin;           /* as in http_request */
	http_sink sink;
	void *arg;
	size_t memory_max; /* 0: S3_SMALL_MAX */
	bool once;         /* no repeats */
};

struct s3_answer {
	struct http_response response; /* of the last attempt */
	struct s3_refusal refusal;     /* status 0: the last attempt was not refused, it went well or there was none */
};

enum err_code s3_client_new(TALLOC_CTX *ctx, const struct s3_client_options *options, struct s3_client **out,
                            struct err *e) MUST_CHECK;

/* ERR_OK: a status from 200 to 299 without an error in it. Else what s3_refusal_error, http_send, s3_credentials_get or
 * sink returned. answer is filled in any case; release it in any case. */
enum err_code s3_send(struct s3_client *c, const struct s3_call *call, struct s3_answer *answer,
                      struct err *e) MUST_CHECK;
void s3_answer_release(struct s3_answer *answer);

/* The region that requests are signed for now; on ctx. */
char *s3_client_region(struct s3_client *c, TALLOC_CTX *ctx);

/* "bucket 'b' at http://h", for messages; on ctx. */
char *s3_client_place(struct s3_client *c, TALLOC_CTX *ctx);

/* "h/b", the same however it is reached; on ctx. */
char *s3_client_identity(struct s3_client *c, TALLOC_CTX *ctx);

#endif
