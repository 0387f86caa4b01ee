/* Handlers that workers call: leases, layers, package sets, results. */
#include "common/fault.h"
#include "common/log.h"
#include "proto/catalog_handlers.h"
#include "services/catalog/catalog.h"
#include "services/catalog/job_lease.h"
#include "services/catalog/job_read.h"
#include "services/catalog/layer.h"
#include "services/catalog/result.h"
#include "services/catalog/set_store.h"
#include "services/catalog/worker.h"

#include <inttypes.h>

/* What the transactions here work with. */
struct work {
	struct catalog *c;
	TALLOC_CTX *ctx;
	const void *request;
	const char *request_id;
	void *reply;
	struct job job;
	enum job_state state;
	bool flag;
};

static struct work work_of(struct rpc_call *call, const void *request, void *reply)
{
	return (struct work){.c = catalog_of(call),
	                     .ctx = call->ctx,
	                     .request = request,
	                     .request_id = call->request_id,
	                     .reply = reply};
}

/* ---- leasing ---- */

static enum err_code lease(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;
	const struct job_lease_request *request = w->request;

	TRY(job_lease(db, w->ctx, w->c->settings, request->worker, w->request_id, &w->job, e));
	return w->job.id ? ERR_OK : worker_has_left(db, request->worker, &w->flag, e);
}

/* One look for work; w->flag: this worker shall get none any more. Two replicas that got the same request may both find
 * a job for it; one of them then conflicts, and finds the other's lease when it looks again. */
static enum err_code lease_once(struct work *w, struct err *e)
{
	enum err_code code = db_transaction(w->c->db, lease, w, e);

	if (code == ERR_CONFLICT)
		code = db_transaction(w->c->db, lease, w, e);
	return code;
}

static enum err_code grant(struct rpc_call *call, struct work *w, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	FAULT_POINT("job-leased");
	return job_read_grant(db, call->ctx, w->c->vault, w->c->settings, &w->job, w->reply, e);
}

static enum err_code note_worker(struct rpc_call *call, const char *worker, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return worker_note(db, worker, e);
}

enum err_code handle_job_lease(struct rpc_call *call, const struct job_lease_request *request,
                               struct job_lease_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);
	enum err_code code;
	int64_t until_ms;
	uint64_t seen;

	TRY(note_worker(call, request->worker, e));
	until_ms = hub_hold(w.c->hub, MIN(request->wait_ms, rpc_time_left(call)));
	do {
		seen = hub_seen(w.c->hub);
		code = lease_once(&w, e);
	} while (code == ERR_OK && !w.job.id && !w.flag && hub_wait(w.c->hub, seen, until_ms));
	hub_let_go(w.c->hub);
	TRY(code);
	return w.job.id ? grant(call, &w, e) : ERR_OK;
}

static enum err_code leave(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;
	const struct worker_leave_request *request = w->request;

	return worker_leave(db, request->worker, e);
}

enum err_code handle_worker_leave(struct rpc_call *call, const struct worker_leave_request *request,
                                  struct worker_leave_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	TRY(db_transaction(w.c->db, leave, &w, e));
	hub_announce(w.c->hub);
	return ERR_OK;
}

static enum err_code renew(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;

	return job_renew(db, w->c->settings, w->request, &w->flag, e);
}

enum err_code handle_job_renew(struct rpc_call *call, const struct job_renew_request *request,
                               struct job_renew_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	TRY(db_transaction(w.c->db, renew, &w, e));
	reply->cancelled = w.flag;
	reply->lease_ms = w.flag ? 0 : w.c->settings->lease_ms;
	return ERR_OK;
}

static enum err_code release(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;
	const struct job_release_request *request = w->request;

	return job_release(db, request->job, request->token, e);
}

enum err_code handle_job_release(struct rpc_call *call, const struct job_release_request *request,
                                 struct job_release_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	TRY(db_transaction(w.c->db, release, &w, e));
	hub_announce(w.c->hub);
	catalog_wake_removal(w.c);
	return ERR_OK;
}

static enum err_code fail(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;

	return job_fail(db, w->c->settings, w->request, &w->state, e);
}

enum err_code handle_job_fail(struct rpc_call *call, const struct job_fail_request *request,
                              struct job_fail_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	TRY(db_transaction(w.c->db, fail, &w, e));
	hub_announce(w.c->hub);
	catalog_wake_removal(w.c);
	reply->state = w.state;
	return ERR_OK;
}

/* ---- layers: always of the job's account ---- */

static enum err_code lookup(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;
	const struct layer_lookup_request *request = w->request;

	TRY(job_check_held(db, w->ctx, request->job, request->token, &w->job, e));
	return layer_lookup(db, w->ctx, w->job.account, request, w->reply, e);
}

enum err_code handle_layer_lookup(struct rpc_call *call, const struct layer_lookup_request *request,
                                  struct layer_lookup_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	return db_transaction(w.c->db, lookup, &w, e);
}

enum err_code handle_layer_begin(struct rpc_call *call, const struct layer_begin_request *request,
                                 struct layer_begin_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct job job;

	(void)reply;
	TRY(catalog_connect(call, &db, e));
	TRY(job_check_held(db, call->ctx, request->job, request->token, &job, e));
	return layer_begin(db, job.account, &request->layer, request->revision, e);
}

enum err_code handle_layer_commit(struct rpc_call *call, const struct layer_commit_request *request,
                                  struct layer_commit_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct job job;

	(void)reply;
	TRY(catalog_connect(call, &db, e));
	TRY(job_check_held(db, call->ctx, request->job, request->token, &job, e));
	return layer_commit(db, job.account, request, e);
}

/* ---- package sets: shared among accounts ---- */

static enum err_code need(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;
	const struct set_need_request *request = w->request;
	struct set_need_reply *reply = w->reply;

	return set_need(db, w->ctx, &request->sets, &reply->missing, e);
}

enum err_code handle_set_need(struct rpc_call *call, const struct set_need_request *request,
                              struct set_need_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	return db_transaction(w.c->db, need, &w, e);
}

enum err_code handle_set_put(struct rpc_call *call, const struct set_put_request *request, struct set_put_reply *reply,
                             struct err *e)
{
	return set_store_part(catalog_of(call)->db, request, &reply->complete, e);
}

/* ---- the result ---- */

static enum err_code commit(struct db *db, void *arg, struct err *e)
{
	struct work *w = arg;

	return result_commit(db, w->request, e);
}

enum err_code handle_job_commit(struct rpc_call *call, const struct job_commit_request *request,
                                struct job_commit_reply *reply, struct err *e)
{
	struct work w = work_of(call, request, reply);

	TRY(db_transaction(w.c->db, commit, &w, e));
	FAULT_POINT("job-committed");
	hub_announce(w.c->hub);
	return ERR_OK;
}
