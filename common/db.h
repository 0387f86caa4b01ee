/*
 * db: PostgreSQL, through a pool of connections, with parameters always apart from the SQL.
 *
 *     struct db_rows *rows;
 *
 *     TRY(db_query(db, ctx, &rows, e, "SELECT id, digest FROM catalog.image WHERE account = $1",
 *                  DB_TEXT(account)));
 *     for (size_t i = 0; i < db_count(rows); i++)
 *             use(db_number(rows, i, 0), db_digest(rows, i, 1));
 *
 * Everything here blocks and belongs on worker threads. A connection is one thread's between db_acquire and db_release
 * (or inside db_transaction). A statement is prepared at its first use on a connection and found again by its text, so
 * SQL is literal text, not put together for each call. Connections that broke are replaced at the next db_acquire;
 * while the server is away one caller at a time tries it, with growing pauses, and the others get what that one found.
 *
 * Errors: unique, foreign key, exclusion, serialization and deadlock are ERR_CONFLICT; a check or not-null violation
 * or text that is not UTF-8 ERR_INVALID; no connection, server shutting down, read-only or silent ERR_UNAVAILABLE; a
 * statement or lock timeout ERR_DEADLINE; disk full, out of memory, too many connections ERR_EXHAUSTED; everything else
 * ERR_INTERNAL. The text holds the server's message. A server that does not answer at all is given up five seconds
 * after statement_ms. COMMIT that ends in ERR_UNAVAILABLE may have happened or not: what is repeated must be
 * idempotent.
 *
 * A transaction in which the client is silent for a minute is ended by the server (ERR_UNAVAILABLE): no waiting for
 * others in its middle.
 */
#ifndef COMMON_DB_H
#define COMMON_DB_H

#include "common/digest.h"
#include "common/err.h"

struct db_pool;
struct db;
struct db_rows;

struct db_options {
	const char *url;         /* libpq connection string or URI; what it says wins over what is set here */
	const char *application; /* shown in pg_stat_activity */
	size_t connections;      /* the most that are open at once; acquire waits beyond */
	int64_t statement_ms;    /* statement_timeout; 0: none */
};

struct db_param {
	const char *bytes; /* NULL: SQL NULL, unless number is meant */
	size_t len;
	int64_t number;
	enum { DB_PARAM_NULL, DB_PARAM_TEXT, DB_PARAM_BYTES, DB_PARAM_NUMBER, DB_PARAM_FLAG } type;
};

#define DB_NULL ((struct db_param){.type = DB_PARAM_NULL})
#define DB_TEXT(v) db_param_text(v) /* NULL becomes SQL NULL */
#define DB_BYTES(v, n) ((struct db_param){.bytes = (const char *)(v), .len = (n), .type = DB_PARAM_BYTES})
#define DB_DIGEST(d) DB_BYTES((d)->bytes, DIGEST_BYTES) /* bytea of 32 bytes */
#define DB_NUMBER(v) ((struct db_param){.number = (int64_t)(v), .type = DB_PARAM_NUMBER})
#define DB_FLAG(v) ((struct db_param){.number = (v) ? 1 : 0, .type = DB_PARAM_FLAG})

/* Parameters have the type that the statement gives them ($1::bigint where that is open); DB_BYTES goes in binary. */
struct db_param db_param_text(const char *text);

/* Hangs on ctx; freed (connections closed) with it, after the last db_release. Does not connect yet: db_acquire does.
 */
struct db_pool *db_pool_new(TALLOC_CTX *ctx, const struct db_options *options);

/* Is the server there? At most wait_ms for a connection, then as long (but a second at least) for an empty statement.
 */
enum err_code db_ping(struct db_pool *pool, int64_t wait_ms, struct err *e) MUST_CHECK;

/* Waits at most wait_ms for a free connection: ERR_EXHAUSTED after that, ERR_UNAVAILABLE when the server is away. */
enum err_code db_acquire(struct db_pool *pool, int64_t wait_ms, struct db **out, struct err *e) MUST_CHECK;

/* A transaction left open is rolled back. NULL is fine. */
void db_release(struct db *db);
void db_cleanup(struct db **db); /* CLEANUP(db_cleanup) struct db *db = NULL; */

/* Runs one statement. rows may be NULL when the result does not matter; rows hang on ctx. */
#define db_query(db, ctx, rows, e, sql, ...)                                                                           \
	db_query_params((db), (ctx), (rows), (e), (sql), false, (const struct db_param[]){DB_NULL, ##__VA_ARGS__},     \
	                ARRAY_SIZE(((const struct db_param[]){DB_NULL, ##__VA_ARGS__})) - 1)

/* As db_query, results in binary: for bytea of size. Only db_bytes, db_digest, db_is_null, db_flag, for text db_text
 * and for integers db_number apply to the rows. */
#define db_query_binary(db, ctx, rows, e, sql, ...)                                                                    \
	db_query_params((db), (ctx), (rows), (e), (sql), true, (const struct db_param[]){DB_NULL, ##__VA_ARGS__},      \
	                ARRAY_SIZE(((const struct db_param[]){DB_NULL, ##__VA_ARGS__})) - 1)

/* params[0] is not used; $1 is params[1]. */
enum err_code db_query_params(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e, const char *sql,
                              bool binary, const struct db_param *params, size_t count) MUST_CHECK;

/* As db_query for SQL that was put together for this one call: it is not prepared, and nothing is kept of it. */
#define db_query_once(db, ctx, rows, e, sql, ...)                                                                      \
	db_query_once_params((db), (ctx), (rows), (e), (sql), (const struct db_param[]){DB_NULL, ##__VA_ARGS__},       \
	                     ARRAY_SIZE(((const struct db_param[]){DB_NULL, ##__VA_ARGS__})) - 1)
enum err_code db_query_once_params(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e,
                                   const char *sql, const struct db_param *params, size_t count) MUST_CHECK;

/* As db_query_binary, but the rows are not collected: body is called with each when it comes, and it lives as long as
 * that call. body must not use db. When it fails its error is the result, and it is not called again. */
typedef enum err_code (*db_row)(const struct db_rows *row, void *arg, struct err *e);
#define db_query_each(db, body, arg, e, sql, ...)                                                                      \
	db_query_each_params((db), (body), (arg), (e), (sql), (const struct db_param[]){DB_NULL, ##__VA_ARGS__},       \
	                     ARRAY_SIZE(((const struct db_param[]){DB_NULL, ##__VA_ARGS__})) - 1)
enum err_code db_query_each_params(struct db *db, db_row body, void *arg, struct err *e, const char *sql,
                                   const struct db_param *params, size_t count) MUST_CHECK;

size_t db_count(const struct db_rows *rows);
size_t db_affected(const struct db_rows *rows); /* rows inserted, updated or deleted */
bool db_is_null(const struct db_rows *rows, size_t row, size_t column);
const char *db_text(const struct db_rows *rows, size_t row, size_t column); /* lives as long as rows; NULL for NULL */
int64_t db_number(const struct db_rows *rows, size_t row, size_t column);   /* 0 for NULL; fractions are cut off */
bool db_flag(const struct db_rows *rows, size_t row, size_t column);
struct digest db_digest(const struct db_rows *rows, size_t row, size_t column); /* none for NULL */
/* Lives as long as rows, NULL for NULL. Without db_query_binary the hexadecimal form is decoded at each call. */
const void *db_bytes(const struct db_rows *rows, size_t row, size_t column, size_t *len);

enum err_code db_begin(struct db *db, struct err *e) MUST_CHECK;
enum err_code db_commit(struct db *db, struct err *e) MUST_CHECK;
void db_rollback(struct db *db); /* no transaction: no effect */

/* Runs body between BEGIN and COMMIT on a connection of its own (READ COMMITTED). On ERR_OK it is committed, otherwise
 * rolled back. A serialization failure, a deadlock, a table that is not there (any more) or a connection lost before
 * COMMIT runs body again (a few times): it must have no effect but through db. */
typedef enum err_code (*db_body)(struct db *db, void *arg, struct err *e);
enum err_code db_transaction(struct db_pool *pool, db_body body, void *arg, struct err *e) MUST_CHECK;

/* Listens on a channel from this connection (which is closed when released) and waits for a notification: true when one
 * came, false after wait_ms. Notifications that came together count as one. */
enum err_code db_listen(struct db *db, const char *channel, struct err *e) MUST_CHECK;
enum err_code db_wait_notify(struct db *db, int64_t wait_ms, bool *notified, struct err *e) MUST_CHECK;

/* Schema migrations: numbered from 1 without gaps, each one transaction, applied at start under an advisory lock and
 * recorded in <schema>.migration(number, name, applied_at). db_migrate makes the schema, that table and <schema>.lease
 * (see db_lease) itself, before number 1. A schema newer than the last known one, or with another migration under the
 * same number, is ERR_PRECONDITION: the service must not start. statement_ms does not apply to migrations. */
struct db_migration {
	int number;
	const char *name;
	const char *sql; /* several statements, names with their schema; no BEGIN or COMMIT */
};
enum err_code db_migrate(struct db_pool *pool, const char *schema, const struct db_migration *migrations, size_t count,
                         struct err *e) MUST_CHECK;

/* A lease row for work that must happen once among replicas: <schema>.lease(name, owner, until). *mine says whether
 * this owner has it now, until lease_ms from now by the database's clock; call again to renew. The schema is one that
 * db_migrate has seen. db_lease_release gives it back early; not having it is fine. */
enum err_code db_lease(struct db_pool *pool, const char *schema, const char *name, const char *owner, int64_t lease_ms,
                       bool *mine, struct err *e) MUST_CHECK;
enum err_code db_lease_release(struct db_pool *pool, const char *schema, const char *name, const char *owner,
                               struct err *e) MUST_CHECK;

#endif
