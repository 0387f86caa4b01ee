#include "services/archive-manager/transition.h"

#include "common/clock.h"
#include "common/log.h"
#include "services/archive-manager/steps.h"

#include <stdio.h>

#define CONFLICTS_MAX 30 /* attempts that others spoilt before it counts as failed */
#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS 60000
#define BACKOFF_LEAST_MS 100
#define ACQUIRE_MS 10000

enum machine_event transition_wish_of(const struct row *row)
{
	if (row->intent == MACHINE_REMOVE)
		return MACHINE_REMOVE;
	if (row->intent == MACHINE_RESTORE)
		return MACHINE_RESTORE;
	return row->detach && row->state == ARCHIVE_ARCHIVED ? MACHINE_DETACH : MACHINE_NOTHING;
}

enum transition_verdict transition_judge(enum err_code code, int64_t attempts)
{
	if (code == ERR_STALE_LEASE)
		return TRANSITION_LET_GO;
	if (code == ERR_CANCELLED)
		return TRANSITION_INTERRUPT;
	switch (err_retry(code)) {
	case ERR_RETRY_LATER:
		return TRANSITION_AGAIN;
	case ERR_RETRY_FRESH:
		return attempts < CONFLICTS_MAX ? TRANSITION_AGAIN : TRANSITION_FAIL;
	case ERR_RETRY_NEVER:
		return TRANSITION_FAIL;
	}
	return TRANSITION_FAIL;
}

static enum err_code not_mine(const struct transition *t, struct err *e)
{
	return ERR(e, ERR_STALE_LEASE, "image %s is in other hands now", digest_text(&t->row.digest).text);
}

/* The row as it is now, if the image is still this transition's. */
static enum err_code load(struct transition *t, TALLOC_CTX *ctx, struct row *row, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	enum err_code code;

	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	code = row_load(db, ctx, t->account, &t->row.digest, false, row, e);
	if (code != ERR_OK && code != ERR_NOT_FOUND)
		return code;
	return code == ERR_OK && row->token == t->row.token && lease_left_ms(t->lease) ? ERR_OK : not_mine(t, e);
}

enum err_code transition_go_on(struct transition *t, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct row now;

	if (process_draining(t->archive->process))
		return ERR(e, ERR_CANCELLED, "the archive-manager is stopping");
	TRY(load(t, scratch, &now, e));
	if (now.state != t->row.state)
		return not_mine(t, e);
	if (now.intent == MACHINE_REMOVE && machine_next(now.state, MACHINE_REMOVE).allowed) {
		t->wish = MACHINE_REMOVE;
		return ERR(e, ERR_CANCELLED, "image %s is to be removed", digest_text(&t->row.digest).text);
	}
	return ERR_OK;
}

struct change {
	struct transition *t;
	enum machine_event event;
	const char *failure; /* NULL: move by the event; else fail with this reason */
};

static enum err_code change_body(struct db *db, void *arg, struct err *e)
{
	struct change *c = arg;
	struct row row = c->t->row;

	TRY(c->failure ? row_fail(db, &row, c->failure, e) : row_move(db, &row, c->event, row.token, e));
	return ERR_OK;
}

static enum err_code change(struct transition *t, enum machine_event event, const char *failure, struct err *e)
{
	struct change c = {t, event, failure};

	TRY(db_transaction(t->archive->db, change_body, &c, e));
	t->row.state = machine_next(t->row.state, failure ? MACHINE_FAIL : event).to;
	LOG_INFO("archive state", LOG_TEXT("image", digest_text(&t->row.digest).text),
	         LOG_TEXT("state", t->row.state ? archive_state_text(t->row.state) : "gone"));
	return ERR_OK;
}

/* The image has settled: either there is a wish left, or it is given back. */
static enum err_code settle(struct transition *t, enum machine_event *event, bool *over, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	bool again;

	*event = transition_wish_of(&t->row);
	if (*event != MACHINE_NOTHING)
		return ERR_OK;
	TRY(db_acquire(t->archive->db, ACQUIRE_MS, &db, e));
	TRY(row_settle(db, &t->row, &again, e));
	*over = !again;
	return ERR_OK;
}

static enum err_code step(struct transition *t, enum machine_event *event, bool *over, struct err *e)
{
	switch (t->row.state) {
	case ARCHIVE_COPYING:
		return step_copy(t, event, e);
	case ARCHIVE_VERIFYING:
		return step_verify(t, event, e);
	case ARCHIVE_DETACHING:
		return step_detach(t, event, e);
	case ARCHIVE_RESTORING:
		return step_restore(t, event, e);
	case ARCHIVE_REMOVING:
		return step_remove(t, event, e);
	case ARCHIVE_ARCHIVED:
	case ARCHIVE_FAILED:
		return settle(t, event, over, e);
	case archive_state_none:
		break;
	}
	*over = true;
	return ERR_OK;
}

/* Text of an error for the row: "<code>: <text>", always UTF-8, whatever a peer put into it. */
static const char *reason_of(TALLOC_CTX *ctx, const struct err *e)
{
	char *text = talloc_asprintf(ctx, "%s: %s", err_name(e->code), e->text);

	ASSERT(text);
	for (char *c = text; !proto_is_utf8(text, talloc_get_size(text) - 1) && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return text;
}

static void give_back(struct transition *t, int64_t wait_ms, bool counted, const char *reason)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct err e;

	if (db_acquire(t->archive->db, ACQUIRE_MS, &db, &e) != ERR_OK ||
	    row_release(db, &t->row, wait_ms, counted, reason, &e) != ERR_OK)
		LOG_WARN("archive lease not given back", LOG_TEXT("image", digest_text(&t->row.digest).text),
		         LOG_ERR(&e));
}

/* A step failed. True: the transition goes on, in a new state. */
static bool handle_failure(struct transition *t, const struct err *failure)
{
	SCRATCH_CTX(scratch);
	struct err e;
	struct digest_text image = digest_text(&t->row.digest);
	int64_t wait_ms =
	    backoff_ms((unsigned)MIN(t->row.attempts, 16), BACKOFF_BASE_MS, BACKOFF_CAP_MS) + BACKOFF_LEAST_MS;

	wait_ms = MAX(wait_ms, (int64_t)failure->retry_ms);

	switch (transition_judge(failure->code, t->row.attempts)) {
	case TRANSITION_LET_GO:
		LOG_INFO("archive lease lost", LOG_TEXT("image", image.text));
		return false;
	case TRANSITION_INTERRUPT:
		if (t->wish != MACHINE_NOTHING && change(t, t->wish, NULL, &e) == ERR_OK)
			return true;
		give_back(t, 0, false, NULL);
		return false;
	case TRANSITION_AGAIN:
		LOG_WARN("archive step to be tried again", LOG_TEXT("image", image.text),
		         LOG_TEXT("state", archive_state_text(t->row.state)), LOG_NUMBER("wait_ms", wait_ms),
		         LOG_ERR(failure));
		give_back(t, wait_ms, true, reason_of(scratch, failure));
		return false;
	case TRANSITION_FAIL:
		break;
	}
	LOG_ERROR("archive step failed", LOG_TEXT("image", image.text),
	          LOG_TEXT("state", archive_state_text(t->row.state)), LOG_ERR(failure));
	if (change(t, MACHINE_FAIL, reason_of(scratch, failure), &e) == ERR_OK)
		return true;
	LOG_ERROR("archive failure not recorded", LOG_TEXT("image", image.text), LOG_ERR(&e));
	return false;
}

/* One step and the move that follows. True: there is more to do. */
static bool advance(struct transition *t)
{
	SCRATCH_CTX(scratch);
	enum machine_event event = MACHINE_NOTHING;
	bool over = false;
	struct err e = {0};
	enum err_code code;

	t->ctx = scratch;
	t->wish = MACHINE_NOTHING;
	code = load(t, scratch, &t->row, &e);
	t->row.account = t->account;
	if (code == ERR_OK)
		code = step(t, &event, &over, &e);
	if (code == ERR_OK && event != MACHINE_NOTHING)
		code = change(t, event, NULL, &e);
	if (code != ERR_OK)
		return handle_failure(t, &e);
	return !over && t->row.state != archive_state_none;
}

static void carry(struct archive *a, const struct row *row, int64_t claimed_ms)
{
	struct transition t = {.archive = a, .account = row->account, .row = *row};

	t.lease = lease_hold(a->leases, row->account, &row->digest, row->token, claimed_ms);
	log_context_set(NULL, NULL, row->account, 0);
	while (advance(&t)) {
	}
	log_context_clear();
	lease_free(t.lease);
}

static enum err_code claim(struct archive *a, TALLOC_CTX *ctx, struct row *row, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(a->db, ACQUIRE_MS, &db, e));
	return row_claim(db, ctx, process_instance(a->process), a->config->lease_ms, row, e);
}

void transition_run_due(struct process *process, void *state)
{
	struct archive *a = state;

	while (!process_draining(process)) {
		SCRATCH_CTX(scratch);
		int64_t claimed_ms = clock_monotonic_ms();
		struct row row;
		struct err e;
		enum err_code code = claim(a, scratch, &row, &e);

		if (code != ERR_OK && code != ERR_NOT_FOUND)
			LOG_WARN("no work for the archive", LOG_ERR(&e));
		if (code != ERR_OK)
			return;
		carry(a, &row, claimed_ms);
	}
}
