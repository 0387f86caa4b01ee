#include "common/db_internal.h"

#include "common/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

/* What libpq is told about a connection unless the URL says otherwise. A server whose machine is gone is noticed in ten
 * to twenty seconds: by the peer's silence while something is sent, by keepalive while we wait. */
static const char *const defaults[][2] = {
    {"connect_timeout", "5"},  {"keepalives", "1"},         {"keepalives_idle", "5"},      {"keepalives_interval", "5"},
    {"keepalives_count", "2"}, {"client_encoding", "UTF8"}, {"tcp_user_timeout", "10000"},
};

/* A client that was stopped in the middle of a transaction must not hold its locks for ever. */
#define IDLE_IN_TRANSACTION_MS 60000
/* Beyond the server's own statement_timeout: then the server is not merely slow. */
#define ANSWER_GRACE_MS 5000
#define SETUP_MS 10000

static void drop_notice(void *arg UNUSED, const PGresult *result UNUSED)
{
}

/* libpq's texts about a malformed URL quote it, password and all. */
static enum err_code check_url(const char *url, struct err *e)
{
	PQconninfoOption *parsed = url && *url ? PQconninfoParse(url, NULL) : NULL;

	if (!parsed)
		return ERR(e, ERR_INVALID, "database url is not a connection string or URI that libpq understands");
	PQconninfoFree(parsed);
	return ERR_OK;
}

static PGconn *connect_with(const struct db_options *options)
{
	const char *names[ARRAY_SIZE(defaults) + 3] = {0}, *values[ARRAY_SIZE(defaults) + 3] = {0};
	size_t n;

	for (n = 0; n < ARRAY_SIZE(defaults); n++) {
		names[n] = defaults[n][0];
		values[n] = defaults[n][1];
	}
	names[n] = "application_name";
	values[n++] = options->application;
	names[n] = "dbname"; /* after the others: what the URL holds wins */
	values[n++] = options->url;
	return PQconnectdbParams(names, values, 1);
}

static enum err_code set_up(struct db *db, const struct db_options *options, struct err *e)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
	         "SET timezone = 'UTC'; SET bytea_output = 'hex'; SET idle_in_transaction_session_timeout = %d;"
	         "SET statement_timeout = %" PRId64,
	         IDLE_IN_TRANSACTION_MS, options->statement_ms);
	db->answer_ms = SETUP_MS;
	TRY(db_run(db, sql, e));
	db->answer_ms = options->statement_ms ? options->statement_ms + ANSWER_GRACE_MS : 0;
	return ERR_OK;
}

enum err_code db_open(const struct db_options *options, struct db **out, struct err *e)
{
	struct db *db;
	enum err_code code;

	TRY(check_url(options->url, e));
	db = talloc_zero(NULL, struct db);
	ASSERT(db);
	db->conn = connect_with(options);
	ASSERT(db->conn);
	if (PQstatus(db->conn) != CONNECTION_OK) {
		code = db_fail_connection(db, e);
	} else {
		PQsetNoticeReceiver(db->conn, drop_notice, NULL);
		code = PQsetnonblocking(db->conn, 1) == 0 ? set_up(db, options, e) : db_fail_connection(db, e);
	}
	if (code != ERR_OK) {
		db_close(db);
		return code;
	}
	*out = db;
	return ERR_OK;
}

void db_close(struct db *db)
{
	/* The statements themselves hang on db. */
	HASH_CLEAR(hh, db->statements);
	PQfinish(db->conn);
	talloc_free(db);
}

bool db_is_alive(struct db *db)
{
	struct pollfd p = {.fd = PQsocket(db->conn), .events = POLLIN};

	/* What an idle connection has to read is a notice or the server's last words, and after those the end. */
	for (int i = 0; i < 16 && poll(&p, 1, 0) > 0; i++)
		if (!PQconsumeInput(db->conn) || PQisBusy(db->conn))
			return false;
	return PQstatus(db->conn) == CONNECTION_OK;
}

bool db_wait_socket(const struct db *db, bool writable_too, int64_t until_ms)
{
	struct pollfd p = {.fd = PQsocket(db->conn), .events = (short)(POLLIN | (writable_too ? POLLOUT : 0))};

	for (;;) {
		int64_t left = until_ms == INT64_MAX ? 60000 : until_ms - clock_monotonic_ms();

		if (poll(&p, 1, (int)MAX(0, MIN(left, 60000))) > 0)
			return true;
		if (left <= 0)
			return false;
	}
}
