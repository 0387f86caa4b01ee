/*
 * account: whom images belong to. `default` is there from the start and cannot be removed.
 *
 * Names are 1 to 128 characters of a-z 0-9 . _ - and begin with a letter or digit.
 */
#ifndef CATALOG_ACCOUNT_H
#define CATALOG_ACCOUNT_H

#include "common/db.h"
#include "proto/messages.h"

/* ERR_NOT_FOUND names the account. */
enum err_code account_check(struct db *db, const char *name, struct err *e) MUST_CHECK;

enum err_code account_add(struct db *db, const char *name, bool *existed, struct err *e) MUST_CHECK;
enum err_code account_read_all(struct db *db, TALLOC_CTX *ctx, struct account_list_reply *reply,
                               struct err *e) MUST_CHECK;

/* Inside a transaction. ERR_PRECONDITION while there are images, those being removed included. */
enum err_code account_remove(struct db *db, const char *name, struct err *e) MUST_CHECK;

#endif
