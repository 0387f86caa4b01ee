/*
 * transition: carries an image from one settled state to the next, step by step, under a lease.
 *
 * Each state that is not settled has a step (steps.h). A step may have been begun before, by a process that died: it
 * finds out what is done already and does the rest. Its event leads to the next state, which is written before the next
 * step begins. Errors decide what happens otherwise: what may be better later is tried again, with growing waits;
 * what an unchanged world would answer the same way makes the image "failed", with the reason.
 */
#ifndef ARCHIVE_MANAGER_TRANSITION_H
#define ARCHIVE_MANAGER_TRANSITION_H

#include "services/archive-manager/archive.h"
#include "services/archive-manager/lease.h"
#include "services/archive-manager/row.h"

struct transition {
	struct archive *archive;
	const char *account;
	TALLOC_CTX *ctx; /* of the present step; row hangs on it */
	struct row row;
	struct lease *lease;
	enum machine_event wish; /* why transition_go_on said stop */
};

/* Between two actions of a step: ERR_STALE_LEASE when the image is somebody else's now, ERR_CANCELLED when the process
 * is to end or the image is to be removed instead; the caller passes either on. */
enum err_code transition_go_on(struct transition *t, struct err *e) MUST_CHECK;

/* Works until no image is due or the process drains. For process_every. */
void transition_run_due(struct process *process, void *state);

/* What the holder of an image that has settled is to do next: MACHINE_NOTHING, or an event for the row. */
enum machine_event transition_wish_of(const struct row *row);

enum transition_verdict {
	TRANSITION_AGAIN,    /* later */
	TRANSITION_FAIL,     /* for good */
	TRANSITION_LET_GO,   /* not ours any more */
	TRANSITION_INTERRUPT /* give it back as it is */
};

/* What becomes of an image whose step ended with this error, after so many attempts. */
enum transition_verdict transition_judge(enum err_code code, int64_t attempts);

#endif
