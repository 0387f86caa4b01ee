#include "common/db_internal.h"

#include <endian.h>
#include <string.h>

/* What one db_migrate works on. */
struct run {
	struct db *db;
	TALLOC_CTX *ctx;
	const char *schema; /* as given */
	const char *quoted; /* as it stands in SQL */
	const struct db_migration *known;
	size_t count;
};

/* One lock a schema, the same number in all processes. */
static int64_t lock_number(TALLOC_CTX *ctx, const char *schema)
{
	char *name = talloc_asprintf(ctx, "stowage migration of %s", schema);
	struct digest d;
	uint64_t number;

	ASSERT(name);
	d = digest_of(name, strlen(name));
	memcpy(&number, d.bytes, sizeof(number));
	return (int64_t)be64toh(number);
}

static enum err_code schema_exists(struct run *run, bool *exists, struct err *e)
{
	struct db_rows *rows;

	/* CREATE SCHEMA IF NOT EXISTS would ask for the right to create even where there is nothing to create. */
	TRY(db_query(run->db, run->ctx, &rows, e, "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
	             DB_TEXT(run->schema)));
	*exists = db_count(rows) > 0;
	return ERR_OK;
}

static enum err_code make_tables(struct run *run, struct err *e)
{
	const char *s = run->quoted;
	bool exists;
	char *sql;

	TRY(schema_exists(run, &exists, e));
	if (!exists) {
		sql = talloc_asprintf(run->ctx, "CREATE SCHEMA %s", s);
		ASSERT(sql);
		TRY(db_run(run->db, sql, e));
	}
	sql = talloc_asprintf(run->ctx,
	                      "CREATE TABLE IF NOT EXISTS %s.migration (number integer PRIMARY KEY, name text NOT NULL,"
	                      " applied_at timestamptz NOT NULL DEFAULT now());"
	                      "CREATE TABLE IF NOT EXISTS %s.lease (name text PRIMARY KEY, owner text NOT NULL,"
	                      " until timestamptz NOT NULL)",
	                      s, s);
	ASSERT(sql);
	return db_run(run->db, sql, e);
}

static enum err_code check_applied(struct run *run, const struct db_rows *rows, struct err *e)
{
	for (size_t i = 0; i < db_count(rows); i++) {
		int64_t number = db_number(rows, i, 0);

		if (number > (int64_t)run->count)
			return ERR(e, ERR_PRECONDITION,
			           "schema %s has version %lld, newer than this program, which knows %zu: "
			           "run a newer program",
			           run->schema, (long long)number, run->count);
		if (number != (int64_t)i + 1 || strcmp(db_text(rows, i, 1), run->known[i].name) != 0)
			return ERR(e, ERR_PRECONDITION,
			           "schema %s has migration %lld, %s, where this program has %d, %s", run->schema,
			           (long long)number, db_text(rows, i, 1), run->known[i].number, run->known[i].name);
	}
	return ERR_OK;
}

static enum err_code apply(struct run *run, const struct db_migration *m, struct err *e)
{
	char *sql = talloc_asprintf(run->ctx, "INSERT INTO %s.migration (number, name) VALUES ($1, $2)", run->quoted);

	ASSERT(sql);
	TRY(db_run(run->db, m->sql, e));
	return db_query(run->db, run->ctx, NULL, e, sql, DB_NUMBER(m->number), DB_TEXT(m->name));
}

/* Inside a transaction: takes the lock, which ends with it, and applies the first migration that is missing. */
static enum err_code step(struct run *run, bool *more, struct err *e)
{
	struct db_rows *rows;
	size_t done;
	char *sql;

	TRY(db_query(run->db, run->ctx, NULL, e, "SELECT pg_advisory_xact_lock($1)",
	             DB_NUMBER(lock_number(run->ctx, run->schema))));
	TRY(make_tables(run, e));
	sql = talloc_asprintf(run->ctx, "SELECT number, name FROM %s.migration ORDER BY number", run->quoted);
	ASSERT(sql);
	TRY(db_query(run->db, run->ctx, &rows, e, sql));
	TRY(check_applied(run, rows, e));
	done = db_count(rows);
	if (done < run->count) {
		const struct db_migration *m = &run->known[done++];

		if (apply(run, m, e) != ERR_OK)
			return err_wrap(e, "migration %d, %s, of schema %s", m->number, m->name, run->schema);
	}
	*more = done < run->count;
	return ERR_OK;
}

static enum err_code lift_limits(struct db *db, struct err *e)
{
	db->keep_not = true;
	db->answer_ms = 0;
	return db_run(db, "SET statement_timeout = 0; SET lock_timeout = '120s'; SET client_min_messages = warning", e);
}

enum err_code db_migrate(struct db_pool *pool, const char *schema, const struct db_migration *migrations, size_t count,
                         struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	SCRATCH_CTX(ctx);
	struct run run = {.ctx = ctx, .schema = schema, .known = migrations, .count = count};
	bool more = true;
	struct err failure = {.code = ERR_INTERNAL};

	for (size_t i = 0; i < count; i++)
		ASSERT(migrations[i].number == (int)i + 1);
	TRY(db_acquire(pool, DB_ACQUIRE_MS, &db, e));
	TRY(lift_limits(db, e));
	run.db = db;
	run.quoted = db_quote_name(ctx, db, schema);
	while (more) {
		enum err_code code = db_begin(db, &failure);

		if (code == ERR_OK)
			code = step(&run, &more, &failure);
		if (code == ERR_OK)
			code = db_commit(db, &failure);
		if (code != ERR_OK) {
			if (e)
				*e = failure;
			return code; /* rolled back by db_cleanup */
		}
	}
	return ERR_OK;
}
