#include "common/db_internal.h"

#include "common/clock.h"

#include <unistd.h>

#define ATTEMPTS 8

enum err_code db_begin(struct db *db, struct err *e)
{
	ASSERT(!db->in_transaction);
	TRY(db_check_usable(db, e));
	db->run_again = false;
	db->in_transaction = db->begin_owed = true;
	return ERR_OK;
}

/* No statement came, so the server knows of no transaction. */
static bool never_begun(struct db *db)
{
	bool never = db->begin_owed;

	db->begin_owed = false;
	return never;
}

enum err_code db_commit(struct db *db, struct err *e)
{
	ASSERT(db->in_transaction);
	/* The server answers COMMIT with a rollback, and no error, when a statement had failed. */
	if (PQtransactionStatus(db->conn) == PQTRANS_INERROR) {
		db_rollback(db);
		return ERR(e, ERR_INTERNAL, "database: commit of a transaction in which a statement had failed");
	}
	db->in_transaction = false;
	return never_begun(db) ? ERR_OK : db_run(db, "COMMIT", e);
}

void db_rollback(struct db *db)
{
	if (!db->in_transaction)
		return;
	db->in_transaction = false;
	if (!never_begun(db) && (db->broken || db_run(db, "ROLLBACK", NULL) != ERR_OK))
		db->broken = true;
}

static enum err_code attempt(struct db_pool *pool, db_body body, void *arg, bool *again, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	enum err_code code;

	TRY(db_acquire(pool, DB_ACQUIRE_MS, &db, e));
	code = db_begin(db, e);
	if (code == ERR_OK)
		code = body(db, arg, e);
	if (code != ERR_OK) {
		/* Nothing was committed, so a lost connection is no more than a reason to begin again. */
		*again = db->run_again || (db->broken && code == ERR_UNAVAILABLE);
		return code;
	}
	code = db_commit(db, e);
	*again = db->run_again && !db->broken;
	return code;
}

enum err_code db_transaction(struct db_pool *pool, db_body body, void *arg, struct err *e)
{
	struct err failure = {0};
	enum err_code code;

	for (unsigned n = 0; n < ATTEMPTS; n++) {
		bool again = false;

		code = attempt(pool, body, arg, &again, &failure);
		if (code == ERR_OK)
			return ERR_OK;
		if (!again)
			break;
		usleep(1000 * backoff_ms(n, 10, 500));
	}
	if (e)
		*e = failure;
	return code;
}
