#include "services/archive-manager/steps.h"

#include "common/fault.h"
#include "services/archive-manager/archive_manifest.h"

#define ACQUIRE_MS 10000
#define BATCH 50 /* objects removed under one hold of the account's lock */

/* First of all: from here on nobody counts on the archive's copy. */
static enum err_code tell_catalog(struct transition *t, struct err *e)
{
	struct proto_call call = {.account = t->account};
	struct image_archived_request request = {.digest = t->row.digest};
	struct image_archived_reply reply;
	enum err_code code = call_image_archived(t->archive->catalog, &call, t->ctx, &request, &reply, e);

	return code == ERR_NOT_FOUND ? ERR_OK : code;
}

struct removal {
	struct transition *t;
	size_t left; /* after the batch */
};

static enum err_code remove_batch(struct db *db, void *arg, struct err *e)
{
	struct removal *r = arg;
	struct object_list list;
	size_t count;

	TRY(objects_lock(db, r->t->account, e));
	TRY(objects_load(db, r->t->ctx, &r->t->row, &list, e));
	count = MIN(list.count, (size_t)BATCH);
	for (size_t i = 0; i < count; i++)
		TRY(step_drop_object(r->t, db, &list.items[i], e));
	r->left = list.count - count;
	return ERR_OK;
}

/* The manifest object has no row of its own; it is this image's alone. */
static enum err_code remove_manifest(struct db *db, void *arg, struct err *e)
{
	const struct removal *r = arg;
	struct object manifest = {.bucket = MANIFEST_BUCKET, .key = archive_manifest_key(r->t->ctx, &r->t->row.digest)};

	return step_drop_object(r->t, db, &manifest, e);
}

enum err_code step_remove(struct transition *t, enum machine_event *event, struct err *e)
{
	struct removal r = {.t = t, .left = 1};

	TRY(transition_go_on(t, e));
	TRY(tell_catalog(t, e));
	FAULT_POINT("archive-removal-told");
	TRY(db_transaction(t->archive->db, remove_manifest, &r, e));
	while (r.left) {
		TRY(transition_go_on(t, e));
		TRY(db_transaction(t->archive->db, remove_batch, &r, e));
	}
	*event = MACHINE_REMOVED;
	return ERR_OK;
}
