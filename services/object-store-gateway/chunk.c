#include "services/object-store-gateway/chunk.h"

#include "services/object-store-gateway/sql_array.h"

#include <string.h>

/* ---- state ---- */

static const struct {
	enum chunk_state from, to;
} moves[] = {
    {CHUNK_WRITING, CHUNK_LIVE},
    {CHUNK_WRITING, CHUNK_DELETING},
    {CHUNK_LIVE, CHUNK_DELETING},
    {CHUNK_DELETING, CHUNK_NONE},
};

const char *chunk_state_text(enum chunk_state state)
{
	static const char *const texts[] = {"none", "writing", "live", "deleting"};

	return texts[state];
}

static bool is_move(enum chunk_state from, enum chunk_state to)
{
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].from == from && moves[i].to == to)
			return true;
	return false;
}

enum err_code chunk_set_state(struct db *db, const int64_t *ids, size_t count, enum chunk_state from,
                              enum chunk_state to, struct chunk_moved *moved, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	*moved = (struct chunk_moved){0};
	ASSERT(is_move(from, to));
	if (!count)
		return ERR_OK;
	if (to == CHUNK_NONE)
		TRY(db_query(db, ctx, &rows, e,
		             "DELETE FROM objects.chunk WHERE id = ANY ($1::bigint[]) AND state = $2"
		             " RETURNING stored_size",
		             DB_TEXT(sql_numbers(ctx, ids, count)), DB_TEXT(chunk_state_text(from))));
	else
		TRY(db_query(db, ctx, &rows, e,
		             "UPDATE objects.chunk SET state = $3, touched_at = now()"
		             " WHERE id = ANY ($1::bigint[]) AND state = $2 RETURNING stored_size",
		             DB_TEXT(sql_numbers(ctx, ids, count)), DB_TEXT(chunk_state_text(from)),
		             DB_TEXT(chunk_state_text(to))));
	moved->rows = db_count(rows);
	for (size_t i = 0; i < moved->rows; i++)
		moved->stored_bytes += db_number(rows, i, 0);
	return ERR_OK;
}

/* ---- rows ---- */

struct chunk chunk_from_row(const struct db_rows *rows, size_t row, size_t column)
{
	return (struct chunk){
	    .id = db_number(rows, row, column),
	    .sha256 = db_digest(rows, row, column + 1),
	    .size = (size_t)db_number(rows, row, column + 2),
	    .stored_size = (size_t)db_number(rows, row, column + 3),
	    .zstd = strcmp(db_text(rows, row, column + 4), "zstd") == 0,
	    .driver = db_text(rows, row, column + 5),
	};
}

bool chunk_is_live(struct store *s, const struct chunk *chunk)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	struct err ignored;

	return db_acquire(s->db, DB_WAIT_MS, &db, &ignored) != ERR_OK ||
	       db_query(db, ctx, &rows, &ignored, "SELECT 1 FROM objects.chunk WHERE id = $1 AND state = 'live'",
	                DB_NUMBER(chunk->id)) != ERR_OK ||
	       db_count(rows) > 0;
}

enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	const char *wanted = sql_digests(ctx, sha256, count);
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	/* In order of ids, as everywhere: two of these never wait for each other in a circle. */
	TRY(db_query(
	    db, NULL, NULL, e,
	    "UPDATE objects.chunk SET touched_at = now() WHERE state = 'live' AND id IN ("
	    "  SELECT id FROM objects.chunk WHERE store = $1 AND sha256 = ANY ($2::bytea[]) AND state = 'live'"
	    "  AND suspect AND touched_at <= now() - $3::bigint * interval '1 millisecond'"
	    "  ORDER BY id FOR NO KEY UPDATE)",
	    DB_TEXT(s->name), DB_TEXT(wanted), DB_NUMBER(s->grace_ms / TOUCH_PART)));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT DISTINCT w.sha256 FROM unnest($2::bytea[]) AS w (sha256) WHERE NOT EXISTS ("
	             "  SELECT 1 FROM objects.chunk c WHERE c.store = $1 AND c.sha256 = w.sha256 AND c.state = 'live')",
	             DB_TEXT(s->name), DB_TEXT(wanted)));
	*missing_count = MIN(db_count(rows), count);
	for (size_t i = 0; i < *missing_count; i++)
		missing[i] = db_digest(rows, i, 0);
	return ERR_OK;
}
