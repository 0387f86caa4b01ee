#include "services/object-store-gateway/gateway.h"

#include "services/object-store-gateway/backend.h"
#include "services/object-store-gateway/gc.h"

enum err_code gateway_start(struct process *process, void *state, struct err *e)
{
	struct gateway *g = state;

	g->ctx = process_ctx(process);
	g->process = process;
	g->settings = process_configuration(process);
	g->db = process_db(process);
	TRY(stores_open(g, e));
	process_every(process, "gc", g->settings->gc_interval_ms, gc_task);
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
