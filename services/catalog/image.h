/*
 * image: an image of an account: which one is meant, where it is in its life, and how it changes.
 *
 * Three things change, each in one function with a table of what may follow what:
 *
 *  - state and residence together (image_move):
 *
 *        present/working -> present/both                       archived
 *        present/both -> present/working                       no longer archived
 *        present/both -> detaching/archived -> present/archived   left the working set; objects are removed meanwhile
 *        present/archived -> present/both                      restored, or analysed anew
 *        present/archived -> detaching/archived                what an analysis left behind is removed
 *        any but deleting -> deleting/working -> no row        removed; objects first, then the row
 *
 *    An image that is being deleted has no tags, layers or sets any more and is found by nobody but the removal.
 *  - status (image_follow_job): follows the state of the image's job. A bad end leaves an image that was analysed
 * before as it was: analysed.
 *  - the result (job_commit.c).
 */
#ifndef CATALOG_IMAGE_H
#define CATALOG_IMAGE_H

#include "common/db.h"
#include "proto/messages.h"

enum image_state { IMAGE_PRESENT, IMAGE_DETACHING, IMAGE_DELETING };

struct image {
	int64_t id;
	const char *account; /* on the ctx it was read with */
	struct digest digest;
	enum image_state state;
	enum residence residence;
	enum analysis_status status;
	int64_t analysed_at; /* 0: never */
	int64_t job;         /* the newest; 0: none ever */
	const char *reason;
};

/* name is a digest or a reference, as users write it; ERR_NOT_FOUND says it with the account. Of an index's digest: the
 * image for this machine's platform, or the newest. */
enum err_code image_find(struct db *db, TALLOC_CTX *ctx, const char *account, const char *name, struct image *image,
                         struct err *e) MUST_CHECK;

/* Also one that is being deleted. *found says whether there is one. */
enum err_code image_find_digest(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *digest,
                                struct image *image, bool *found, struct err *e) MUST_CHECK;

/* Inside a transaction: locks the row and reads it. ERR_NOT_FOUND when it is gone. */
enum err_code image_lock(struct db *db, TALLOC_CTX *ctx, int64_t id, struct image *image, struct err *e) MUST_CHECK;

/* Changes image, too. ERR_CONFLICT when somebody else was faster; ERR_PRECONDITION for what the table does not have. */
enum err_code image_move(struct db *db, struct image *image, enum image_state state, enum residence residence,
                         struct err *e) MUST_CHECK;

/* The job of this image is now in that state; reason: why, for the bad ends. Called by job_change only. */
enum err_code image_follow_job(struct db *db, int64_t image, int64_t job, enum job_state state, const char *reason,
                               struct err *e) MUST_CHECK;

/* "is being removed" and so on: ERR_CONFLICT, to be tried again soon, unless the image is present. */
enum err_code image_check_present(const struct image *image, struct err *e) MUST_CHECK;

const char *image_state_text(enum image_state state);
enum image_state image_state_value(const char *text);

#endif
