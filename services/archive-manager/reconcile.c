#include "services/archive-manager/reconcile.h"

#include "common/log.h"
#include "services/archive-manager/archive.h"
#include "services/archive-manager/row.h"

#define ACQUIRE_MS 10000
#define LEASE_MS 60000 /* renewed with each page */
#define PAGE 100
#define PAUSE_MS 20 /* between two questions to the catalog */

static enum err_code ask(struct archive *a, const struct row *row, bool *detached, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct proto_call call = {.account = row->account};
	struct digest_text name = digest_text(&row->digest);
	struct image_get_request request = {.image = name.text};
	struct image_get_reply reply;
	enum err_code code = call_image_get(a->catalog, &call, scratch, &request, &reply, e);

	*detached = code == ERR_NOT_FOUND || (code == ERR_OK && reply.image->residence == RESIDENCE_ARCHIVED);
	return code == ERR_NOT_FOUND ? ERR_OK : code;
}

static enum err_code look_at(struct archive *a, struct row *row, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	bool detached;

	TRY(ask(a, row, &detached, e));
	if (detached == row->detached)
		return ERR_OK;
	row->detached = detached;
	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	/* Under the token that was read: a transition that began meanwhile knows better. */
	return row_set_detached(db, row, e);
}

static enum err_code load_page(struct archive *a, TALLOC_CTX *ctx, const struct row *after, struct row_list *list,
                               struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	return row_list_settled(db, ctx, after->account, &after->digest, PAGE, list, e);
}

static enum err_code run(struct archive *a, struct err *e)
{
	SCRATCH_CTX(round);
	struct row after = {.account = ""};
	struct row_list list = {.more = true};

	while (list.more) {
		SCRATCH_CTX(page);
		bool mine;

		TRY(db_lease(a->db, "archive", "reconcile", process_instance(a->process), LEASE_MS, &mine, e));
		if (!mine)
			return ERR_OK;
		TRY(load_page(a, page, &after, &list, e));
		for (size_t i = 0; i < list.count; i++) {
			TRY(look_at(a, &list.items[i], e));
			if (process_sleep(a->process, PAUSE_MS))
				return ERR_OK;
		}
		if (list.count)
			after = list.items[list.count - 1];
		after.account = talloc_strdup(round, after.account);
	}
	return ERR_OK;
}

void reconcile_residences(struct process *process, void *state)
{
	struct err e;

	(void)process;
	if (run(state, &e) != ERR_OK)
		LOG_WARN("archive not compared with the catalog", LOG_ERR(&e));
}
