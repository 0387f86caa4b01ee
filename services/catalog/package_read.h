/*
 * package_read: pages of packages: those of an image, and images that have a package.
 *
 * Results hang on ctx. A cursor that is no cursor, or of an image that was analysed anew in between, is ERR_INVALID or
 * ERR_CONFLICT.
 */
#ifndef CATALOG_PACKAGE_READ_H
#define CATALOG_PACKAGE_READ_H

#include "common/db.h"
#include "proto/messages.h"

/* "os" stands for dpkg, apk and rpm. */
enum err_code package_read_image(struct db *db, TALLOC_CTX *ctx, int64_t image,
                                 const struct image_packages_request *request, struct image_packages_reply *reply,
                                 struct err *e) MUST_CHECK;

/* Archived images too. Ordered by version, package, image, place in the image. */
enum err_code package_read_hits(struct db *db, TALLOC_CTX *ctx, const char *account,
                                const struct package_find_request *request, struct package_find_reply *reply,
                                struct err *e) MUST_CHECK;

#endif
