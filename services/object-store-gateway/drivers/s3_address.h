/*
 * s3_address: where the bucket is, and how a request for one of its keys is written.
 *
 * Path style puts the bucket first in the path (http://host/bucket/key), virtual-host style first in the host name
 * (https://bucket.host/key). S3_STYLE_AUTO takes the second at Amazon, for names that a certificate covers, and the
 * first everywhere else. Without a url it is Amazon's endpoint of the region.
 */
#ifndef GATEWAY_DRIVERS_S3_ADDRESS_H
#define GATEWAY_DRIVERS_S3_ADDRESS_H

#include "common/err.h"

enum s3_style { S3_STYLE_AUTO, S3_STYLE_PATH, S3_STYLE_HOST };

struct s3_address {
	char *scheme, *authority; /* host, with the port where it is not the scheme's own */
	char *path;               /* before the bucket; "" mostly */
	char *bucket;
	bool host_style;
	bool amazon; /* the authority follows the region */
};

/* A request's address in parts, as it is signed, and whole. */
struct s3_target {
	char *url, *scheme, *host, *path, *query; /* query may be NULL */
};

/* url may be NULL. ERR_INVALID: no http or https URL, no name of a bucket. Hangs on ctx. */
enum err_code s3_address_new(TALLOC_CTX *ctx, const char *url, const char *region, const char *bucket,
                             enum s3_style style, struct s3_address **out, struct err *e) MUST_CHECK;

/* The bucket turned out to be in that region. */
void s3_address_move(struct s3_address *a, const char *region);

/* key: NULL for the bucket itself; is encoded here. query: encoded, may be NULL. Hangs on ctx. */
struct s3_target s3_address_target(TALLOC_CTX *ctx, const struct s3_address *a, const char *key, const char *query);

/* Where a redirect leads. ERR_INTERNAL: nowhere that an http request can go to, or from https to http. */
enum err_code s3_target_redirect(TALLOC_CTX *ctx, const struct s3_target *from, const char *location,
                                 struct s3_target *to, struct err *e) MUST_CHECK;

#endif
