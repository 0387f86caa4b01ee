/*
 * objects: archive.object, the objects of an image in the archive.
 *
 * Documents of layers are shared: several images of an account name the same object, and it is in the archive once. A
 * row stands here before its object is copied and is gone after the object is, and both the entering of rows and the
 * removal of objects happen under a lock of the account, so an object is never removed when somebody counts on it.
 */
#ifndef ARCHIVE_MANAGER_OBJECTS_H
#define ARCHIVE_MANAGER_OBJECTS_H

#include "services/archive-manager/row.h"

struct object {
	const char *bucket, *key;
	uint64_t size;
	struct digest sha256; /* none: not copied yet */
	uint64_t moved_bytes;
	bool done; /* by the present state of the image */
};

struct object_list {
	struct object *items;
	size_t count;
};

/* Takes the account's lock until the transaction ends. */
enum err_code objects_lock(struct db *db, const char *account, struct err *e) MUST_CHECK;

/* Enters rows for names. Those that are there keep what they know unless fresh. Under the lock. */
enum err_code objects_enter(struct db *db, const struct row *row, const struct object_name *names, size_t count,
                            bool fresh, struct err *e) MUST_CHECK;

/* Ordered by bucket and key. */
enum err_code objects_load(struct db *db, TALLOC_CTX *ctx, const struct row *row, struct object_list *list,
                           struct err *e) MUST_CHECK;

/* Records what is known of one and that this state is through with it. */
enum err_code objects_done(struct db *db, const struct row *row, const struct object *o, struct err *e) MUST_CHECK;

/* Does another image of the account name it? Under the lock. */
enum err_code objects_shared(struct db *db, const struct row *row, const struct object *o, bool *shared,
                             struct err *e) MUST_CHECK;

enum err_code objects_forget(struct db *db, const struct row *row, const struct object *o, struct err *e) MUST_CHECK;

bool object_is_named(const struct object *o, const struct object_name *names, size_t count);
const struct object *objects_find(const struct object_list *list, const char *bucket, const char *key);

#endif
