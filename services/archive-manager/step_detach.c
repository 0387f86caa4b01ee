#include "services/archive-manager/steps.h"

#include "common/fault.h"

#define ACQUIRE_MS 10000

enum err_code step_detach(struct transition *t, enum machine_event *event, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct proto_call call = {.account = t->account};
	struct image_detach_request request = {.digest = t->row.digest};
	struct image_detach_reply reply;
	enum err_code code;

	TRY(transition_go_on(t, e));
	code = call_image_detach(t->archive->catalog, &call, t->ctx, &request, &reply, e);
	FAULT_POINT("archive-detached");
	/* It was analysed again: the copy is not of what would be taken away. */
	if (code == ERR_PRECONDITION) {
		*event = MACHINE_START_OVER;
		return ERR_OK;
	}
	TRY(code);
	t->row.detached = true;
	t->row.detach = false;
	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	*event = MACHINE_DETACHED;
	return row_set_detached(db, &t->row, e);
}
