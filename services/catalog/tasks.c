#include "services/catalog/tasks.h"

#include "common/log.h"
#include "services/catalog/audit.h"
#include "services/catalog/job_lease.h"
#include "services/catalog/removal.h"
#include "services/catalog/sweep.h"

#define LISTEN_AGAIN_MS 1000
#define ANNOUNCE_MS 60000
#define REAP_MS 1000
#define REMOVAL_MS 2000

static void announce(struct process *p, void *state)
{
	struct catalog *c = state;

	while (hub_send(c->hub, c->db))
		if (process_sleep(p, HUB_DEBOUNCE_MS))
			return;
}

static void listen_on(struct process *p, void *state)
{
	struct catalog *c = state;
	struct err e;

	if (hub_listen(c->hub, c->db, &e) != ERR_OK && !process_draining(p))
		LOG_WARN("not listening for a moment", LOG_ERR(&e));
}

struct reap {
	struct catalog *c;
	size_t count;
};

static enum err_code reap_batch(struct db *db, void *arg, struct err *e)
{
	struct reap *r = arg;

	return job_reap(db, r->c->settings, &r->count, e);
}

/* Every replica does this: jobs that another one is just taking back are stepped over. */
static void reap(struct process *p, void *state)
{
	struct reap r = {.c = state};
	struct err e;

	do {
		if (db_transaction(r.c->db, reap_batch, &r, &e) != ERR_OK) {
			LOG_WARN("expired leases not taken back", LOG_ERR(&e));
			return;
		}
		if (r.count > 0) {
			LOG_WARN("leases expired", LOG_NUMBER("count", r.count));
			hub_announce(r.c->hub);
		}
	} while (r.count > 0 && !process_draining(p));
}

static void remove_images(struct process *p, void *state)
{
	(void)p;
	removal_run(state);
}

static void sweep(struct process *p, void *state)
{
	(void)p;
	(void)sweep_run(state);
}

static void audit(struct process *p, void *state)
{
	(void)p;
	(void)audit_run(state);
}

void tasks_register(struct catalog *c)
{
	int64_t reap_ms = MIN(MAX(c->settings->lease_ms / 4, (int64_t)100), (int64_t)REAP_MS);

	process_every(c->process, "listen", LISTEN_AGAIN_MS, listen_on);
	process_every(c->process, TASK_ANNOUNCE, ANNOUNCE_MS, announce);
	process_every(c->process, "reap", reap_ms, reap);
	process_every(c->process, TASK_REMOVAL, REMOVAL_MS, remove_images);
	process_every(c->process, "sweep", c->settings->sweep_period_ms, sweep);
	process_every(c->process, "audit", c->settings->audit_period_ms, audit);
}
