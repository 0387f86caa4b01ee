#include "common/process_internal.h"

#include "common/clock.h"
#include "common/log.h"

#define DATABASE_WAIT_MS 60000
#define DATABASE_PAUSE_MS 500
#define DATABASE_LOG_MS 10000

static bool may_come_yet(enum err_code code)
{
	return code == ERR_UNAVAILABLE || code == ERR_EXHAUSTED;
}

/* Migrates as soon as the server is there. Containers start in any order, and a restarted server takes its time. */
static enum err_code await_database(struct process *p, struct err *e)
{
	const struct service *s = p->service;
	int64_t until_ms = clock_monotonic_ms() + DATABASE_WAIT_MS, log_ms = 0;

	for (;;) {
		enum err_code code = db_migrate(p->db, s->schema, s->migrations, s->migration_count, e);
		int64_t now_ms = clock_monotonic_ms();

		if (code == ERR_OK || !may_come_yet(code) || now_ms >= until_ms)
			return code;
		if (now_ms >= log_ms) {
			LOG_WARN("waiting for the database", LOG_ERR(e));
			log_ms = now_ms + DATABASE_LOG_MS;
		}
		if (process_sleep(p, DATABASE_PAUSE_MS))
			return code;
	}
}

enum err_code process_start_service(struct process *p, struct err *e)
{
	if (p->db) {
		struct err failure;

		if (await_database(p, &failure) != ERR_OK) {
			*e = failure;
			return failure.code;
		}
	}
	if (p->service->start)
		TRY(p->service->start(p, p->state, e));
	return ERR_OK;
}
