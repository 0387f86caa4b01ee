#include "services/catalog/sweep.h"

#include "common/fault.h"
#include "common/log.h"
#include "services/catalog/chore.h"
#include "services/catalog/event.h"
#include "services/catalog/job.h"
#include "services/catalog/layer.h"
#include "services/catalog/set.h"
#include "services/catalog/upload.h"
#include "services/catalog/worker.h"

#define ROUNDS_MAX 1000 /* batches of one kind in one run */

/* What one transaction of the sweep works with. */
struct step {
	struct catalog *c;
	size_t count;
	bool more;
	int64_t id;
	const char *text;
};

/* ---- layers ---- */

static enum err_code mark_layers(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return layer_mark_unused(db, s->c->settings->sweep_grace_ms, &s->count, e);
}

static enum err_code forget_layer(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return layer_forget(db, s->id, e);
}

static enum err_code list_layers(struct catalog *c, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(c->db, CHORE_CONNECT_MS, &db, e));
	return layer_list_deleting(db, ctx, rows, e);
}

/* Those that are marked, one batch. Objects first: a row that is left tells what there is to remove. */
static enum err_code remove_layers(struct catalog *c, size_t *removed, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(list_layers(c, ctx, &rows, e));
	for (*removed = 0; *removed < db_count(rows) && !chore_is_over(c); ++*removed) {
		struct digest digest = db_digest(rows, *removed, 2);
		struct step step = {.c = c, .id = db_number(rows, *removed, 0)};

		TRY(chore_remove_prefix(c, CHORE_SWEEP, db_text(rows, *removed, 1), "layers",
		                        layer_prefix(ctx, &digest, db_text(rows, *removed, 3)), e));
		FAULT_POINT("layer-objects-gone");
		TRY(db_transaction(c->db, forget_layer, &step, e));
	}
	return ERR_OK;
}

static enum err_code sweep_layers(struct catalog *c, size_t *total, struct err *e)
{
	struct step step = {.c = c, .count = 1};
	size_t removed = 1;

	for (int i = 0; i < ROUNDS_MAX && step.count > 0 && !chore_is_over(c); i++)
		TRY(db_transaction(c->db, mark_layers, &step, e));
	for (int i = 0; i < ROUNDS_MAX && removed > 0 && !chore_is_over(c); i++) {
		TRY(remove_layers(c, &removed, e));
		*total += removed;
	}
	return ERR_OK;
}

/* ---- package sets ---- */

static enum err_code mark_sets(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return set_mark_unused(db, s->c->settings->sweep_grace_ms, &s->count, e);
}

static enum err_code remove_set(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return set_remove_some(db, &s->more, e);
}

static enum err_code remove_strays(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return set_remove_strays(db, &s->c->stray_after, e);
}

static enum err_code sweep_sets(struct catalog *c, size_t *total, struct err *e)
{
	struct step step = {.c = c, .count = 1, .more = true};

	for (int i = 0; i < ROUNDS_MAX && step.count > 0 && !chore_is_over(c); i++) {
		TRY(db_transaction(c->db, mark_sets, &step, e));
		*total += step.count;
	}
	for (int i = 0; i < ROUNDS_MAX && step.more && !chore_is_over(c); i++)
		TRY(db_transaction(c->db, remove_set, &step, e));
	return db_transaction(c->db, remove_strays, &step, e);
}

/* ---- uploads ---- */

static enum err_code list_uploads(struct catalog *c, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(c->db, CHORE_CONNECT_MS, &db, e));
	TRY(upload_expire(db, c->settings->upload_expiry_ms, e));
	return upload_list_done(db, ctx, rows, e);
}

static enum err_code forget_upload(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return upload_forget(db, s->text, e);
}

static enum err_code sweep_uploads(struct catalog *c, size_t *total, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(list_uploads(c, ctx, &rows, e));
	for (size_t i = 0; i < db_count(rows) && !chore_is_over(c); i++) {
		struct step step = {.c = c, .text = db_text(rows, i, 0)};

		TRY(chore_remove_prefix(c, CHORE_SWEEP, db_text(rows, i, 1), "uploads",
		                        talloc_asprintf(ctx, "%s/", step.text), e));
		TRY(db_transaction(c->db, forget_upload, &step, e));
		++*total;
	}
	return ERR_OK;
}

/* ---- what has only an age ---- */

static enum err_code prune_events(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return event_prune(db, s->c->settings->event_keep, s->c->settings->event_age_ms, &s->more, e);
}

static enum err_code prune_jobs(struct db *db, void *arg, struct err *e)
{
	struct step *s = arg;

	return job_prune(db, s->c->settings->job_age_ms, &s->more, e);
}

static enum err_code prune_workers(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct step *s = arg;

	s->more = false;
	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.worker WHERE seen_at < catalog.now_ms() - $1::bigint",
	                DB_NUMBER(WORKER_FORGET_MS));
}

static enum err_code prune(struct catalog *c, struct err *e)
{
	static const db_body bodies[] = {prune_events, prune_jobs, prune_workers};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct step step = {.c = c, .more = true};

		for (int n = 0; n < ROUNDS_MAX && step.more && !chore_is_over(c); n++)
			TRY(db_transaction(c->db, bodies[i], &step, e));
	}
	return ERR_OK;
}

struct sweep_count sweep_run(struct catalog *c)
{
	struct sweep_count count = {0};
	struct err e;

	if (!chore_is_mine(c, CHORE_SWEEP))
		return count;
	if (sweep_layers(c, &count.layers, &e) != ERR_OK)
		LOG_WARN("layers not swept", LOG_ERR(&e));
	if (sweep_sets(c, &count.sets, &e) != ERR_OK)
		LOG_WARN("package sets not swept", LOG_ERR(&e));
	if (sweep_uploads(c, &count.uploads, &e) != ERR_OK)
		LOG_WARN("uploads not swept", LOG_ERR(&e));
	if (prune(c, &e) != ERR_OK)
		LOG_WARN("old rows not removed", LOG_ERR(&e));
	chore_done(c, CHORE_SWEEP);
	if (count.layers + count.sets + count.uploads > 0)
		LOG_INFO("swept", LOG_NUMBER("layers", count.layers), LOG_NUMBER("sets", count.sets),
		         LOG_NUMBER("uploads", count.uploads));
	return count;
}
