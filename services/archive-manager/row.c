#include "services/archive-manager/row.h"

#include "common/json.h"

#include <string.h>

#define TAGS_MAX (2 * MIB)
#define COLUMNS                                                                                                        \
	"account, digest, state, intent, detach, complete, detached, tags, objects, bytes, moved_bytes, analysed_at,"  \
	" archived_at, manifest, reason, attempts, token"

static const char *intent_text(enum machine_event intent)
{
	if (intent == MACHINE_RESTORE)
		return "restore";
	return intent == MACHINE_REMOVE ? "remove" : NULL;
}

static enum machine_event intent_value(const char *text)
{
	if (!text)
		return MACHINE_NOTHING;
	return strcmp(text, "remove") == 0 ? MACHINE_REMOVE : MACHINE_RESTORE;
}

/* Tags stand in the row as JSON, {"tags": [...]}. */
static char *tags_print(TALLOC_CTX *ctx, const struct proto_texts *tags)
{
	CLEANUP(json_cleanup) cJSON *object = cJSON_CreateObject();
	cJSON *array = cJSON_AddArrayToObject(object, "tags");
	char *text, *copy;

	ASSERT(array);
	for (size_t i = 0; i < tags->count; i++)
		ASSERT(cJSON_AddItemToArray(array, cJSON_CreateString(tags->items[i])));
	text = cJSON_PrintUnformatted(object);
	ASSERT(text);
	copy = talloc_strdup(ctx, text);
	ASSERT(copy);
	cJSON_free(text);
	return copy;
}

static enum err_code tags_parse(TALLOC_CTX *ctx, const char *text, struct proto_texts *tags, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;
	const cJSON *array, *item;

	TRY(json_parse(text, strlen(text), TAGS_MAX, "the tags of a row", &object, e));
	array = json_array(object, "tags");
	cJSON_ArrayForEach (item, array) {
		if (!cJSON_IsString(item))
			continue;
		tags->items = talloc_realloc(ctx, tags->items, const char *, tags->count + 1);
		ASSERT(tags->items);
		tags->items[tags->count++] = talloc_strdup(ctx, item->valuestring);
	}
	return ERR_OK;
}

static const char *copy_text(TALLOC_CTX *ctx, const char *text)
{
	char *copy = text ? talloc_strdup(ctx, text) : NULL;

	ASSERT(copy || !text);
	return copy;
}

static enum err_code read_row(TALLOC_CTX *ctx, const struct db_rows *rows, size_t i, struct row *row, struct err *e)
{
	*row = (struct row){
	    .account = copy_text(ctx, db_text(rows, i, 0)),
	    .digest = db_digest(rows, i, 1),
	    .state = archive_state_value(db_text(rows, i, 2)),
	    .intent = intent_value(db_text(rows, i, 3)),
	    .detach = db_flag(rows, i, 4),
	    .complete = db_flag(rows, i, 5),
	    .detached = db_flag(rows, i, 6),
	    .objects = db_number(rows, i, 8),
	    .bytes = db_number(rows, i, 9),
	    .moved_bytes = db_number(rows, i, 10),
	    .analysed_at = db_number(rows, i, 11),
	    .archived_at = db_number(rows, i, 12),
	    .manifest = db_digest(rows, i, 13),
	    .reason = copy_text(ctx, db_text(rows, i, 14)),
	    .attempts = db_number(rows, i, 15),
	    .token = db_number(rows, i, 16),
	};
	return tags_parse(ctx, db_text(rows, i, 7), &row->tags, e);
}

enum err_code row_load(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *digest, bool lock,
                       struct row *row, struct err *e)
{
	struct db_rows *rows;

	if (lock)
		TRY(db_query(db, ctx, &rows, e,
		             "SELECT " COLUMNS " FROM archive.image WHERE account = $1 AND digest = $2 FOR UPDATE",
		             DB_TEXT(account), DB_DIGEST(digest)));
	else
		TRY(db_query(db, ctx, &rows, e,
		             "SELECT " COLUMNS " FROM archive.image WHERE account = $1 AND digest = $2",
		             DB_TEXT(account), DB_DIGEST(digest)));
	if (!db_count(rows))
		return ERR(e, ERR_NOT_FOUND, "image %s is not in the archive", digest_text(digest).text);
	return read_row(ctx, rows, 0, row, e);
}

enum err_code row_insert(struct db *db, const char *account, const struct digest *digest, bool detach, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;
	struct machine_move move = machine_next(archive_state_none, MACHINE_ADD);

	TRY(db_query(db, scratch, &rows, e,
	             "INSERT INTO archive.image (account, digest, state, detach) VALUES ($1, $2, $3, $4)"
	             " ON CONFLICT DO NOTHING",
	             DB_TEXT(account), DB_DIGEST(digest), DB_TEXT(archive_state_text(move.to)), DB_FLAG(detach)));
	if (!db_affected(rows))
		return ERR(e, ERR_CONFLICT, "image %s is being archived already", digest_text(digest).text);
	return ERR_OK;
}

static enum err_code check_mine(const struct db_rows *rows, const struct row *row, struct err *e)
{
	if (db_affected(rows) != 1)
		return ERR(e, ERR_STALE_LEASE, "image %s is in other hands now", digest_text(&row->digest).text);
	return ERR_OK;
}

static enum err_code delete_row(struct db *db, const struct row *row, int64_t token, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "DELETE FROM archive.image WHERE account = $1 AND digest = $2 AND state = $3 AND token = $4",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(archive_state_text(row->state)),
	             DB_NUMBER(token)));
	return check_mine(rows, row, e);
}

static enum err_code write_state(struct db *db, const struct row *row, enum archive_state to, int64_t token,
                                 struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	/* A wish is spent by the state that carries it out; removing takes the mark "complete" away first. */
	TRY(db_query(db, scratch, &rows, e,
	             "UPDATE archive.image SET state = $4, attempts = 0, not_before = 0, updated_at = archive.now_ms(),"
	             " reason = CASE WHEN $4 = 'failed' THEN reason END,"
	             " intent = CASE WHEN $4 IN ('restoring', 'removing') THEN NULL ELSE intent END,"
	             " complete = complete AND $4 NOT IN ('copying', 'removing')"
	             " WHERE account = $1 AND digest = $2 AND state = $3 AND ($5::bigint = 0 OR token = $5)",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(archive_state_text(row->state)),
	             DB_TEXT(archive_state_text(to)), DB_NUMBER(token)));
	TRY(check_mine(rows, row, e));
	return db_query(db, scratch, NULL, e,
	                "UPDATE archive.object SET done = false WHERE account = $1 AND digest = $2 AND done",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest));
}

enum err_code row_move(struct db *db, struct row *row, enum machine_event event, int64_t token, struct err *e)
{
	struct machine_move move = machine_next(row->state, event);

	if (!move.allowed)
		return ERR(e, ERR_CONFLICT, "image %s: no \"%s\" while it is %s", digest_text(&row->digest).text,
		           machine_event_name(event), archive_state_text(row->state));
	if (move.to == archive_state_none)
		TRY(delete_row(db, row, token, e));
	else
		TRY(write_state(db, row, move.to, token, e));
	row->state = move.to;
	return ERR_OK;
}

enum err_code row_wish(struct db *db, const struct row *row, enum machine_event intent, bool detach, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "UPDATE archive.image SET intent = coalesce($3, intent), detach = $4, not_before = 0"
	                " WHERE account = $1 AND digest = $2",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_TEXT(intent_text(intent)), DB_FLAG(detach));
}

enum err_code row_claim(struct db *db, TALLOC_CTX *ctx, const char *owner, int64_t lease_ms, struct row *row,
                        struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "WITH due AS (SELECT account AS of_account, digest AS of_digest FROM archive.image"
	             "  WHERE (state NOT IN ('archived', 'failed') OR intent IS NOT NULL OR detach)"
	             "  AND not_before <= archive.now_ms() AND (lease_until IS NULL OR lease_until < archive.now_ms())"
	             "  ORDER BY not_before, updated_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
	             " UPDATE archive.image SET owner = $1, lease_until = archive.now_ms() + $2::bigint,"
	             " token = token + 1 FROM due WHERE account = of_account AND digest = of_digest"
	             " RETURNING " COLUMNS,
	             DB_TEXT(owner), DB_NUMBER(lease_ms)));
	if (!db_count(rows))
		return ERR(e, ERR_NOT_FOUND, "no image is waiting");
	return read_row(ctx, rows, 0, row, e);
}

enum err_code row_release(struct db *db, const struct row *row, int64_t wait_ms, bool counted, const char *reason,
                          struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "UPDATE archive.image SET owner = NULL, lease_until = NULL,"
	                " not_before = CASE WHEN $4::bigint = 0 THEN not_before ELSE archive.now_ms() + $4 END,"
	                " attempts = attempts + $5::integer, reason = coalesce($6, reason)"
	                " WHERE account = $1 AND digest = $2 AND token = $3",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token), DB_NUMBER(wait_ms),
	                DB_NUMBER(counted), DB_TEXT(reason));
}

enum err_code row_settle(struct db *db, const struct row *row, bool *again, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "UPDATE archive.image SET owner = NULL, lease_until = NULL"
	             " WHERE account = $1 AND digest = $2 AND token = $3 AND state = $4"
	             " AND intent IS NULL AND NOT detach",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token),
	             DB_TEXT(archive_state_text(row->state))));
	*again = db_affected(rows) == 0;
	return ERR_OK;
}

enum err_code row_set_source(struct db *db, const struct row *row, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "UPDATE archive.image SET tags = $4, tag_count = $5, analysed_at = $6, complete = false,"
	             " detached = false WHERE account = $1 AND digest = $2 AND token = $3",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token),
	             DB_TEXT(tags_print(scratch, &row->tags)), DB_NUMBER(row->tags.count),
	             DB_NUMBER(row->analysed_at)));
	return check_mine(rows, row, e);
}

enum err_code row_set_copy(struct db *db, const struct row *row, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(db, scratch, &rows, e,
	             "UPDATE archive.image SET manifest = $4, (objects, bytes, moved_bytes) ="
	             " (SELECT count(*), coalesce(sum(size), 0), coalesce(sum(moved_bytes), 0) FROM archive.object o"
	             "  WHERE o.account = $1 AND o.digest = $2)"
	             " WHERE account = $1 AND digest = $2 AND token = $3",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token), DB_DIGEST(&row->manifest)));
	return check_mine(rows, row, e);
}

enum err_code row_set_complete(struct db *db, const struct row *row, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct db_rows *rows;

	TRY(db_query(
	    db, scratch, &rows, e,
	    "UPDATE archive.image SET archived_at = CASE WHEN complete THEN archived_at ELSE archive.now_ms() END,"
	    " complete = true WHERE account = $1 AND digest = $2 AND token = $3",
	    DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token)));
	return check_mine(rows, row, e);
}

enum err_code row_set_detached(struct db *db, const struct row *row, struct err *e)
{
	return db_query(db, NULL, NULL, e,
	                "UPDATE archive.image SET detached = $4, detach = detach AND $5"
	                " WHERE account = $1 AND digest = $2 AND token = $3",
	                DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token), DB_FLAG(row->detached),
	                DB_FLAG(row->detach));
}

enum err_code row_fail(struct db *db, struct row *row, const char *reason, struct err *e)
{
	TRY(db_query(db, NULL, NULL, e,
	             "UPDATE archive.image SET reason = $4, detach = false"
	             " WHERE account = $1 AND digest = $2 AND token = $3",
	             DB_TEXT(row->account), DB_DIGEST(&row->digest), DB_NUMBER(row->token), DB_TEXT(reason)));
	return row_move(db, row, MACHINE_FAIL, row->token, e);
}

static enum err_code read_page(TALLOC_CTX *ctx, const struct db_rows *rows, int64_t limit, struct row_list *list,
                               struct err *e)
{
	list->count = MIN(db_count(rows), (size_t)limit);
	list->more = db_count(rows) > list->count;
	list->items = talloc_array(ctx, struct row, list->count + 1);
	ASSERT(list->items);
	for (size_t i = 0; i < list->count; i++)
		TRY(read_row(ctx, rows, i, &list->items[i], e));
	return ERR_OK;
}

enum err_code row_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *after, int64_t limit,
                       struct row_list *list, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " COLUMNS
	             " FROM archive.image WHERE account = $1 AND digest > $2 ORDER BY digest LIMIT $3",
	             DB_TEXT(account), DB_DIGEST(after), DB_NUMBER(limit + 1)));
	return read_page(ctx, rows, limit, list, e);
}

enum err_code row_list_settled(struct db *db, TALLOC_CTX *ctx, const char *account, const struct digest *after,
                               int64_t limit, struct row_list *list, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " COLUMNS " FROM archive.image WHERE (account, digest) > ($1, $2)"
	             " AND state IN ('archived', 'failed') ORDER BY account, digest LIMIT $3",
	             DB_TEXT(account), DB_DIGEST(after), DB_NUMBER(limit + 1)));
	return read_page(ctx, rows, limit, list, e);
}

enum err_code row_summary(struct db *db, TALLOC_CTX *ctx, const char *account, struct archive_summary_reply *reply,
                          struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT count(*), count(*) FILTER (WHERE detached), coalesce(sum(tag_count), 0)::bigint,"
	             " count(*) FILTER (WHERE state NOT IN ('archived', 'failed')),"
	             " count(*) FILTER (WHERE state = 'failed'),"
	             " coalesce(sum(bytes), 0)::bigint, coalesce(sum(moved_bytes), 0)::bigint"
	             " FROM archive.image WHERE account = $1",
	             DB_TEXT(account)));
	*reply = (struct archive_summary_reply){
	    .images = db_number(rows, 0, 0),
	    .detached = db_number(rows, 0, 1),
	    .tags = db_number(rows, 0, 2),
	    .in_transition = db_number(rows, 0, 3),
	    .failed = db_number(rows, 0, 4),
	    .bytes = db_number(rows, 0, 5),
	    .moved_bytes = db_number(rows, 0, 6),
	};
	return ERR_OK;
}
