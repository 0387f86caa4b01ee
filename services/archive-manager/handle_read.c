/* archive_get, archive_list, archive_summary. */
#include "proto/archive_handlers.h"
#include "services/archive-manager/request.h"

#define ACQUIRE_MS 5000
#define LIST_DEFAULT 100

enum err_code handle_archive_get(struct rpc_call *call, const struct archive_get_request *request,
                                 struct archive_get_reply *reply, struct err *e)
{
	struct request_image image;
	struct row row;

	TRY(request_find_image(call, request->image, &image, e));
	TRY(request_wait(call, &image.digest, request->wait_ms, &row, e));
	reply->item = request_item(call, &row);
	/* `image rm` leaves the copy in the archive, and does not ask us: the catalog knows best. */
	if (image.known && machine_is_settled(row.state) && row.complete && !request->wait_ms)
		reply->item->detached = image.known->residence == RESIDENCE_ARCHIVED;
	return ERR_OK;
}

static enum err_code check_account(const struct rpc_call *call, struct err *e)
{
	if (!call->account || !*call->account)
		return ERR(e, ERR_INVALID, "%s without an account", call->method);
	return ERR_OK;
}

enum err_code handle_archive_list(struct rpc_call *call, const struct archive_list_request *request,
                                  struct archive_list_reply *reply, struct err *e)
{
	struct archive *a = call->service;
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct row_list list;

	TRY(check_account(call, e));
	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	TRY(row_list(db, call->ctx, call->account, &request->after, request->limit ? request->limit : LIST_DEFAULT,
	             &list, e));
	reply->items = talloc_array(call->ctx, struct archive_item, list.count + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < list.count; i++)
		reply->items[i] = *request_item(call, &list.items[i]);
	reply->items_count = list.count;
	reply->more = list.more;
	return ERR_OK;
}

enum err_code handle_archive_summary(struct rpc_call *call, const struct archive_summary_request *request,
                                     struct archive_summary_reply *reply, struct err *e)
{
	struct archive *a = call->service;
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)request;
	TRY(check_account(call, e));
	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	return row_summary(db, call->ctx, call->account, reply, e);
}
