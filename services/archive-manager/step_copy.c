#include "services/archive-manager/steps.h"

#include "common/fault.h"
#include "proto/store_io.h"
#include "services/archive-manager/archive_manifest.h"

#include <string.h>

#define ACQUIRE_MS 10000

/* What the catalog says the image is, now. */
struct source {
	struct image_export_reply about;
	const char *record; /* NUL-terminated */
};

static enum err_code export_image(struct transition *t, struct source *source, struct err *e)
{
	struct proto_call call = {.account = t->account};
	struct digest_text name = digest_text(&t->row.digest);
	struct image_export_request request = {.image = name.text};

	TRY(call_image_export(t->archive->catalog, &call, t->ctx, &request, &source->about, e));
	if (source->about.residence == RESIDENCE_ARCHIVED)
		return ERR(e, ERR_PRECONDITION, "image %s is in the archive only, there is nothing to copy", name.text);
	source->record = talloc_strndup(t->ctx, call.reply_payload, call.reply_payload_len);
	ASSERT(source->record);
	if (strlen(source->record) != call.reply_payload_len)
		return ERR(e, ERR_CORRUPT, "the catalog's record of image %s is no text", name.text);
	return ERR_OK;
}

struct entering {
	struct transition *t;
	const struct source *source;
};

/* Rows for all objects stand there before the first is copied; objects of an older copy that this one does not have go.
 */
static enum err_code enter_body(struct db *db, void *arg, struct err *e)
{
	const struct entering *n = arg;
	struct transition *t = n->t;
	const struct image_export_reply *about = &n->source->about;
	bool fresh = t->row.analysed_at != about->analysed_at;
	struct row row = t->row;
	struct object_list had;

	TRY(objects_lock(db, t->account, e));
	row.tags = about->tags;
	row.analysed_at = about->analysed_at;
	TRY(row_set_source(db, &row, e));
	TRY(objects_load(db, t->ctx, &row, &had, e));
	for (size_t i = 0; i < had.count; i++)
		if (!object_is_named(&had.items[i], about->objects, about->objects_count))
			TRY(step_drop_object(t, db, &had.items[i], e));
	return objects_enter(db, &row, about->objects, about->objects_count, fresh, e);
}

static enum err_code copy_object(struct transition *t, struct object *o, struct err *e)
{
	struct object_copy_reply reply;

	TRY(step_copy_object(t, WORKING_STORE, ARCHIVE_STORE, o, &reply, e));
	o->size = (uint64_t)reply.size;
	o->sha256 = reply.sha256;
	o->moved_bytes += (uint64_t)reply.moved_bytes;
	return ERR_OK;
}

static enum err_code load_objects(struct transition *t, struct object_list *list, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	return objects_load(db, t->ctx, &t->row, list, e);
}

static enum err_code note_object(struct transition *t, const struct object *o, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	return objects_done(db, &t->row, o, e);
}

static enum err_code copy_objects(struct transition *t, struct object_list *list, struct err *e)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].done)
			continue;
		TRY(transition_go_on(t, e));
		TRY(copy_object(t, &list->items[i], e));
		FAULT_POINT("archive-object-copied");
		TRY(note_object(t, &list->items[i], e));
	}
	return ERR_OK;
}

static enum err_code write_manifest(struct transition *t, const struct source *source, const struct object_list *list,
                                    struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct archive_manifest m = {.digest = t->row.digest,
	                             .analysed_at = source->about.analysed_at,
	                             .tags = source->about.tags,
	                             .record = source->record,
	                             .objects = *list};
	struct store_object to = {t->account, ARCHIVE_STORE, MANIFEST_BUCKET,
	                          archive_manifest_key(t->ctx, &t->row.digest)};
	char *text = archive_manifest_print(t->ctx, &m);
	struct store_stored stored;

	TRY(store_put_bytes(t->archive->gateway, &to, text, strlen(text), &stored, e));
	FAULT_POINT("archive-manifest-written");
	t->row.manifest = stored.sha256;
	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	return row_set_copy(db, &t->row, e);
}

enum err_code step_copy(struct transition *t, enum machine_event *event, struct err *e)
{
	struct source source;
	struct object_list list;

	TRY(export_image(t, &source, e));
	TRY(transition_go_on(t, e));
	TRY(db_transaction(t->archive->db, enter_body, &(struct entering){t, &source}, e));
	FAULT_POINT("archive-objects-entered");
	TRY(load_objects(t, &list, e));
	TRY(copy_objects(t, &list, e));
	TRY(transition_go_on(t, e));
	TRY(write_manifest(t, &source, &list, e));
	*event = MACHINE_COPIED;
	return ERR_OK;
}
