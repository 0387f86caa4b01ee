#include "common/db_internal.h"

#include "common/clock.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* SQL is literal text, so there are few. Beyond, statements run without being prepared. */
#define STATEMENTS_MAX 512

#define NUMBER_SIZE 24

/* Parameters in the shape in which libpq takes them. */
struct arguments {
	int count;
	const char **values;
	int *lengths, *formats;
	char (*numbers)[NUMBER_SIZE];
};

struct db_param db_param_text(const char *text)
{
	if (!text)
		return DB_NULL;
	return (struct db_param){.bytes = text, .len = strlen(text), .type = DB_PARAM_TEXT};
}

char *db_quote_name(TALLOC_CTX *ctx, const struct db *db, const char *name)
{
	char *quoted = PQescapeIdentifier(db->conn, name, strlen(name)), *copy;

	ASSERT(quoted); /* names are the program's own */
	copy = talloc_strdup(ctx, quoted);
	ASSERT(copy);
	PQfreemem(quoted);
	return copy;
}

static void fill_argument(struct arguments *a, size_t i, const struct db_param *p)
{
	switch (p->type) {
	case DB_PARAM_NULL:
		break;
	case DB_PARAM_TEXT:
		a->values[i] = p->bytes;
		break;
	case DB_PARAM_BYTES:
		ASSERT(p->len <= INT_MAX);
		a->values[i] = p->bytes ? p->bytes : "";
		a->lengths[i] = (int)p->len;
		a->formats[i] = 1;
		break;
	case DB_PARAM_NUMBER:
		snprintf(a->numbers[i], NUMBER_SIZE, "%" PRId64, p->number);
		a->values[i] = a->numbers[i];
		break;
	case DB_PARAM_FLAG:
		a->values[i] = p->number ? "t" : "f";
		break;
	}
}

static struct arguments arguments_of(TALLOC_CTX *ctx, const struct db_param *params, size_t count)
{
	struct arguments a = {.count = (int)count};

	ASSERT(count <= UINT16_MAX);
	if (count == 0)
		return a;
	a.values = talloc_zero_array(ctx, const char *, count);
	a.lengths = talloc_zero_array(ctx, int, count);
	a.formats = talloc_zero_array(ctx, int, count);
	a.numbers = talloc_size(ctx, count * NUMBER_SIZE);
	ASSERT(a.values && a.lengths && a.formats && a.numbers);
	for (size_t i = 0; i < count; i++)
		fill_argument(&a, i, &params[i + 1]); /* $1 is params[1] */
	return a;
}

/* Sends what is queued and reads until libpq has a whole result. */
static bool wait_result(struct db *db, int64_t until_ms, struct err *e)
{
	for (;;) {
		int unsent = PQflush(db->conn);

		if (unsent == 0 && !PQisBusy(db->conn))
			return true;
		if (PQsocket(db->conn) < 0) {
			db_fail_connection(db, e);
			return false;
		}
		if (!db_wait_socket(db, unsent > 0, until_ms)) {
			db->broken = true;
			ERR(e, ERR_UNAVAILABLE, "database: no answer for %" PRId64 " ms", db->answer_ms);
			return false;
		}
		/* A failed flush shows here as well, with the server's last words if there were any. */
		if (!PQconsumeInput(db->conn)) {
			db_fail_connection(db, e);
			return false;
		}
	}
}

/* Takes over the result. */
static void hand_over(struct row_by_row *each, PGresult *result)
{
	SCRATCH_CTX(ctx);
	struct db_rows *row = db_rows_new(ctx, result, true);

	if (each->code == ERR_OK)
		each->code = each->body(row, each->arg, &each->failure);
}

PGresult *db_receive(struct db *db, struct err *e)
{
	int64_t until_ms = db->answer_ms ? clock_monotonic_ms() + db->answer_ms : INT64_MAX;
	PGresult *kept = NULL, *next;
	bool failed = false;

	for (;;) {
		if (!wait_result(db, until_ms, e)) {
			PQclear(kept);
			return NULL;
		}
		next = PQgetResult(db->conn);
		if (!next)
			break;
		if (failed) {
			PQclear(next);
			continue;
		}
		if (db->each && PQresultStatus(next) == PGRES_SINGLE_TUPLE) {
			hand_over(db->each, next);
			continue;
		}
		PQclear(kept);
		kept = next;
		failed = PQresultStatus(kept) == PGRES_FATAL_ERROR;
	}
	if (!kept)
		db_fail_connection(db, e);
	return kept;
}

static bool is_success(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* After one of the PQsend functions: the result, or an error. */
static enum err_code finish(struct db *db, int sent, const char *sql, PGresult **out, struct err *e)
{
	PGresult *result;

	if (!sent)
		return db_fail_connection(db, e);
	result = db_receive(db, e);
	if (!result)
		return ERR_UNAVAILABLE;
	*out = result;
	return is_success(result) ? ERR_OK : db_fail(db, result, sql, e);
}

enum err_code db_check_usable(const struct db *db, struct err *e)
{
	if (db->broken)
		return ERR(e, ERR_UNAVAILABLE, "database: connection was lost before");
	return ERR_OK;
}

static enum err_code run(struct db *db, const char *sql, struct err *e)
{
	PGresult *result = NULL;
	enum err_code code = finish(db, PQsendQuery(db->conn, sql), sql, &result, e);

	PQclear(result);
	return code;
}

/* For what cannot take BEGIN along. */
static enum err_code begin_if_owed(struct db *db, struct err *e)
{
	bool owed = db->begin_owed;

	db->begin_owed = false;
	return owed ? run(db, DB_BEGIN, e) : ERR_OK;
}

enum err_code db_run(struct db *db, const char *sql, struct err *e)
{
	TRY(db_check_usable(db, e));
	TRY(begin_if_owed(db, e));
	return run(db, sql, e);
}

static enum err_code prepare(struct db *db, const char *sql, struct db_statement **out, struct err *e)
{
	struct db_statement *s = talloc_zero(db, struct db_statement);
	PGresult *result = NULL;
	enum err_code code;

	ASSERT(s);
	snprintf(s->name, sizeof(s->name), "s%" PRIu64, ++db->prepared);
	code = finish(db, PQsendPrepare(db->conn, s->name, sql, 0, NULL), sql, &result, e);
	PQclear(result);
	if (code != ERR_OK) {
		talloc_free(s);
		return code;
	}
	s->sql = talloc_strdup(s, sql);
	ASSERT(s->sql);
	HASH_ADD_KEYPTR(hh, db->statements, s->sql, strlen(s->sql), s);
	*out = s;
	return ERR_OK;
}

static void forget(struct db *db, struct db_statement *s)
{
	HASH_DEL(db->statements, s);
	talloc_free(s);
}

/* The server dropped the statement, or a table that it reads has changed since. */
static bool is_stale(const PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	return state && (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0);
}

/* The answers to BEGIN and to the statement behind it. */
static enum err_code finish_both(struct db *db, const char *sql, PGresult **out, struct err *e)
{
	PGresult *begun = NULL;
	enum err_code code = finish(db, 1, DB_BEGIN, &begun, e);

	PQclear(begun);
	return code == ERR_OK ? finish(db, 1, sql, out, e) : code;
}

/* BEGIN and a prepared statement in one message (libpq's pipeline mode). Whatever fails, the connection leaves that
 * mode again, or is given up. */
static enum err_code begin_with(struct db *db, const struct db_statement *s, const struct arguments *a, int format,
                                PGresult **out, struct err *e)
{
	PGresult *synced = NULL;
	enum err_code code;

	db->begin_owed = false;
	if (!PQenterPipelineMode(db->conn) || !PQsendQueryParams(db->conn, DB_BEGIN, 0, NULL, NULL, NULL, NULL, 0) ||
	    !PQsendQueryPrepared(db->conn, s->name, a->count, a->values, a->lengths, a->formats, format) ||
	    !PQpipelineSync(db->conn))
		return db_fail_connection(db, e);
	code = finish_both(db, s->sql, out, e);
	if (db->broken)
		return code;
	synced = db_receive(db, NULL);
	if (PQresultStatus(synced) != PGRES_PIPELINE_SYNC || !PQexitPipelineMode(db->conn))
		db->broken = true;
	PQclear(synced);
	return code;
}

/* s may be NULL: it runs without being prepared. */
static enum err_code run_alone(struct db *db, const char *sql, const struct db_statement *s, const struct arguments *a,
                               int format, PGresult **out, struct err *e)
{
	int sent;

	TRY(begin_if_owed(db, e));
	if (s)
		sent = PQsendQueryPrepared(db->conn, s->name, a->count, a->values, a->lengths, a->formats, format);
	else
		sent = PQsendQueryParams(db->conn, sql, a->count, NULL, a->values, a->lengths, a->formats, format);
	if (sent && db->each)
		PQsetSingleRowMode(db->conn);
	return finish(db, sent, sql, out, e);
}

/* One execution. *again: it was an old statement that is prepared anew next time; that is worth another try. */
static enum err_code execute(struct db *db, const char *sql, const struct arguments *a, int format, PGresult **out,
                             bool *again, struct err *e)
{
	struct db_statement *s;
	bool fresh = false;
	enum err_code code;

	HASH_FIND(hh, db->statements, sql, strlen(sql), s);
	if (!s && HASH_COUNT(db->statements) < STATEMENTS_MAX) {
		TRY(begin_if_owed(db, e));
		TRY(prepare(db, sql, &s, e));
		fresh = true;
	}
	if (s && db->begin_owed && !db->each)
		code = begin_with(db, s, a, format, out, e);
	else
		code = run_alone(db, sql, s, a, format, out, e);
	if (code != ERR_OK && s && !fresh && is_stale(*out)) {
		forget(db, s);
		*again = true;
	}
	return code;
}

/* Takes over the result. */
static void give(TALLOC_CTX *ctx, struct db_rows **rows, PGresult *result, bool binary)
{
	if (rows)
		*rows = db_rows_new(ctx, result, binary);
	else
		PQclear(result);
}

enum err_code db_query_params(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e, const char *sql,
                              bool binary, const struct db_param *params, size_t count)
{
	SCRATCH_CTX(scratch);
	struct arguments a = arguments_of(scratch, params, count);
	PGresult *result = NULL;
	struct err failure;
	bool again = false;
	enum err_code code;

	TRY(db_check_usable(db, e));
	code = execute(db, sql, &a, binary, &result, &again, &failure);
	if (again && db->in_transaction) {
		db->run_again = true; /* the transaction is lost, a new one would not be */
	} else if (again) {
		PQclear(result);
		result = NULL;
		code = execute(db, sql, &a, binary, &result, &again, &failure);
	}
	if (code != ERR_OK) {
		PQclear(result);
		if (e)
			*e = failure;
		return code;
	}
	give(ctx, rows, result, binary);
	return ERR_OK;
}

enum err_code db_query_once_params(struct db *db, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e,
                                   const char *sql, const struct db_param *params, size_t count)
{
	SCRATCH_CTX(scratch);
	struct arguments a = arguments_of(scratch, params, count);
	PGresult *result = NULL;
	enum err_code code;

	TRY(db_check_usable(db, e));
	TRY(begin_if_owed(db, e));
	code = finish(db, PQsendQueryParams(db->conn, sql, a.count, NULL, a.values, a.lengths, a.formats, 0), sql,
	              &result, e);
	if (code == ERR_OK)
		give(ctx, rows, result, false);
	else
		PQclear(result);
	return code;
}

enum err_code db_query_each_params(struct db *db, db_row body, void *arg, struct err *e, const char *sql,
                                   const struct db_param *params, size_t count)
{
	struct row_by_row each = {.body = body, .arg = arg};
	enum err_code code;

	db->each = &each;
	code = db_query_params(db, NULL, NULL, e, sql, true, params, count);
	db->each = NULL;
	if (code != ERR_OK || each.code == ERR_OK)
		return code;
	if (e)
		*e = each.failure;
	return each.code;
}
