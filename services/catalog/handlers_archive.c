/* Handlers for the archive-manager. */
#include "proto/catalog_handlers.h"
#include "services/catalog/catalog.h"
#include "services/catalog/removal.h"
#include "services/catalog/restore.h"

enum err_code handle_image_export(struct rpc_call *call, const struct image_export_request *request,
                                  struct image_export_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct portable p;
	struct image image;
	char *text;

	TRY(catalog_connect(call, &db, e));
	TRY(image_find(db, call->ctx, catalog_account(call), request->image, &image, e));
	TRY(restore_export(db, call->ctx, &image, &p, e));
	TRY(portable_write(call->ctx, &p, &text, &call->reply_payload_len, e));
	call->reply_payload = text;
	portable_objects(call->ctx, &p, NULL, true, &reply->objects, &reply->objects_count);
	reply->digest = image.digest;
	reply->tags = p.image.tags;
	reply->residence = image.residence;
	reply->analysed_at = p.image.analysed_at;
	return ERR_OK;
}

struct archiving {
	struct catalog *c;
	TALLOC_CTX *ctx;
	const char *account;
	const struct digest *digest;
	bool archived;
	int64_t analysed_at;
	const struct portable *portable;
	enum residence residence; /* afterwards */
	bool *skip, needless;
};

static struct archiving archiving_of(struct rpc_call *call, const struct digest *digest)
{
	return (struct archiving){
	    .c = catalog_of(call), .ctx = call->ctx, .account = catalog_account(call), .digest = digest};
}

static enum err_code lock(struct db *db, struct archiving *a, struct image *image, bool *found, struct err *e)
{
	TRY(image_find_digest(db, a->ctx, a->account, a->digest, image, found, e));
	*found = *found && image->state != IMAGE_DELETING;
	return *found ? image_lock(db, a->ctx, image->id, image, e) : ERR_OK;
}

static enum err_code not_found(const struct archiving *a, struct err *e)
{
	return ERR(e, ERR_NOT_FOUND, "no image %s in account %s", digest_text(a->digest).text, a->account);
}

static enum err_code note_archived(struct db *db, void *arg, struct err *e)
{
	struct archiving *a = arg;
	struct image image;
	bool found;

	a->residence = residence_none;
	TRY(lock(db, a, &image, &found, e));
	if (!found)
		return a->archived ? not_found(a, e) : ERR_OK;
	if (a->archived)
		TRY(restore_note_archived(db, &image, a->analysed_at, e));
	else
		TRY(removal_from_archive(db, a->ctx, &image, e));
	a->residence = image.state == IMAGE_DELETING ? residence_none : image.residence;
	return ERR_OK;
}

enum err_code handle_image_archived(struct rpc_call *call, const struct image_archived_request *request,
                                    struct image_archived_reply *reply, struct err *e)
{
	struct archiving a = archiving_of(call, &request->digest);

	a.archived = request->archived;
	a.analysed_at = request->analysed_at;
	TRY(db_transaction(a.c->db, note_archived, &a, e));
	catalog_wake_removal(a.c);
	reply->residence = a.residence;
	return ERR_OK;
}

static enum err_code detach(struct db *db, void *arg, struct err *e)
{
	struct archiving *a = arg;
	struct image image;
	bool found;

	TRY(lock(db, a, &image, &found, e));
	return found ? removal_detach(db, a->ctx, &image, e) : not_found(a, e);
}

enum err_code handle_image_detach(struct rpc_call *call, const struct image_detach_request *request,
                                  struct image_detach_reply *reply, struct err *e)
{
	struct archiving a = archiving_of(call, &request->digest);

	(void)reply;
	TRY(db_transaction(a.c->db, detach, &a, e));
	catalog_wake_removal(a.c);
	return ERR_OK;
}

static enum err_code begin(struct db *db, void *arg, struct err *e)
{
	struct archiving *a = arg;

	return restore_begin(db, a->ctx, a->account, a->portable, &a->skip, &a->needless, e);
}

enum err_code handle_image_restore_begin(struct rpc_call *call, const struct image_restore_begin_request *request,
                                         struct image_restore_begin_reply *reply, struct err *e)
{
	struct archiving a = archiving_of(call, &request->digest);
	struct portable p;

	TRY(portable_read(call->ctx, call->payload, call->payload_len, &request->digest, &p, e));
	a.portable = &p;
	TRY(db_transaction(a.c->db, begin, &a, e));
	if (!a.needless)
		portable_objects(call->ctx, &p, a.skip, true, &reply->wanted, &reply->wanted_count);
	return ERR_OK;
}

enum err_code handle_image_restore_finish(struct rpc_call *call, const struct image_restore_finish_request *request,
                                          struct image_restore_finish_reply *reply, struct err *e)
{
	struct catalog *c = catalog_of(call);
	struct portable p;

	(void)reply;
	TRY(portable_read(call->ctx, call->payload, call->payload_len, &request->digest, &p, e));
	return restore_finish(c, call->ctx, catalog_account(call), &p, e);
}
