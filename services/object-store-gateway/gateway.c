#include "services/object-store-gateway/gateway.h"

#include "services/object-store-gateway/backend.h"
#include "services/object-store-gateway/compact.h"
#include "services/object-store-gateway/gc.h"
#include "services/object-store-gateway/scrub.h"
#include "services/object-store-gateway/transfer.h"

#define MIGRATE_LOOK_MS 5000

/* A thread for each store: a migration may take days. */
static void migrate_working(struct process *process, void *state)
{
	struct gateway *g = state;

	(void)process;
	transfer_run(g, &g->stores[0]);
}

static void migrate_archive(struct process *process, void *state)
{
	struct gateway *g = state;

	(void)process;
	transfer_run(g, &g->stores[1]);
}

static void scrub_working(struct process *process, void *state)
{
	struct gateway *g = state;

	(void)process;
	scrub_run(g, &g->stores[0]);
}

static void scrub_archive(struct process *process, void *state)
{
	struct gateway *g = state;

	(void)process;
	scrub_run(g, &g->stores[1]);
}

enum err_code gateway_start(struct process *process, void *state, struct err *e)
{
	struct gateway *g = state;
	int64_t look_ms;

	g->ctx = process_ctx(process);
	g->process = process;
	g->settings = process_configuration(process);
	look_ms = MIN((int64_t)SCRUB_LOOK_MS, g->settings->scrub_interval_ms);
	g->db = process_db(process);
	TRY(stores_open(g, e));
	process_every(process, "gc", g->settings->gc_interval_ms, gc_task);
	process_every(process, "compact", MIN(COMPACT_LOOK_MS, g->settings->compact_interval_ms), compact_task);
	process_every(process, TRANSFER_TASK "object_store", MIGRATE_LOOK_MS, migrate_working);
	process_every(process, TRANSFER_TASK "analysis_archive", MIGRATE_LOOK_MS, migrate_archive);
	process_every(process, "scrub object_store", look_ms, scrub_working);
	process_every(process, "scrub analysis_archive", look_ms, scrub_archive);
	return ERR_OK;
}

enum err_code gateway_ready(void *state, struct err *e)
{
	struct gateway *g = state;

	for (size_t i = 0; i < g->store_count; i++) {
		struct store *s = &g->stores[i];

		if (s->current->driver->ping && s->current->driver->ping(s->current->conn, e) != ERR_OK)
			return err_wrap(e, "%s: back end %s", s->name, s->current->name);
	}
	return ERR_OK;
}

void gateway_stop(void *state)
{
	stores_close(state);
}
