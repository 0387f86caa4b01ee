/*
 * set: package sets, named by the digest of what is in them (proto/document/package_set.h) and shared by all images and
 * accounts that have the same packages.
 *
 * A set arrives in parts of up to SET_PART_MAX packages, in any order and perhaps more than once, and is partial until
 * all are there and have the set's digest; then it is complete and never changes. Only complete sets can be named by an
 * image, by rows of image_set whose foreign key keeps the set. A set that is being removed has lost its digest, so that
 * the same set can be put anew in the meantime.
 *
 * Packages are shared among sets and found by their content.
 */
#ifndef CATALOG_SET_H
#define CATALOG_SET_H

#include "common/db.h"
#include "proto/messages.h"

#define SET_PART_MAX 1000

enum set_outcome {
	SET_PARTIAL,
	SET_COMPLETE,
	SET_CORRUPT, /* not what its digest says: dropped */
};

/* Inside a transaction, to be committed whatever the outcome. ERR_CONFLICT: a package was swept in this moment; once
 * more, in a new transaction, succeeds. ERR_INVALID: packages out of order. */
enum err_code set_put(struct db *db, const struct set_put_request *request, enum set_outcome *outcome,
                      struct err *e) MUST_CHECK;

/* Which of the sets have to be put; the others are touched. Inside a transaction. */
enum err_code set_need(struct db *db, TALLOC_CTX *ctx, const struct proto_digests *sets, struct proto_digests *missing,
                       struct err *e) MUST_CHECK;

/* Inside a transaction: the image names these sets from now on, and no others. ERR_CONFLICT names one that is not
 * complete. *packages: how many there are in all. */
enum err_code set_use(struct db *db, int64_t image, const struct image_set *sets, size_t count, int64_t *packages,
                      struct err *e) MUST_CHECK;
enum err_code set_use_none(struct db *db, int64_t image, struct err *e) MUST_CHECK;

/* Inside a transaction: unused sets lose their digest, a batch of them. */
enum err_code set_mark_unused(struct db *db, int64_t grace_ms, size_t *count, struct err *e) MUST_CHECK;

/* Inside a transaction: removes a batch of members of one set without digest, packages that nobody has then, and at the
 * end the set. *more: there is more to remove. */
enum err_code set_remove_some(struct db *db, bool *more, struct err *e) MUST_CHECK;

/* Inside a transaction: of the next few thousand packages after *after, removes those that no set has and that
 * set_remove_some missed because somebody was looking at them. *after goes round. */
enum err_code set_remove_strays(struct db *db, int64_t *after, struct err *e) MUST_CHECK;

#endif
