#include "services/archive-manager/steps.h"

#include "common/fault.h"
#include "proto/store_io.h"

#define DELETE_MS 10000

enum err_code step_look(struct transition *t, struct image_detail **image, struct err *e)
{
	struct proto_call call = {.account = t->account};
	struct digest_text name = digest_text(&t->row.digest);
	struct image_get_request request = {.image = name.text};
	struct image_get_reply reply;

	TRY(call_image_get(t->archive->catalog, &call, t->ctx, &request, &reply, e));
	*image = reply.image;
	return ERR_OK;
}

enum err_code step_read_back(struct transition *t, const char *store, const struct object *o, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = t->account};
	struct object_verify_request request = {.store = store, .bucket = o->bucket, .key = o->key};
	struct object_verify_reply reply;

	TRY(call_object_verify(t->archive->gateway, &call, scratch, &request, &reply, e));
	if ((uint64_t)reply.size != o->size || !digest_equal(&reply.sha256, &o->sha256))
		return ERR(e, ERR_CORRUPT, "object %s/%s in %s has %s, not %s", o->bucket, o->key, store,
		           digest_text(&reply.sha256).text, digest_text(&o->sha256).text);
	return ERR_OK;
}

enum err_code step_copy_object(struct transition *t, const char *from, const char *to, const struct object *o,
                               struct object_copy_reply *reply, struct err *e)
{
	struct proto_call call = {.account = t->account};
	struct object_copy_request request = {.from_store = from,
	                                      .from_bucket = o->bucket,
	                                      .from_key = o->key,
	                                      .to_store = to,
	                                      .to_bucket = o->bucket,
	                                      .to_key = o->key};
	enum err_code code = call_object_copy(t->archive->gateway, &call, t->ctx, &request, reply, e);

	if (code == ERR_NOT_FOUND || code == ERR_PRECONDITION)
		return ERR(e, ERR_CONFLICT, "object %s/%s in %s changed while it was copied", o->bucket, o->key, from);
	return code;
}

static enum err_code delete_object(struct transition *t, const char *bucket, const char *key, struct err *e)
{
	SCRATCH_CTX(scratch);
	int64_t left_ms = lease_left_ms(t->lease);
	/* No request of ours is to remove anything after somebody else may have begun to put it back. */
	struct proto_call call = {.account = t->account, .deadline_ms = MIN(left_ms, DELETE_MS)};
	struct object_delete_request request = {.store = ARCHIVE_STORE, .bucket = bucket, .key = key};
	struct object_delete_reply reply;

	if (!left_ms)
		return ERR(e, ERR_STALE_LEASE, "image %s is in other hands now", digest_text(&t->row.digest).text);
	return call_object_delete(t->archive->gateway, &call, scratch, &request, &reply, e);
}

enum err_code step_drop_object(struct transition *t, struct db *db, const struct object *o, struct err *e)
{
	bool shared;

	TRY(objects_shared(db, &t->row, o, &shared, e));
	if (!shared)
		TRY(delete_object(t, o->bucket, o->key, e));
	FAULT_POINT("archive-object-dropped");
	return objects_forget(db, &t->row, o, e);
}
