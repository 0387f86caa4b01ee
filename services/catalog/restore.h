/*
 * restore: images going to and coming from the archive; what the archive-manager's messages do. See portable.h.
 *
 * Coming back has two steps, with the copying of objects between them. restore_begin records the intent: the image's
 * row, rows for its layers (pending where they are not known) and the image's hold on them, so that no sweep takes what
 * is being copied. restore_finish makes all of it visible in one transaction. Begun and never finished, it is owned by
 * the image's row like everything else.
 */
#ifndef CATALOG_RESTORE_H
#define CATALOG_RESTORE_H

#include "services/catalog/catalog.h"
#include "services/catalog/portable.h"

/* Reads the image's record. ERR_PRECONDITION: never analysed, or only in the archive. ERR_CONFLICT: just being
 * analysed.
 */
enum err_code restore_export(struct db *db, TALLOC_CTX *ctx, struct image *image, struct portable *p,
                             struct err *e) MUST_CHECK;

/* Inside a transaction: the archive has that analysis now. */
enum err_code restore_note_archived(struct db *db, struct image *image, int64_t analysed_at, struct err *e) MUST_CHECK;

/* Inside a transaction. skip[i]: layer i is known, its objects are there. *needless: the image is in the working set.
 */
enum err_code restore_begin(struct db *db, TALLOC_CTX *ctx, const char *account, const struct portable *p, bool **skip,
                            bool *needless, struct err *e) MUST_CHECK;

/* Sets that the catalog does not have any more are made from the packages document, in transactions of their own. Then
 * the image is in the working set. ERR_CONFLICT: a layer or set went away meanwhile, begin again. */
enum err_code restore_finish(struct catalog *c, TALLOC_CTX *ctx, const char *account, const struct portable *p,
                             struct err *e) MUST_CHECK;

#endif
