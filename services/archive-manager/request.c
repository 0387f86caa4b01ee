#include "services/archive-manager/request.h"

#include "common/clock.h"
#include "services/archive-manager/transition.h"

#define ACQUIRE_MS 5000
#define LOOK_FIRST_MS 20
#define LOOK_LAST_MS 250
#define CROWDED_WAIT_MS 200
#define REPLY_RESERVE_MS 1000 /* of the request's time, kept for the reply's way back */

enum err_code request_find_image(struct rpc_call *call, const char *image, struct request_image *found, struct err *e)
{
	struct archive *a = call->service;
	struct proto_call with = {.account = call->account};
	struct image_get_request request = {.image = image};
	struct image_get_reply reply;
	enum err_code code;

	if (!call->account || !*call->account)
		return ERR(e, ERR_INVALID, "%s without an account", call->method);
	*found = (struct request_image){0};
	code = call_image_get(a->catalog, &with, call->ctx, &request, &reply, e);
	if (code == ERR_NOT_FOUND && digest_parse(image, &found->digest))
		return ERR_OK;
	TRY(code);
	found->digest = reply.image->digest;
	found->known = reply.image;
	return ERR_OK;
}

static enum err_code load(struct rpc_call *call, const struct digest *digest, struct row *row, struct err *e)
{
	struct archive *a = call->service;
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	return row_load(db, call->ctx, call->account, digest, false, row, e);
}

static bool is_at_rest(const struct row *row)
{
	return machine_is_settled(row->state) && transition_wish_of(row) == MACHINE_NOTHING;
}

static enum err_code wait_until(struct rpc_call *call, const struct digest *digest, int64_t until_ms, struct row *row,
                                struct err *e)
{
	struct archive *a = call->service;
	int64_t look_ms = LOOK_FIRST_MS;

	for (;;) {
		int64_t left_ms = until_ms - clock_monotonic_ms();

		TRY(load(call, digest, row, e));
		if (is_at_rest(row) || left_ms <= 0 || process_sleep(a->process, MIN(look_ms, left_ms)))
			return ERR_OK;
		look_ms = MIN(look_ms * 2, LOOK_LAST_MS);
	}
}

enum err_code request_wait(struct rpc_call *call, const struct digest *digest, int64_t wait_ms, struct row *row,
                           struct err *e)
{
	struct archive *a = call->service;
	int crowd = (int)MAX(a->config->process.threads / 2, 1);
	int64_t most_ms = MAX(rpc_time_left(call) - REPLY_RESERVE_MS, 0);
	enum err_code code;

	wait_ms = MIN(wait_ms, most_ms);
	if (atomic_fetch_add(&a->waiting, 1) >= crowd)
		wait_ms = MIN(wait_ms, CROWDED_WAIT_MS);
	code = wait_until(call, digest, clock_monotonic_ms() + wait_ms, row, e);
	atomic_fetch_sub(&a->waiting, 1);
	return code;
}

struct archive_item *request_item(struct rpc_call *call, const struct row *row)
{
	struct archive_item *item = talloc(call->ctx, struct archive_item);

	ASSERT(item);
	*item = (struct archive_item){
	    .digest = row->digest,
	    .state = row->state,
	    .tags = row->tags,
	    .objects = row->objects,
	    .bytes = row->bytes,
	    .moved_bytes = row->moved_bytes,
	    .archived_at = row->archived_at,
	    .detached = row->detached,
	    .reason = row->reason,
	};
	return item;
}
