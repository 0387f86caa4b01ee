/*
 * detail: an image in full, as image_get shows it and as its record in the archive keeps it; and pages of images.
 */
#ifndef CATALOG_DETAIL_H
#define CATALOG_DETAIL_H

#include "services/catalog/image.h"

#define DETAIL_TAGS_MAX 1000
#define DETAIL_LIST_TAGS_MAX 50 /* of one image in a page of many */

/* Everything hangs on ctx. documents (may be NULL): the names of the image's own objects. */
enum err_code detail_read(struct db *db, TALLOC_CTX *ctx, int64_t image, struct image_detail *detail,
                          struct proto_texts *documents, struct err *e) MUST_CHECK;

/* Newest first; reads nothing of jobs. */
enum err_code detail_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct image_list_request *request,
                          struct image_list_reply *reply, struct err *e) MUST_CHECK;

#endif
