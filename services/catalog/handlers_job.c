/* Handlers for jobs as users see them. */
#include "proto/catalog_handlers.h"
#include "services/catalog/catalog.h"
#include "services/catalog/job_read.h"

enum err_code handle_job_list(struct rpc_call *call, const struct job_list_request *request,
                              struct job_list_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return job_read_list(db, call->ctx, catalog_account(call), request, reply, e);
}

static enum err_code show(struct rpc_call *call, int64_t id, struct job_item **item, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	*item = talloc_zero(call->ctx, struct job_item);
	ASSERT(*item);
	TRY(catalog_connect(call, &db, e));
	return job_read_item(db, call->ctx, catalog_account(call), id, *item, e);
}

enum err_code handle_job_get(struct rpc_call *call, const struct job_get_request *request, struct job_get_reply *reply,
                             struct err *e)
{
	return show(call, request->job, &reply->item, e);
}

struct order {
	struct rpc_call *call;
	int64_t job;
};

static enum err_code cancel(struct db *db, void *arg, struct err *e)
{
	struct order *o = arg;
	struct job job;

	TRY(job_lock(db, o->call->ctx, catalog_account(o->call), o->job, &job, e));
	return job_cancel(db, &job, "cancelled: on request", e);
}

static enum err_code retry(struct db *db, void *arg, struct err *e)
{
	struct order *o = arg;
	struct job job;

	TRY(job_lock(db, o->call->ctx, catalog_account(o->call), o->job, &job, e));
	return job_retry(db, &job, e);
}

static enum err_code carry_out(struct rpc_call *call, db_body body, int64_t job, struct job_item **item, struct err *e)
{
	struct catalog *c = catalog_of(call);
	struct order order = {.call = call, .job = job};

	TRY(db_transaction(c->db, body, &order, e));
	hub_announce(c->hub);
	return show(call, job, item, e);
}

enum err_code handle_job_cancel(struct rpc_call *call, const struct job_cancel_request *request,
                                struct job_cancel_reply *reply, struct err *e)
{
	return carry_out(call, cancel, request->job, &reply->item, e);
}

enum err_code handle_job_retry(struct rpc_call *call, const struct job_retry_request *request,
                               struct job_retry_reply *reply, struct err *e)
{
	return carry_out(call, retry, request->job, &reply->item, e);
}

enum err_code handle_queue_stats(struct rpc_call *call, const struct queue_stats_request *request,
                                 struct queue_stats_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)request;
	TRY(catalog_connect(call, &db, e));
	return job_read_stats(db, call->ctx, catalog_of(call)->settings, reply, e);
}
