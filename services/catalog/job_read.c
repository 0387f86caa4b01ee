#include "services/catalog/job_read.h"

#include "common/reference.h"
#include "services/catalog/registry_credentials.h"
#include "services/catalog/worker.h"

#include <inttypes.h>

#define PAGE 100

#define SELECT_ITEM                                                                                                    \
	"SELECT j.id, i.digest, j.state, j.account, j.worker, j.attempts, j.deaths, j.priority, j.queued_at,"          \
	" CASE WHEN j.state = 'queued' THEN j.not_before END, CASE WHEN j.state = 'leased' THEN j.lease_until END,"    \
	" d.stage, d.last_error FROM catalog.job j JOIN catalog.image i ON i.id = j.image"                             \
	" LEFT JOIN catalog.job_detail d ON d.job = j.id"

static void read_item(const struct db_rows *rows, size_t i, struct job_item *item)
{
	*item = (struct job_item){
	    .job = db_number(rows, i, 0),
	    .image = db_digest(rows, i, 1),
	    .state = job_state_value(db_text(rows, i, 2)),
	    .account = db_text(rows, i, 3),
	    .worker = db_text(rows, i, 4),
	    .attempts = db_number(rows, i, 5),
	    .deaths = db_number(rows, i, 6),
	    .priority = db_number(rows, i, 7),
	    .queued_at = db_number(rows, i, 8),
	    .not_before = db_number(rows, i, 9),
	    .lease_until = db_number(rows, i, 10),
	    .stage = db_text(rows, i, 11),
	    .last_error = db_text(rows, i, 12),
	};
}

enum err_code job_read_item(struct db *db, TALLOC_CTX *ctx, const char *account, int64_t id, struct job_item *item,
                            struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, SELECT_ITEM " WHERE j.id = $1 AND j.account = $2", DB_NUMBER(id),
	             DB_TEXT(account)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "no job %" PRId64 " in account %s", id, account);
	read_item(rows, 0, item);
	return ERR_OK;
}

enum err_code job_read_list(struct db *db, TALLOC_CTX *ctx, const char *account, const struct job_list_request *request,
                            struct job_list_reply *reply, struct err *e)
{
	size_t limit = request->limit ? (size_t)request->limit : PAGE;
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             SELECT_ITEM " WHERE j.account = $1 AND ($2::text IS NULL OR j.state = $2)"
	                         " AND ($3::bigint = 0 OR j.id < $3) ORDER BY j.id DESC LIMIT $4",
	             DB_TEXT(account), DB_TEXT(request->state ? job_state_text(request->state) : NULL),
	             DB_NUMBER(request->before), DB_NUMBER(limit + 1)));
	reply->more = db_count(rows) > limit;
	reply->items_count = MIN(db_count(rows), limit);
	reply->items = talloc_zero_array(ctx, struct job_item, reply->items_count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < reply->items_count; i++)
		read_item(rows, i, &reply->items[i]);
	return ERR_OK;
}

enum err_code job_read_stats(struct db *db, TALLOC_CTX *ctx, const struct settings *settings,
                             struct queue_stats_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT (SELECT count(*) FROM catalog.job WHERE state = 'queued'),"
	             " (SELECT count(*) FROM catalog.job WHERE state = 'leased'),"
	             " (SELECT count(*) FROM catalog.image i JOIN catalog.job j ON j.id = i.job"
	             "  WHERE i.status = 'failed' AND i.state = 'present' AND j.state = 'failed'),"
	             " (SELECT count(*) FROM catalog.image i JOIN catalog.job j ON j.id = i.job"
	             "  WHERE i.status = 'failed' AND i.state = 'present' AND j.state = 'quarantined'),"
	             " coalesce((SELECT greatest(catalog.now_ms() - min(queued_at), 0) FROM catalog.job"
	             "  WHERE state = 'queued'), 0),"
	             " (SELECT count(*) FROM catalog.image WHERE state <> 'deleting')"));
	*reply = (struct queue_stats_reply){
	    .queued = db_number(rows, 0, 0),
	    .leased = db_number(rows, 0, 1),
	    .failed = db_number(rows, 0, 2),
	    .quarantined = db_number(rows, 0, 3),
	    .oldest_ms = db_number(rows, 0, 4),
	    .images = db_number(rows, 0, 5),
	};
	return worker_list(db, ctx, settings->lease_ms, &reply->workers, &reply->workers_count, e);
}

enum err_code job_read_progress(struct db *db, TALLOC_CTX *ctx, int64_t id, struct image_wait_reply *reply,
                                struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT stage, layers_done, layers_total, bytes_done, bytes_total FROM catalog.job_detail"
	             " WHERE job = $1",
	             DB_NUMBER(id)));
	if (db_count(rows) == 0)
		return ERR_OK;
	reply->stage = db_text(rows, 0, 0);
	reply->layers_done = db_number(rows, 0, 1);
	reply->layers_total = db_number(rows, 0, 2);
	reply->bytes_done = db_number(rows, 0, 3);
	reply->bytes_total = db_number(rows, 0, 4);
	return ERR_OK;
}

static enum err_code add_credentials(struct db *db, TALLOC_CTX *ctx, const struct vault *vault,
                                     struct job_lease_reply *reply, struct err *e)
{
	struct registry_access access;
	struct reference r;

	TRY(reference_parse(reply->reference, &r, e));
	TRY(registry_credentials_find(db, ctx, vault, reply->account, r.registry, &access, e));
	reply->registry_user = *access.user ? access.user : NULL;
	reply->registry_password = *access.password ? access.password : NULL;
	reply->registry_insecure = access.insecure;
	return ERR_OK;
}

enum err_code job_read_grant(struct db *db, TALLOC_CTX *ctx, const struct vault *vault, const struct settings *settings,
                             const struct job *job, struct job_lease_reply *reply, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT source, reference, upload FROM catalog.job_detail WHERE job = $1",
	             DB_NUMBER(job->id)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_CONFLICT, "job %" PRId64 " was removed", job->id);
	*reply = (struct job_lease_reply){
	    .job = job->id,
	    .token = job->token,
	    .lease_ms = settings->lease_ms,
	    .account = job->account,
	    .digest = job->digest,
	    .source = image_source_value(db_text(rows, 0, 0)),
	    .reference = db_text(rows, 0, 1),
	    .upload = db_text(rows, 0, 2),
	    .attempts = job->attempts,
	};
	return reply->source == IMAGE_FROM_REGISTRY ? add_credentials(db, ctx, vault, reply, e) : ERR_OK;
}
