/*
 * s3_conn: what the parts of the driver s3 share. See s3.c for what it is.
 */
#ifndef GATEWAY_DRIVERS_S3_CONN_H
#define GATEWAY_DRIVERS_S3_CONN_H

#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/drivers/s3_client.h"

#include <pthread.h>
#include <stdatomic.h>

struct driver_conn {
	struct s3_client *client;
	struct s3_credentials *credentials;
	char *base; /* what all keys begin with: prefix and store */
	char *identity;
	bool conditional_put;        /* the server takes If-None-Match; set by the probe */
	atomic_bool no_multi_delete; /* the server has no removal of many at once */
	atomic_int doubts;           /* so many more answers "not there" are doubted */
	_Atomic int64_t worked_ms;   /* clock_monotonic_ms() when a request last went well */
	struct s3_window *window;    /* s3_list.c */
};

/* <base><hex>-<number>; on ctx. */
char *s3_key_of(TALLOC_CTX *ctx, const struct driver_conn *c, const struct location *at);

/* False: a key that is not of that form. */
bool s3_key_parse(const struct driver_conn *c, const char *key, struct location *at);

/* One object, whole, as s3_send has it. get: more than size bytes are ERR_CORRUPT. */
enum err_code s3_object_put(struct driver_conn *c, const char *key, const void *bytes, size_t len, bool only_if_absent,
                            struct s3_refusal *refusal, struct err *e) MUST_CHECK;
enum err_code s3_object_get(struct driver_conn *c, const char *key, void *into, size_t size, size_t *got,
                            struct s3_refusal *refusal, struct err *e) MUST_CHECK;

/* None of the keys is there any more, or never was. Any number of them. */
enum err_code s3_keys_remove(struct driver_conn *c, char *const *keys, size_t count, struct err *e) MUST_CHECK;

/* One page of the keys that begin with prefix, in the server's order. *next: where the next page begins, NULL: this was
 * the last; on ctx. max: at most 1000. */
typedef void (*s3_key_visit)(void *arg, const char *key);
enum err_code s3_keys_page(struct driver_conn *c, TALLOC_CTX *ctx, const char *prefix, const char *from, unsigned max,
                           s3_key_visit visit, void *arg, char **next, struct err *e) MUST_CHECK;

/* driver.h's list. */
void s3_window_init(struct driver_conn *c);
enum err_code s3_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                      size_t *count, struct err *e) MUST_CHECK;

/* Finds out what the server can do, and whether it is one; makes the bucket if that is wanted. */
enum err_code s3_probe(struct driver_conn *c, bool create_bucket, struct err *e) MUST_CHECK;

#endif
