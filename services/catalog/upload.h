/*
 * upload: blobs that a user sends instead of having them fetched from a registry: objects in bucket "uploads" with the
 * prefix "<upload>/".
 *
 *     open -> used -> done -> (no row)
 *
 * An upload is used by one job, and done when that job is; then its objects go, and the row at last. One that was not
 * analysed after a day is done, too, unless its job still lives.
 */
#ifndef CATALOG_UPLOAD_H
#define CATALOG_UPLOAD_H

#include "common/db.h"

/* *id hangs on ctx. */
enum err_code upload_begin(struct db *db, TALLOC_CTX *ctx, const char *account, char **id, struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND: the account has no such upload, or it is done. */
enum err_code upload_check(struct db *db, const char *account, const char *id, struct err *e) MUST_CHECK;

/* Inside a transaction: a job uses it; it is of no use any more. NULL has no effect. */
enum err_code upload_mark_used(struct db *db, const char *id, struct err *e) MUST_CHECK;
enum err_code upload_mark_done(struct db *db, const char *id, struct err *e) MUST_CHECK;

enum err_code upload_expire(struct db *db, int64_t age_ms, struct err *e) MUST_CHECK;

/* Those that are done, a batch: rows (id, account). */
enum err_code upload_list_done(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e) MUST_CHECK;
enum err_code upload_forget(struct db *db, const char *id, struct err *e) MUST_CHECK;

#endif
