#include "services/catalog/event.h"

#define PAGE 100
#define BATCH 1000

enum err_code event_add(struct db *db, const struct event *event, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.event (account, kind, subject, message)"
	                " VALUES ($1, $2, left($3, 1000), left($4, 1000))",
	                DB_TEXT(event->account), DB_TEXT(event->kind), DB_TEXT(event->subject),
	                DB_TEXT(event->message));
}

enum err_code event_read(struct db *db, TALLOC_CTX *ctx, const char *account, const struct event_list_request *request,
                         struct event_list_reply *reply, struct err *e)
{
	size_t limit = request->limit ? (size_t)request->limit : PAGE;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, at, kind, subject, message FROM catalog.event"
	             " WHERE account = $1 AND ($2::bigint = 0 OR id < $2) ORDER BY id DESC LIMIT $3",
	             DB_TEXT(account), DB_NUMBER(request->before), DB_NUMBER(limit + 1)));
	reply->more = db_count(rows) > limit;
	reply->items_count = MIN(db_count(rows), limit);
	reply->items = talloc_zero_array(ctx, struct event_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		reply->items[i] = (struct event_item){
		    .event = db_number(rows, i, 0),
		    .at = db_number(rows, i, 1),
		    .kind = db_text(rows, i, 2),
		    .subject = db_text(rows, i, 3),
		    .message = db_text(rows, i, 4),
		};
	return ERR_OK;
}

enum err_code event_prune(struct db *db, int64_t keep, int64_t age_ms, bool *more, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "DELETE FROM catalog.event WHERE id IN (SELECT id FROM catalog.event ORDER BY id LIMIT $3)"
	             " AND (at < catalog.now_ms() - $2::bigint"
	             "      OR id <= (SELECT max(id) FROM catalog.event) - $1::bigint)",
	             DB_NUMBER(keep), DB_NUMBER(age_ms), DB_NUMBER(BATCH)));
	*more = db_affected(rows) == BATCH;
	return ERR_OK;
}
