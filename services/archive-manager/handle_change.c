/* archive_add, archive_restore, archive_remove: each decides in one transaction, under the row's lock, what is to
 * happen, and leaves it to a transition. */
#include "common/fault.h"
#include "proto/archive_handlers.h"
#include "services/archive-manager/request.h"

struct wanted {
	const char *account;
	const struct request_image *image;
	bool detach;
};

/* ---- archive_add ---- */

static enum err_code check_source(const struct wanted *w, struct err *e)
{
	const struct image_detail *known = w->image->known;

	if (!known)
		return ERR(e, ERR_NOT_FOUND, "image %s is not known", digest_text(&w->image->digest).text);
	if (known->status != ANALYSIS_ANALYSED)
		return ERR(e, ERR_PRECONDITION, "image %s is %s, only analysed images can be archived",
		           digest_text(&known->digest).text, analysis_status_text(known->status));
	return ERR_OK;
}

/* The image has settled. What does the wish to have it archived mean for it? */
static enum machine_event event_for_add(const struct wanted *w, const struct row *row)
{
	const struct image_detail *known = w->image->known;
	bool has_source = known->residence != RESIDENCE_ARCHIVED;

	if (row->state == ARCHIVE_FAILED)
		return has_source ? MACHINE_ADD : MACHINE_CHECK;
	if (has_source && (known->residence == RESIDENCE_WORKING || known->analysed_at != row->analysed_at))
		return MACHINE_ADD;
	/* A copy may be years old: it is read back before the source goes. */
	return has_source && w->detach ? MACHINE_CHECK : MACHINE_NOTHING;
}

static enum err_code add_body(struct db *db, void *arg, struct err *e)
{
	const struct wanted *w = arg;
	SCRATCH_CTX(scratch);
	struct row row;
	enum machine_event event;
	enum err_code code = row_load(db, scratch, w->account, &w->image->digest, true, &row, e);
	bool detach;

	if (code == ERR_NOT_FOUND)
		return row_insert(db, w->account, &w->image->digest, w->detach, e);
	TRY(code);
	if (row.state == ARCHIVE_REMOVING || row.intent == MACHINE_REMOVE)
		return ERR(e, ERR_CONFLICT, "image %s is being removed from the archive",
		           digest_text(&row.digest).text);
	event = machine_is_settled(row.state) ? event_for_add(w, &row) : MACHINE_NOTHING;
	if (event != MACHINE_NOTHING)
		TRY(row_move(db, &row, event, 0, e));
	detach = row.detach || (w->detach && row.state != ARCHIVE_ARCHIVED);
	return detach == row.detach ? ERR_OK : row_wish(db, &row, MACHINE_NOTHING, detach, e);
}

/* Two that ask at once for an image not there yet: the slower finds the row of the faster. */
static enum err_code add(struct archive *a, struct wanted *w, struct err *e)
{
	enum err_code code = db_transaction(a->db, add_body, w, e);

	return code == ERR_CONFLICT ? db_transaction(a->db, add_body, w, e) : code;
}

enum err_code handle_archive_add(struct rpc_call *call, const struct archive_add_request *request,
                                 struct archive_add_reply *reply, struct err *e)
{
	struct archive *a = call->service;
	struct request_image image;
	struct wanted w = {call->account, &image, request->detach};
	struct row row;

	TRY(request_find_image(call, request->image, &image, e));
	TRY(check_source(&w, e));
	TRY(add(a, &w, e));
	FAULT_POINT("archive-add-committed");
	archive_wake(a);
	TRY(request_wait(call, &image.digest, request->wait_ms, &row, e));
	reply->item = request_item(call, &row);
	return ERR_OK;
}

/* ---- archive_restore ---- */

static enum err_code restore_settled(struct db *db, const struct wanted *w, struct row *row, struct err *e)
{
	const struct image_detail *known = w->image->known;

	if (known && known->residence != RESIDENCE_ARCHIVED)
		return ERR_OK;
	if (!row->complete)
		return ERR(e, ERR_PRECONDITION, "image %s has no complete copy in the archive",
		           digest_text(&row->digest).text);
	TRY(row_wish(db, row, MACHINE_NOTHING, false, e));
	return row_move(db, row, MACHINE_RESTORE, 0, e);
}

static enum err_code restore_body(struct db *db, void *arg, struct err *e)
{
	const struct wanted *w = arg;
	SCRATCH_CTX(scratch);
	struct row row;

	TRY(row_load(db, scratch, w->account, &w->image->digest, true, &row, e));
	if (row.intent == MACHINE_REMOVE || row.state == ARCHIVE_REMOVING)
		return ERR(e, ERR_CONFLICT, "image %s is being removed from the archive",
		           digest_text(&row.digest).text);
	switch (row.state) {
	case ARCHIVE_ARCHIVED:
	case ARCHIVE_FAILED:
		return restore_settled(db, w, &row, e);
	case ARCHIVE_DETACHING:
		return row_wish(db, &row, MACHINE_RESTORE, false, e);
	case ARCHIVE_COPYING:
	case ARCHIVE_VERIFYING: /* the image is there still, and now it stays */
	case ARCHIVE_RESTORING:
		return row_wish(db, &row, MACHINE_NOTHING, false, e);
	case ARCHIVE_REMOVING:
	case archive_state_none:
		break;
	}
	return ERR_OK;
}

enum err_code handle_archive_restore(struct rpc_call *call, const struct archive_restore_request *request,
                                     struct archive_restore_reply *reply, struct err *e)
{
	struct archive *a = call->service;
	struct request_image image;
	struct wanted w = {call->account, &image, false};
	struct row row;

	TRY(request_find_image(call, request->image, &image, e));
	TRY(db_transaction(a->db, restore_body, &w, e));
	archive_wake(a);
	TRY(request_wait(call, &image.digest, request->wait_ms, &row, e));
	reply->item = request_item(call, &row);
	return ERR_OK;
}

/* ---- archive_remove ---- */

struct removal {
	struct wanted w;
	bool force;
};

static enum err_code check_only_copy(const struct removal *r, const struct row *row, struct err *e)
{
	const struct image_detail *known = r->w.image->known;
	bool leaves = row->detach || row->state == ARCHIVE_DETACHING;
	bool only = row->complete && (!known || known->residence == RESIDENCE_ARCHIVED || leaves);

	if (only && !r->force)
		return ERR(e, ERR_PRECONDITION, "the archive has the only copy of image %s: force is required",
		           digest_text(&row->digest).text);
	return ERR_OK;
}

static enum err_code remove_body(struct db *db, void *arg, struct err *e)
{
	const struct removal *r = arg;
	SCRATCH_CTX(scratch);
	struct row row;

	TRY(row_load(db, scratch, r->w.account, &r->w.image->digest, true, &row, e));
	if (row.state == ARCHIVE_REMOVING)
		return ERR_OK;
	TRY(check_only_copy(r, &row, e));
	TRY(row_wish(db, &row, MACHINE_REMOVE, false, e));
	return machine_is_settled(row.state) ? row_move(db, &row, MACHINE_REMOVE, 0, e) : ERR_OK;
}

enum err_code handle_archive_remove(struct rpc_call *call, const struct archive_remove_request *request,
                                    struct archive_remove_reply *reply, struct err *e)
{
	struct archive *a = call->service;
	struct request_image image;
	struct removal r = {{call->account, &image, false}, request->force};
	struct row row;
	enum err_code code;

	TRY(request_find_image(call, request->image, &image, e));
	TRY(db_transaction(a->db, remove_body, &r, e));
	archive_wake(a);
	code = request_wait(call, &image.digest, request->wait_ms, &row, e);
	if (code != ERR_OK && code != ERR_NOT_FOUND)
		return code;
	reply->digest = image.digest;
	reply->gone = code == ERR_NOT_FOUND;
	if (code == ERR_OK && row.state == ARCHIVE_FAILED)
		return ERR(e, ERR_INTERNAL, "image %s could not be removed: %s", digest_text(&row.digest).text,
		           row.reason ? row.reason : "");
	return ERR_OK;
}
