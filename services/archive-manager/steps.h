/*
 * steps: what is done in each state of the machine. All block, belong to the holder of the lease, may be run again from
 * their beginning at any time, and say in *event what they achieved.
 */
#ifndef ARCHIVE_MANAGER_STEPS_H
#define ARCHIVE_MANAGER_STEPS_H

#include "services/archive-manager/objects.h"
#include "services/archive-manager/transition.h"

/* Copies objects into the archive and writes the manifest: COPIED. */
enum err_code step_copy(struct transition *t, enum machine_event *event, struct err *e) MUST_CHECK;

/* Reads the copy back, compares with the source while there is one, tells the catalog: VERIFIED or START_OVER. */
enum err_code step_verify(struct transition *t, enum machine_event *event, struct err *e) MUST_CHECK;

/* Takes the image out of the working set: DETACHED or START_OVER. */
enum err_code step_detach(struct transition *t, enum machine_event *event, struct err *e) MUST_CHECK;

/* Brings it back, from the archive's manifest and objects: RESTORED. */
enum err_code step_restore(struct transition *t, enum machine_event *event, struct err *e) MUST_CHECK;

/* Tells the catalog, then removes what no other archived image needs: REMOVED. */
enum err_code step_remove(struct transition *t, enum machine_event *event, struct err *e) MUST_CHECK;

/* Copies one object between the stores, under the same name. ERR_CONFLICT when the source is gone or changes: the world
 * is to be looked at again. */
enum err_code step_copy_object(struct transition *t, const char *from, const char *to, const struct object *o,
                               struct object_copy_reply *reply, struct err *e) MUST_CHECK;

/* Removes one object from the archive unless another image names it, and its row. Inside a transaction that holds the
 * account's lock. */
enum err_code step_drop_object(struct transition *t, struct db *db, const struct object *o, struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND: the catalog does not know the image. */
enum err_code step_look(struct transition *t, struct image_detail **image, struct err *e) MUST_CHECK;

/* Reads an object back in a store and compares with what is known of it: ERR_CORRUPT when it differs. */
enum err_code step_read_back(struct transition *t, const char *store, const struct object *o, struct err *e) MUST_CHECK;

#endif
