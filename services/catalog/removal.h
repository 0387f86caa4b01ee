/*
 * removal: images that leave: altogether, or only the working set while the archive keeps them.
 *
 * Leaving begins in one transaction: the image gives up what it shares (layers; for good also sets and tags) and is
 * `deleting` or `detaching`. Its own objects go in the background, and only when they are gone does the row change
 * again. So a crash leaves a row that says what is left to do, and whoever runs next does it.
 *
 * Objects are not removed before the lease of a cancelled job has ended or its worker said that it stopped: until then
 * it may still write some.
 */
#ifndef CATALOG_REMOVAL_H
#define CATALOG_REMOVAL_H

#include "services/catalog/catalog.h"
#include "services/catalog/image.h"

/* All inside a transaction; image is read anew under its lock, onto ctx. An analysis under way is ERR_CONFLICT, or
 * cancelled with force. */
enum err_code removal_from_working_set(struct db *db, TALLOC_CTX *ctx, struct image *image, bool force,
                                       struct err *e) MUST_CHECK;

/* Out of the working set; ERR_PRECONDITION unless the archive has this very analysis. */
enum err_code removal_detach(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e) MUST_CHECK;

/* The archive does not have it any more: an image that was only there goes altogether. */
enum err_code removal_from_archive(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e) MUST_CHECK;

/* In the background: carries out what was begun, here or anywhere. One process at a time does. */
void removal_run(struct catalog *c);

#endif
