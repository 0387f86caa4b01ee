#include "common/process_internal.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TURN_MS 10000
#define DATABASE_MS 1000

static struct metric started = METRIC_GAUGE("process_start_time_seconds", "Unix time at which the process started.");
static struct metric resident = METRIC_GAUGE("process_resident_memory_bytes", "Resident memory.");

static bool is_alive(void *arg)
{
	struct process *p = arg;

	return clock_monotonic_ms() - atomic_load(&p->turned_ms) < TURN_MS;
}

static enum err_code is_ready(void *arg, struct err *e)
{
	struct process *p = arg;

	switch (atomic_load(&p->phase)) {
	case PROCESS_STARTING:
		return ERR(e, ERR_UNAVAILABLE, "%s is starting", p->service->name);
	case PROCESS_DRAINING:
		return ERR(e, ERR_UNAVAILABLE, "%s is draining", p->service->name);
	case PROCESS_SERVING:
		break;
	}
	if (p->db)
		TRY(db_ping(p->db, DATABASE_MS, e));
	return p->service->ready ? p->service->ready(p->state, e) : ERR_OK;
}

static void measure(void *arg)
{
	struct process *p = arg;
	FILE *f = fopen("/proc/self/statm", "re");
	int64_t size, pages;

	metric_set(&started, p->started_wall_ms / 1000);
	if (!f)
		return;
	if (fscanf(f, "%" SCNd64 " %" SCNd64, &size, &pages) == 2)
		metric_set(&resident, pages * sysconf(_SC_PAGESIZE));
	fclose(f);
}

enum err_code process_start_http(struct process *p, struct err *e)
{
	struct http_status_options options = {
	    .listen = p->config->http_listen, .alive = is_alive, .ready = is_ready, .measure = measure, .arg = p};

	if (!*options.listen)
		return ERR_OK;
	return http_status_start(p->ctx, &options, &p->http, e);
}
