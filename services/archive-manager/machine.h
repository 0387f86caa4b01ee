/*
 * machine: the states of an archived image, and what leads from one to the next.
 *
 *     none -> copying -> verifying -> archived -> detaching -> archived
 *                                              -> restoring -> archived
 *                                              -> removing  -> none
 *
 * Whatever changes a state, on a user's word or because a step is done, asks machine_next first; the statement that
 * writes the new state compares with the old one. "archived" and "failed" are settled: nothing is under way. In every
 * other state somebody holds a lease on the image, or will soon.
 */
#ifndef ARCHIVE_MANAGER_MACHINE_H
#define ARCHIVE_MANAGER_MACHINE_H

#include "proto/messages.h"

enum machine_event {
	MACHINE_NOTHING,
	MACHINE_ADD,        /* archive it, with a new copy */
	MACHINE_START_OVER, /* the source was analysed again, or changed under the copy */
	MACHINE_COPIED,     /* all objects and the manifest are in the archive */
	MACHINE_CHECK,      /* read the copy back once more */
	MACHINE_VERIFIED,   /* the copy was read back and the catalog told */
	MACHINE_DETACH,
	MACHINE_DETACHED,
	MACHINE_RESTORE,
	MACHINE_RESTORED,
	MACHINE_REMOVE,
	MACHINE_REMOVED,
	MACHINE_FAIL,
	MACHINE_EVENTS, /* their number */
};

struct machine_move {
	bool allowed;
	enum archive_state to; /* archive_state_none: no row */
};

/* from is archive_state_none where there is no row. */
struct machine_move machine_next(enum archive_state from, enum machine_event event);

bool machine_is_settled(enum archive_state state);
const char *machine_event_name(enum machine_event event);

#endif
