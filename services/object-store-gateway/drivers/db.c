/*
 * db: chunks in the service's own database, table objects.chunk_data and those that inherit from it (db_segments.h), as
 * rows of 256 KiB in binary. Rows of that size are written several times as fast as one large value, and nothing has to
 * be held twice.
 *
 * Its chunks are written in the transaction that makes their row (put_within), so that neither is ever there alone.
 */
#include "services/object-store-gateway/drivers/db_compact.h"
#include "services/object-store-gateway/sql_array.h"

#include <stdio.h>
#include <string.h>

#define ROW_BYTES (256 * KIB)
#define ROWS_AT_ONCE 4 /* more are a message for which the server allocates more than it keeps */
#define WAIT_MS 10000  /* for a connection */

struct driver_conn {
	struct db_pool *db;
	struct segments *segments;
};

struct options {
	int64_t segment_mbytes;
};

static const struct config_option config_options[] = {
    {"segment_mbytes", CONFIG_NUMBER, offsetof(struct options, segment_mbytes), "1024", 1, 1024 * 1024,
     .help = "New chunks go to a new table when the newest has grown to this size, and to a quarter of all."},
    CONFIG_END,
};

static enum err_code db_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out, struct err *e)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	struct options options = {0};

	ASSERT(c);
	TRY(config_read_tree(ctx, setup->config, config_options, &options, e));
	c->db = setup->db;
	c->segments = segments_new(c, setup->db, options.segment_mbytes * (int64_t)MIB);
	*out = c;
	return ERR_OK;
}

static const char *db_identity(struct driver_conn *c)
{
	(void)c;
	return "objects.chunk_data";
}

/* One statement for up to ROWS_AT_ONCE rows: a round trip less for each. */
static enum err_code insert_some(struct db *db, int slot, const struct location *at, size_t row, const char *from,
                                 size_t len, struct err *e)
{
	struct db_param params[4 + ROWS_AT_ONCE] = {DB_NULL, DB_NUMBER(at->number), DB_NUMBER(row),
	                                            DB_DIGEST(&at->sha256)};
	size_t count = 0;
	char sql[512]; /* ROWS_AT_ONCE texts for each of SEGMENT_SLOTS */
	int used =
	    snprintf(sql, sizeof(sql), "INSERT INTO %s (chunk, seq, sha256, bytes) VALUES", segment_name(slot).text);

	for (size_t done = 0; done < len; count++) {
		size_t n = MIN((size_t)ROW_BYTES, len - done);

		ASSERT(count < ROWS_AT_ONCE);
		params[4 + count] = DB_BYTES(from + done, n);
		used += snprintf(sql + used, sizeof(sql) - (size_t)used,
		                 "%s ($1::bigint, $2::integer + %zu, $3::bytea, $%zu::bytea)", count ? "," : "", count,
		                 4 + count);
		ASSERT(used < (int)sizeof(sql));
		done += n;
	}
	return db_query_params(db, NULL, NULL, e, sql, false, params, 3 + count);
}

static enum err_code insert_rows(struct db *db, int slot, const struct location *at, const char *from, size_t len,
                                 struct err *e)
{
	const size_t most = ROWS_AT_ONCE * (size_t)ROW_BYTES;

	for (size_t done = 0; done < len; done += most)
		TRY(insert_some(db, slot, at, done / ROW_BYTES, from + done, MIN(most, len - done), e));
	return ERR_OK;
}

static enum err_code db_put_within(struct driver_conn *c, struct db *db, const struct location *at, const void *bytes,
                                   size_t len, struct err *e)
{
	enum err_code code;
	int slot;

	TRY(segments_target(c->segments, db, &slot, e));
	code = insert_rows(db, slot, at, bytes, len, e);
	if (code != ERR_OK)
		segments_target_failed(c->segments);
	return code;
}

static enum err_code db_parts(struct driver_conn *c, struct db *db, struct driver_parts *parts, struct err *e)
{
	int slot;

	*parts = (struct driver_parts){
	    .most = ROW_BYTES,
	    .select = "(SELECT bytes FROM objects.chunk_data WHERE chunk = c.id AND seq = 0 LIMIT 1)",
	};
	if (!db)
		return ERR_OK;
	TRY(segments_target(c->segments, db, &slot, e));
	snprintf(parts->insert, sizeof(parts->insert),
	         "INSERT INTO %s (chunk, seq, sha256, bytes) SELECT number, 0, sha256, bytes FROM place",
	         segment_name(slot).text);
	return ERR_OK;
}

struct put {
	struct driver_conn *conn;
	const struct location *at;
	const void *bytes;
	size_t len;
};

/* A put that is repeated may meet what it put, in another table. The lock is for one that is repeated while it may
 * still be under way, after its connection was lost. */
static enum err_code put_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct put *p = arg;
	struct db_rows *rows;

	TRY(db_query(db, NULL, NULL, e, "SELECT pg_advisory_xact_lock($1)", DB_NUMBER(p->at->number)));
	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM objects.chunk_data WHERE chunk = $1 LIMIT 1",
	             DB_NUMBER(p->at->number)));
	return db_count(rows) ? ERR_OK : db_put_within(p->conn, db, p->at, p->bytes, p->len, e);
}

static enum err_code db_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                            struct err *e)
{
	struct put p = {c, at, bytes, len};

	return db_transaction(c->db, put_body, &p, e);
}

struct get {
	int64_t number;
	char *into;
	size_t size, got, rows;
};

/* Of the rows of a chunk, which come in order. */
static enum err_code take_row(const struct db_rows *row, void *arg, struct err *e)
{
	struct get *g = arg;
	size_t len;
	const void *bytes = db_bytes(row, 0, 0, &len);

	if (len > g->size - g->got)
		return ERR(e, ERR_CORRUPT, "chunk %lld has more than %zu bytes", (long long)g->number, g->size);
	if (len)
		memcpy(g->into + g->got, bytes, len);
	g->got += len;
	g->rows++;
	return ERR_OK;
}

static enum err_code db_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                            struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct get g = {.number = at->number, .into = into, .size = size};

	TRY(db_acquire(c->db, WAIT_MS, &db, e));
	TRY(db_query_each(db, take_row, &g, e, "SELECT bytes FROM objects.chunk_data WHERE chunk = $1 ORDER BY seq",
	                  DB_NUMBER(at->number)));
	if (!g.rows)
		return ERR(e, ERR_NOT_FOUND, "the database holds no chunk %lld", (long long)at->number);
	*got = g.got;
	return ERR_OK;
}

/* The lock comes first, so that the second statement sees all that was moved. */
static enum err_code remove_body(struct db *db, void *numbers, struct err *e)
{
	TRY(db_query(db, NULL, NULL, e, "SELECT pg_advisory_xact_lock_shared($1)", DB_NUMBER(SEGMENT_MOVE_LOCK)));
	return db_query(db, NULL, NULL, e, "DELETE FROM objects.chunk_data WHERE chunk = ANY ($1::bigint[])",
	                DB_TEXT(numbers));
}

static enum err_code db_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	SCRATCH_CTX(ctx);
	int64_t *numbers = talloc_array(ctx, int64_t, count + 1);

	ASSERT(numbers);
	for (size_t i = 0; i < count; i++)
		numbers[i] = at[i].number;
	return db_transaction(c->db, remove_body, sql_numbers(ctx, numbers, count), e);
}

static enum err_code db_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                             size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(c->db, WAIT_MS, &db, e));
	TRY(db_query(
	    db, ctx, &rows, e,
	    "SELECT chunk, sha256 FROM objects.chunk_data WHERE seq = 0 AND chunk > $1 ORDER BY chunk LIMIT $2",
	    DB_NUMBER(after ? after->number : 0), DB_NUMBER(max)));
	*count = db_count(rows);
	for (size_t i = 0; i < *count; i++)
		into[i] = (struct location){.sha256 = db_digest(rows, i, 1), .number = db_number(rows, i, 0)};
	return ERR_OK;
}

static enum err_code db_driver_compact(struct driver_conn *c, const struct compact_order *order,
                                       struct compaction *done, struct err *e)
{
	return db_compact(c->segments, c->db, order, done, e);
}

static void db_close(struct driver_conn *c)
{
	talloc_free(c);
}

static enum err_code db_driver_ping(struct driver_conn *c, struct err *e)
{
	return db_ping(c->db, WAIT_MS, e);
}

const struct driver driver_db = {
    .name = "db",
    .open = db_open,
    .identity = db_identity,
    .put = db_put,
    .get = db_get,
    .remove = db_remove,
    .list = db_list,
    .close = db_close,
    .ping = db_driver_ping,
    .put_within = db_put_within,
    .parts = db_parts,
    .compact = db_driver_compact,
};
