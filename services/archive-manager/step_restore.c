#include "services/archive-manager/steps.h"

#include "common/fault.h"
#include "proto/store_io.h"
#include "services/archive-manager/archive_manifest.h"

#include <string.h>

#define ACQUIRE_MS 10000

static enum err_code read_manifest(struct transition *t, struct archive_manifest *m, struct err *e)
{
	struct store_object from = {t->account, ARCHIVE_STORE, MANIFEST_BUCKET,
	                            archive_manifest_key(t->ctx, &t->row.digest)};
	struct digest got;
	void *bytes;
	size_t len;

	TRY(store_get_bytes(t->archive->gateway, t->ctx, &from, ARCHIVE_MANIFEST_BYTES_MAX, &bytes, &len, e));
	got = digest_of(bytes, len);
	if (!digest_equal(&got, &t->row.manifest))
		return ERR(e, ERR_CORRUPT, "the archive's manifest of image %s is not the one that was written",
		           digest_text(&t->row.digest).text);
	return archive_manifest_parse(t->ctx, bytes, len, &t->row.digest, m, e);
}

static enum err_code restore_object(struct transition *t, const struct object *o, struct err *e)
{
	struct object_copy_reply reply;

	TRY(step_copy_object(t, ARCHIVE_STORE, WORKING_STORE, o, &reply, e));
	FAULT_POINT("archive-object-restored");
	return step_read_back(t, WORKING_STORE, o, e);
}

static enum err_code restore_objects(struct transition *t, const struct archive_manifest *m,
                                     const struct image_restore_begin_reply *begun, struct err *e)
{
	for (size_t i = 0; i < begun->wanted_count; i++) {
		const struct object_name *name = &begun->wanted[i];
		const struct object *o = objects_find(&m->objects, name->bucket, name->key);

		if (!o)
			return ERR(e, ERR_CORRUPT, "the archive has no object %s/%s of image %s", name->bucket,
			           name->key, digest_text(&t->row.digest).text);
		TRY(transition_go_on(t, e));
		TRY(restore_object(t, o, e));
	}
	return ERR_OK;
}

static enum err_code bring_back(struct transition *t, struct err *e)
{
	struct archive_manifest m;
	struct proto_call call = {.account = t->account};
	struct image_restore_begin_request begin = {.digest = t->row.digest};
	struct image_restore_begin_reply begun;
	struct image_restore_finish_request finish = {.digest = t->row.digest};
	struct image_restore_finish_reply finished;

	TRY(read_manifest(t, &m, e));
	call.payload = m.record;
	call.payload_len = strlen(m.record);
	TRY(transition_go_on(t, e));
	TRY(call_image_restore_begin(t->archive->catalog, &call, t->ctx, &begin, &begun, e));
	FAULT_POINT("archive-restore-begun");
	TRY(restore_objects(t, &m, &begun, e));
	TRY(transition_go_on(t, e));
	/* A conflict comes back as an error: the step is run again soon, and begins with another restore_begin. */
	TRY(call_image_restore_finish(t->archive->catalog, &call, t->ctx, &finish, &finished, e));
	FAULT_POINT("archive-restore-finished");
	return ERR_OK;
}

enum err_code step_restore(struct transition *t, enum machine_event *event, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct image_detail *image = NULL;
	enum err_code code = step_look(t, &image, e);

	if (code != ERR_OK && code != ERR_NOT_FOUND)
		return code;
	if (!image || image->residence == RESIDENCE_ARCHIVED)
		TRY(bring_back(t, e));
	t->row.detached = false;
	t->row.detach = false;
	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	*event = MACHINE_RESTORED;
	return row_set_detached(db, &t->row, e);
}
