/*
 * db_internal: what the files of common/db share among themselves. Nobody else includes it.
 *
 *   db.c              the pool: who has which connection, when to try a server again that was away
 *   db_connect.c      one connection: opening, closing, is it still there
 *   db_query.c        statements: preparing, parameters, waiting for the answer, BEGIN along with the first
 *   db_rows.c         reading results
 *   db_error.c        SQLSTATE to err_code
 *   db_transaction.c  BEGIN to COMMIT, with retries
 *   db_notify.c       LISTEN
 *   db_migrate.c      schema versions; db_lease.c the lease row
 *
 * A struct db is one thread's at a time, so it has no lock. It is a talloc context of its own (not the pool's child:
 * talloc's tree must not be changed by two threads).
 */
#ifndef COMMON_DB_INTERNAL_H
#define COMMON_DB_INTERNAL_H

#include "common/db.h"

#include <libpq-fe.h>
#include <uthash.h>

/* How long db_transaction, db_migrate and db_lease wait for a free connection. */
#define DB_ACQUIRE_MS 10000

struct db_statement {
	char *sql;     /* the key */
	char name[24]; /* on the server */
	UT_hash_handle hh;
};

/* What is done with each row of the statement under way, instead of collecting them. */
struct row_by_row {
	db_row body;
	void *arg;
	enum err_code code; /* of the first call that failed; no other follows */
	struct err failure;
};

struct db {
	PGconn *conn;
	struct db_pool *pool;
	struct db *next; /* in the pool's list of idle connections */
	struct db_statement *statements;
	uint64_t prepared; /* ever, for names that are not used twice */
	int64_t answer_ms; /* the longest wait for one answer; 0: none. Outlasts the server's own statement_timeout */
	struct row_by_row *each; /* NULL: rows are collected */
	bool broken;             /* of no use any more; closed by db_release */
	bool keep_not;           /* has settings of its own (LISTEN, no time limit): closed by db_release */
	bool in_transaction;
	bool begin_owed; /* BEGIN goes with the transaction's first statement: a round trip less */
	bool run_again;  /* the transaction failed in a way that a second run may not */
};

enum err_code db_open(const struct db_options *options, struct db **out, struct err *e) MUST_CHECK;
void db_close(struct db *db);
bool db_is_alive(struct db *db); /* for one that was idle: has the server hung up? */

#define DB_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED"

/* Simple protocol: SQL without parameters, several statements allowed; results are dropped. */
enum err_code db_run(struct db *db, const char *sql, struct err *e) MUST_CHECK;

/* ERR_UNAVAILABLE for a connection that is broken already. */
enum err_code db_check_usable(const struct db *db, struct err *e) MUST_CHECK;

/* Sends what is left to send and waits for the answer: its last result, or the first that is an error. NULL when the
 * connection broke or answer_ms passed; the connection is then broken, and *e filled. */
PGresult *db_receive(struct db *db, struct err *e);

/* Waits until the socket is readable (or writable, when asked) or until the time has come (INT64_MAX: never); false
 * then. */
bool db_wait_socket(const struct db *db, bool writable_too, int64_t until_ms);

/* The error that a result stands for; notes in db what follows from it. sql, for the text, may be NULL. */
enum err_code db_fail(struct db *db, const PGresult *result, const char *sql, struct err *e);
/* The connection itself failed. */
enum err_code db_fail_connection(struct db *db, struct err *e);

/* A name as it stands in SQL, quoted where it must be; on ctx. */
char *db_quote_name(TALLOC_CTX *ctx, const struct db *db, const char *name);

/* Takes over the result. */
struct db_rows *db_rows_new(TALLOC_CTX *ctx, PGresult *result, bool binary);

#endif
