#include "services/object-store-gateway/chunk.h"

#include "services/object-store-gateway/sql_array.h"

#include <stdio.h>
#include <string.h>

/* ---- state ---- */

static const struct {
	enum chunk_state from, to;
} moves[] = {
    {CHUNK_WRITING, CHUNK_LIVE},  {CHUNK_WRITING, CHUNK_DELETING}, {CHUNK_LIVE, CHUNK_DELETING},
    {CHUNK_LIVE, CHUNK_SPARE},    {CHUNK_SPARE, CHUNK_DELETING},   {CHUNK_DELETING, CHUNK_NONE},
    {CHUNK_WRITING, CHUNK_SPARE},
};

const char *chunk_state_text(enum chunk_state state)
{
	static const char *const texts[] = {"none", "writing", "live", "spare", "deleting"};

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
	struct chunk chunk = {
	    .id = db_number(rows, row, column),
	    .sha256 = db_digest(rows, row, column + 1),
	    .size = (size_t)db_number(rows, row, column + 2),
	    .stored_size = (size_t)db_number(rows, row, column + 3),
	    .zstd = strcmp(db_text(rows, row, column + 4), "zstd") == 0,
	    .backend = db_number(rows, row, column + 5),
	};
	const char *key = db_text(rows, row, column + 6);

	/* One that is longer is no key's, and cut it is none's either. */
	snprintf(chunk.cipher_key, sizeof(chunk.cipher_key), "%s", key ? key : "");
	return chunk;
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

/* In order of numbers, as everywhere: two of these never wait for each other in a circle. */
static enum err_code renew(struct db *db, TALLOC_CTX *ctx, const int64_t *ids, size_t count, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "UPDATE objects.chunk SET touched_at = now() WHERE id IN ("
	                "  SELECT id FROM objects.chunk WHERE id = ANY ($1::bigint[]) AND state = 'live'"
	                "  ORDER BY id FOR NO KEY UPDATE)",
	                DB_TEXT(sql_numbers(ctx, ids, count)));
}

/* LIMIT keeps the planner from joining with all chunks of the store. */
static enum err_code look_up(struct db *db, TALLOC_CTX *ctx, const struct store *s, const struct digest *sha256,
                             size_t count, struct db_rows **rows, struct err *e)
{
	return db_query(
	    db, ctx, rows, e,
	    "SELECT w.sha256, c.id, c.suspect AND c.touched_at <= now() - $3::bigint * interval '1 millisecond'"
	    " FROM (SELECT DISTINCT sha256 FROM unnest($2::bytea[]) AS u (sha256)) AS w"
	    " LEFT JOIN LATERAL (SELECT id, suspect, touched_at FROM objects.chunk"
	    "   WHERE store = $1 AND sha256 = w.sha256 AND state = 'live' AND NOT damaged"
	    "   AND (cipher_key IS NULL OR cipher_key = ANY ($4::text[])) LIMIT 1) AS c ON true",
	    DB_TEXT(s->name), DB_TEXT(sql_digests(ctx, sha256, count)), DB_NUMBER(s->grace_ms / TOUCH_PART),
	    DB_TEXT(keyring_sql(s->keys)));
}

/* What was not renewed in time is missing: asked again, after the renewal. */
enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t *stale = talloc_zero_array(ctx, int64_t, count + 1);
	struct db_rows *rows;
	size_t stale_count = 0;

	ASSERT(stale);
	*missing_count = 0;
	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(look_up(db, ctx, s, sha256, count, &rows, e));
	for (size_t i = 0; i < db_count(rows); i++)
		if (db_flag(rows, i, 2))
			stale[stale_count++] = db_number(rows, i, 1);
	if (stale_count) {
		TRY(renew(db, ctx, stale, stale_count, e));
		TRY(look_up(db, ctx, s, sha256, count, &rows, e));
	}
	for (size_t i = 0; i < db_count(rows); i++)
		if (db_is_null(rows, i, 1))
			missing[(*missing_count)++] = db_digest(rows, i, 0);
	ASSERT(*missing_count <= count);
	return ERR_OK;
}
