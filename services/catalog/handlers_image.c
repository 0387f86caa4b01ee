/* Handlers that show images and take them out of the working set. */
#include "proto/catalog_handlers.h"
#include "services/catalog/account.h"
#include "services/catalog/catalog.h"
#include "services/catalog/detail.h"
#include "services/catalog/job_read.h"
#include "services/catalog/package_read.h"
#include "services/catalog/removal.h"
#include "services/catalog/tag.h"

enum err_code handle_image_get(struct rpc_call *call, const struct image_get_request *request,
                               struct image_get_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct image image;

	reply->image = talloc_zero(call->ctx, struct image_detail);
	ASSERT(reply->image);
	TRY(catalog_connect(call, &db, e));
	TRY(image_find(db, call->ctx, catalog_account(call), request->image, &image, e));
	return detail_read(db, call->ctx, image.id, reply->image, NULL, e);
}

/* ---- waiting ---- */

/* How the image is now; *ended: nothing more is to come. The name is turned into a digest at the first look, since a
 * tag may move while somebody waits. */
static enum err_code look(struct rpc_call *call, const char *name, struct image_wait_reply *reply, bool *ended,
                          struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct image image;

	TRY(catalog_connect(call, &db, e));
	TRY(image_find(db, call->ctx, catalog_account(call), name, &image, e));
	*reply = (struct image_wait_reply){.digest = image.digest, .status = image.status, .reason = image.reason};
	*ended = image.status == ANALYSIS_ANALYSED || image.status == ANALYSIS_FAILED;
	return *ended ? ERR_OK : job_read_progress(db, call->ctx, image.job, reply, e);
}

static enum err_code wait_for_end(struct rpc_call *call, const struct image_wait_request *request, int64_t until_ms,
                                  struct image_wait_reply *reply, struct err *e)
{
	struct catalog *c = catalog_of(call);
	const char *name = request->image;
	uint64_t seen;
	bool ended;

	do {
		seen = hub_seen(c->hub);
		TRY(look(call, name, reply, &ended, e));
		name = talloc_strdup(call->ctx, digest_text(&reply->digest).text);
	} while (!ended && hub_wait(c->hub, seen, until_ms));
	return ERR_OK;
}

enum err_code handle_image_wait(struct rpc_call *call, const struct image_wait_request *request,
                                struct image_wait_reply *reply, struct err *e)
{
	struct catalog *c = catalog_of(call);
	int64_t until_ms = hub_hold(c->hub, MIN(request->wait_ms, rpc_time_left(call)));
	enum err_code code = wait_for_end(call, request, until_ms, reply, e);

	hub_let_go(c->hub);
	return code;
}

/* ---- lists ---- */

enum err_code handle_image_list(struct rpc_call *call, const struct image_list_request *request,
                                struct image_list_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	TRY(detail_list(db, call->ctx, catalog_account(call), request, reply, e));
	/* Whoever mistypes an account is not told that it has no images. */
	return reply->items_count ? ERR_OK : account_check(db, catalog_account(call), e);
}

enum err_code handle_image_history(struct rpc_call *call, const struct image_history_request *request,
                                   struct image_history_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return tag_history_read(db, call->ctx, catalog_account(call), request->reference, reply, e);
}

enum err_code handle_image_packages(struct rpc_call *call, const struct image_packages_request *request,
                                    struct image_packages_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct image image;

	TRY(catalog_connect(call, &db, e));
	TRY(image_find(db, call->ctx, catalog_account(call), request->image, &image, e));
	reply->digest = image.digest;
	return package_read_image(db, call->ctx, image.id, request, reply, e);
}

enum err_code handle_package_find(struct rpc_call *call, const struct package_find_request *request,
                                  struct package_find_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return package_read_hits(db, call->ctx, catalog_account(call), request, reply, e);
}

/* ---- removal ---- */

struct removing {
	struct rpc_call *call;
	const struct image_remove_request *request;
	struct image image;
};

static enum err_code remove_image(struct db *db, void *arg, struct err *e)
{
	struct removing *r = arg;
	TALLOC_CTX *ctx = r->call->ctx;

	TRY(image_find(db, ctx, catalog_account(r->call), r->request->image, &r->image, e));
	return removal_from_working_set(db, ctx, &r->image, r->request->force, e);
}

enum err_code handle_image_remove(struct rpc_call *call, const struct image_remove_request *request,
                                  struct image_remove_reply *reply, struct err *e)
{
	struct catalog *c = catalog_of(call);
	struct removing r = {.call = call, .request = request};

	TRY(db_transaction(c->db, remove_image, &r, e));
	catalog_wake_removal(c);
	hub_announce(c->hub);
	reply->digest = r.image.digest;
	return ERR_OK;
}
