#include "common/db_internal.h"

#include "common/clock.h"

enum err_code db_listen(struct db *db, const char *channel, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *sql = talloc_asprintf(scratch, "LISTEN %s", db_quote_name(scratch, db, channel));

	ASSERT(sql);
	db->keep_not = true;
	return db_run(db, sql, e);
}

static bool take_notifications(struct db *db)
{
	bool any = false;

	for (PGnotify *n = PQnotifies(db->conn); n; n = PQnotifies(db->conn)) {
		any = true;
		PQfreemem(n);
	}
	return any;
}

enum err_code db_wait_notify(struct db *db, int64_t wait_ms, bool *notified, struct err *e)
{
	int64_t until_ms = clock_monotonic_ms() + wait_ms;

	*notified = false;
	TRY(db_check_usable(db, e));
	while (!take_notifications(db)) {
		if (!db_wait_socket(db, false, until_ms))
			return ERR_OK;
		if (!PQconsumeInput(db->conn))
			return db_fail_connection(db, e);
	}
	*notified = true;
	return ERR_OK;
}
