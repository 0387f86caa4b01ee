/*
 * quota: how much an account may keep in a store, as bytes that its readers get and as a number of objects.
 *
 * A row of objects.quota has the limits and what is used. Whoever makes, replaces or removes an object changes what is
 * used in the same transaction, and is refused when that grows beyond a limit; shrinking is always allowed. So the
 * count is exact, with any number of replicas, and commits of one account that has a quota take turns. Accounts without
 * a row pay nothing: the statement that makes the object looks for it, too.
 *
 * Limits are about content as the account sees it: that equal content is stored once is the operator's gain. Chunks
 * that no object names yet are not counted; the sweep takes them if they stay so.
 *
 * The row is locked after everything else that a transaction locks.
 */
#ifndef GATEWAY_QUOTA_H
#define GATEWAY_QUOTA_H

#include "proto/messages.h"
#include "services/object-store-gateway/store.h"

/* For statements that have the store as $1 and the account as $2: sets what is used by two numbers, where `condition`
 * holds, as a part of a WITH list. Its rows are what quota_check reads, from a column on. */
#define QUOTA_CHARGE(bytes, objects, condition)                                                                        \
	"quota AS (UPDATE objects.quota SET used_bytes = used_bytes + " bytes                                          \
	", used_objects = used_objects + " objects " WHERE store = $1 AND account = $2 AND " condition                 \
	" RETURNING max_bytes, max_objects, used_bytes, used_objects)"
#define QUOTA_COLUMNS "quota.max_bytes, quota.max_objects, quota.used_bytes, quota.used_objects"

/* ERR_EXHAUSTED names account, limit and what is used. Columns that are NULL: there is no quota. */
enum err_code quota_check(const struct store *s, const char *account, const struct db_rows *rows, size_t column,
                          struct err *e) MUST_CHECK;

/* Changes what is used, for statements that QUOTA_CHARGE does not fit. Growth is checked. */
enum err_code quota_charge(struct db *db, const struct store *s, const char *account, int64_t bytes, int64_t objects,
                           struct err *e) MUST_CHECK;

/* 0: no limit of this kind; ERR_INVALID if both are. What is there already is counted; writers wait for that. */
enum err_code quota_set(struct store *s, const char *account, int64_t max_bytes, int64_t max_objects,
                        struct err *e) MUST_CHECK;
enum err_code quota_remove(struct store *s, const char *account, bool *existed, struct err *e) MUST_CHECK;

/* store and account may be NULL: all. On ctx, at most max, *more if there are more. */
enum err_code quota_list(struct db_pool *db, TALLOC_CTX *ctx, const char *store, const char *account,
                         struct quota_list_reply *reply, size_t max, struct err *e) MUST_CHECK;

#endif
