/*
 * tag: names of images, canonical ("docker.io/library/debian:12"), and which digests each had.
 *
 * A tag names one image of its account at a time. Its history outlives the images, the newest TAG_HISTORY_MAX entries
 * of it.
 */
#ifndef CATALOG_TAG_H
#define CATALOG_TAG_H

#include "common/db.h"
#include "common/reference.h"
#include "proto/messages.h"

#define TAG_HISTORY_MAX 1000

/* "registry/repository:tag" on ctx; NULL when the reference has no tag. */
char *tag_name(TALLOC_CTX *ctx, const struct reference *reference);

/* Inside a transaction: from now on the reference's tag names this image. No effect without a tag. Events: tag.added,
 * tag.moved. */
enum err_code tag_set(struct db *db, const char *account, const struct reference *reference, int64_t image,
                      const struct digest *digest, struct err *e) MUST_CHECK;

enum err_code tag_history_read(struct db *db, TALLOC_CTX *ctx, const char *account, const char *reference,
                               struct image_history_reply *reply, struct err *e) MUST_CHECK;

/* A user's pattern as an argument of SQL LIKE. Without a * it is a reference, normalised, and *exact is true. */
enum err_code tag_pattern(TALLOC_CTX *ctx, const char *pattern, const char **like, bool *exact,
                          struct err *e) MUST_CHECK;

/* Text in which LIKE sees no special character, but for a * at the end of it or anywhere, which becomes a %. */
char *tag_like(TALLOC_CTX *ctx, const char *text);

#endif
