/*
 * request: what the handlers have in common: which image is meant, waiting for it to settle, the reply's item.
 */
#ifndef ARCHIVE_MANAGER_REQUEST_H
#define ARCHIVE_MANAGER_REQUEST_H

#include "services/archive-manager/archive.h"
#include "services/archive-manager/row.h"

struct request_image {
	struct digest digest;
	struct image_detail *known; /* NULL: the catalog does not know it; the digest was given as such */
};

/* image: a digest or a tag reference of the request's account. ERR_INVALID without an account. */
enum err_code request_find_image(struct rpc_call *call, const char *image, struct request_image *found,
                                 struct err *e) MUST_CHECK;

/* The row as it is once nothing is under way or wished for, or after wait_ms. Only half of the handler threads may wait
 * at a time; beyond that the answer comes soon, whatever it is. ERR_NOT_FOUND: there is no row (any more). */
enum err_code request_wait(struct rpc_call *call, const struct digest *digest, int64_t wait_ms, struct row *row,
                           struct err *e) MUST_CHECK;

/* On call->ctx; strings are the row's. */
struct archive_item *request_item(struct rpc_call *call, const struct row *row);

#endif
