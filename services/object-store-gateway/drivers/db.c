/*
 * db: chunks in the service's own database, table objects.chunk_data, as rows of 256 KiB in binary. Rows of that size
 * are written several times as fast as one large value, and nothing has to be held twice.
 *
 * Its chunks are written in the transaction that makes their row (put_within), so that neither is ever there alone.
 */
#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/sql_array.h"

#include <string.h>

#define ROW_BYTES (256 * KIB)
#define WAIT_MS 10000 /* for a connection */

struct driver_conn {
	struct db_pool *db;
};

static enum err_code db_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out, struct err *e)
{
	static const struct config_option no_options[] = {CONFIG_END};
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	char nothing;

	ASSERT(c);
	TRY(config_read_tree(ctx, setup->config, no_options, &nothing, e));
	c->db = setup->db;
	*out = c;
	return ERR_OK;
}

static const char *db_identity(struct driver_conn *c)
{
	(void)c;
	return "objects.chunk_data";
}

static enum err_code db_put_within(struct driver_conn *c, struct db *db, const struct location *at, const void *bytes,
                                   size_t len, struct err *e)
{
	const char *from = bytes;

	(void)c;
	for (size_t done = 0, row = 0; done < len; row++) {
		size_t n = MIN((size_t)ROW_BYTES, len - done);

		TRY(db_query(db, NULL, NULL, e,
		             "INSERT INTO objects.chunk_data (chunk, seq, sha256, bytes) VALUES ($1, $2, $3, $4)"
		             " ON CONFLICT (chunk, seq) DO UPDATE SET bytes = EXCLUDED.bytes",
		             DB_NUMBER(at->number), DB_NUMBER(row), DB_DIGEST(&at->sha256), DB_BYTES(from + done, n)));
		done += n;
	}
	return ERR_OK;
}

struct put {
	struct driver_conn *conn;
	const struct location *at;
	const void *bytes;
	size_t len;
};

static enum err_code put_body(struct db *db, void *arg, struct err *e)
{
	const struct put *p = arg;

	return db_put_within(p->conn, db, p->at, p->bytes, p->len, e);
}

static enum err_code db_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                            struct err *e)
{
	struct put p = {c, at, bytes, len};

	return db_transaction(c->db, put_body, &p, e);
}

static enum err_code db_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                            struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	size_t total = 0;

	TRY(db_acquire(c->db, WAIT_MS, &db, e));
	TRY(db_query_binary(db, ctx, &rows, e, "SELECT bytes FROM objects.chunk_data WHERE chunk = $1 ORDER BY seq",
	                    DB_NUMBER(at->number)));
	if (!db_count(rows))
		return ERR(e, ERR_NOT_FOUND, "the database holds no chunk %lld", (long long)at->number);
	for (size_t i = 0; i < db_count(rows); i++) {
		size_t len;
		const void *bytes = db_bytes(rows, i, 0, &len);

		if (len > size - total)
			return ERR(e, ERR_CORRUPT, "chunk %lld has more than %zu bytes", (long long)at->number, size);
		if (len)
			memcpy((char *)into + total, bytes, len);
		total += len;
	}
	*got = total;
	return ERR_OK;
}

static enum err_code db_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t *numbers = talloc_array(ctx, int64_t, count + 1);

	ASSERT(numbers);
	for (size_t i = 0; i < count; i++)
		numbers[i] = at[i].number;
	TRY(db_acquire(c->db, WAIT_MS, &db, e));
	return db_query(db, NULL, NULL, e, "DELETE FROM objects.chunk_data WHERE chunk = ANY ($1::bigint[])",
	                DB_TEXT(sql_numbers(ctx, numbers, count)));
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
};
