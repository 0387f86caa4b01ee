#include "services/archive-manager/steps.h"

#include "common/fault.h"
#include "services/archive-manager/archive_manifest.h"

#define ACQUIRE_MS 10000

/* Does the working set still have, under this name, what was copied? */
static enum err_code compare_source(struct transition *t, const struct object *o, bool *same, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = t->account};
	struct object_head_request request = {.store = WORKING_STORE, .bucket = o->bucket, .key = o->key};
	struct object_head_reply reply;
	enum err_code code = call_object_head(t->archive->gateway, &call, scratch, &request, &reply, e);

	*same = false;
	if (code == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(code);
	*same = (uint64_t)reply.size == o->size && digest_equal(&reply.sha256, &o->sha256);
	return ERR_OK;
}

static enum err_code load_objects(struct transition *t, struct object_list *list, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	return objects_load(db, t->ctx, &t->row, list, e);
}

static enum err_code verify_object(struct transition *t, const struct object *o, bool has_source, bool *same,
                                   struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(transition_go_on(t, e));
	TRY(step_read_back(t, ARCHIVE_STORE, o, e));
	if (has_source)
		TRY(compare_source(t, o, same, e));
	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	TRY(objects_done(db, &t->row, o, e));
	FAULT_POINT("archive-object-verified");
	return ERR_OK;
}

static enum err_code verify_manifest(struct transition *t, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = t->account};
	struct object_verify_request request = {
	    .store = ARCHIVE_STORE, .bucket = MANIFEST_BUCKET, .key = archive_manifest_key(scratch, &t->row.digest)};
	struct object_verify_reply reply;

	TRY(call_object_verify(t->archive->gateway, &call, scratch, &request, &reply, e));
	if (!digest_equal(&reply.sha256, &t->row.manifest))
		return ERR(e, ERR_CORRUPT, "the archive's manifest of image %s is not the one that was written",
		           digest_text(&t->row.digest).text);
	return ERR_OK;
}

/* From here on the catalog counts on the copy. */
static enum err_code tell_catalog(struct transition *t, enum machine_event *event, struct err *e)
{
	struct proto_call call = {.account = t->account};
	struct image_archived_request request = {
	    .digest = t->row.digest, .archived = true, .analysed_at = t->row.analysed_at};
	struct image_archived_reply reply;
	enum err_code code = call_image_archived(t->archive->catalog, &call, t->ctx, &request, &reply, e);

	*event = code == ERR_PRECONDITION ? MACHINE_START_OVER : MACHINE_VERIFIED;
	return code == ERR_PRECONDITION ? ERR_OK : code;
}

static enum err_code note_complete(struct transition *t, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	return row_set_complete(db, &t->row, e);
}

enum err_code step_verify(struct transition *t, enum machine_event *event, struct err *e)
{
	struct image_detail *image;
	struct object_list list;
	bool has_source;

	TRY(step_look(t, &image, e));
	has_source = image->residence != RESIDENCE_ARCHIVED;
	TRY(load_objects(t, &list, e));
	if (!list.count)
		return ERR(e, ERR_CORRUPT, "no objects of image %s are known", digest_text(&t->row.digest).text);
	for (size_t i = 0; i < list.count; i++) {
		bool same = true;

		if (list.items[i].done)
			continue;
		TRY(verify_object(t, &list.items[i], has_source, &same, e));
		if (!same) {
			*event = MACHINE_START_OVER;
			return ERR_OK;
		}
	}
	TRY(verify_manifest(t, e));
	TRY(transition_go_on(t, e));
	*event = MACHINE_VERIFIED;
	if (has_source)
		TRY(tell_catalog(t, event, e));
	FAULT_POINT("archive-catalog-told");
	return *event == MACHINE_VERIFIED ? note_complete(t, e) : ERR_OK;
}
