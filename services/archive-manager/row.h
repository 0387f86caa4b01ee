/*
 * row: archive.image, a row for each archived image and each that is on its way in or out.
 *
 * The state is written by row_insert and row_move alone, which ask the machine and compare with the old state in the
 * statement. A settled row (archived, failed) may be moved by any handler; a row in transition by the holder of its
 * lease, who says so with the token. What a user asks for meanwhile is left as an intent, which the holder sees.
 *
 * Functions that take a struct db * run inside the caller's transaction, or alone where there is none. Everything
 * loaded hangs on ctx.
 */
#ifndef ARCHIVE_MANAGER_ROW_H
#define ARCHIVE_MANAGER_ROW_H

#include "common/db.h"
#include "services/archive-manager/machine.h"

struct row {
	const char *account;
	struct digest digest;
	enum archive_state state;
	enum machine_event intent; /* MACHINE_NOTHING, MACHINE_RESTORE or MACHINE_REMOVE */
	bool detach, complete, detached;
	struct proto_texts tags;
	int64_t objects, bytes, moved_bytes;
	int64_t analysed_at, archived_at;
	struct digest manifest;
	const char *reason; /* NULL: none */
	int64_t attempts;
	int64_t token; /* of the newest lease */
};

/* ERR_NOT_FOUND if there is none. lock: nobody else changes the row until the transaction ends. */
enum err_code row_load(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *digest, bool lock,
                       struct row *row, struct err *e) MUST_CHECK;

/* A new row in the state that MACHINE_ADD leads to. ERR_CONFLICT: there is one already. */
enum err_code row_insert(struct db *db, const char *account, const struct digest *digest, bool detach,
                         struct err *e) MUST_CHECK;

/*
 * Moves the row by the event and updates row->state. What belongs to the old state is reset: attempts, reason, the done
 * marks of the objects. token: of the lease, or 0 for a settled row. Leaving towards no row deletes it with its
 * objects. ERR_STALE_LEASE: somebody was faster. ERR_CONFLICT: the machine has no such move.
 */
enum err_code row_move(struct db *db, struct row *row, enum machine_event event, int64_t token,
                       struct err *e) MUST_CHECK;

/* Leaves a wish for the holder of the row. detach: with MACHINE_NOTHING only the flag is set. */
enum err_code row_wish(struct db *db, const struct row *row, enum machine_event intent, bool detach,
                       struct err *e) MUST_CHECK;

/* Takes the row that waited longest and is due. ERR_NOT_FOUND: nothing to do. */
enum err_code row_claim(struct db *db, TALLOC_CTX *ctx, const char *owner, int64_t lease_ms, struct row *row,
                        struct err *e) MUST_CHECK;

/* Gives a row back, to be looked at again after wait_ms. reason NULL: it stays. counted: as an attempt. */
enum err_code row_release(struct db *db, const struct row *row, int64_t wait_ms, bool counted, const char *reason,
                          struct err *e) MUST_CHECK;

/* Gives a settled row back, unless a wish has come meanwhile (*again). */
enum err_code row_settle(struct db *db, const struct row *row, bool *again, struct err *e) MUST_CHECK;

/* What a step found out; each under the token in row. */
enum err_code row_set_source(struct db *db, const struct row *row, struct err *e) MUST_CHECK;   /* tags, analysed_at */
enum err_code row_set_copy(struct db *db, const struct row *row, struct err *e) MUST_CHECK;     /* manifest, sums */
enum err_code row_set_complete(struct db *db, const struct row *row, struct err *e) MUST_CHECK; /* and archived_at */
enum err_code row_set_detached(struct db *db, const struct row *row, struct err *e) MUST_CHECK; /* detached, detach */
enum err_code row_fail(struct db *db, struct row *row, const char *reason, struct err *e) MUST_CHECK;

struct row_list {
	struct row *items;
	size_t count;
	bool more;
};

/* A page, ordered by digest. */
enum err_code row_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *after, int64_t limit,
                       struct row_list *list, struct err *e) MUST_CHECK;

/* A page of settled images of all accounts, after that one. */
enum err_code row_list_settled(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *after,
                               int64_t limit, struct row_list *list, struct err *e) MUST_CHECK;

enum err_code row_summary(struct db *db, TALLOC_CTX *ctx, const char *account, struct archive_summary_reply *reply,
                          struct err *e) MUST_CHECK;

#endif
