#include "services/archive-manager/service.h"

#include "common/log.h"
#include "proto/dispatch.h"
#include "services/archive-manager/archive.h"
#include "services/archive-manager/migrations.h"
#include "services/archive-manager/reconcile.h"
#include "services/archive-manager/transition.h"

#include <stdio.h>

#define LOOK_MS 2000 /* for work that nobody told this process of */
#define RECONCILE_MS 300000
#define NAME_SIZE 32

enum err_code archive_dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e);

static const struct config_option options[] = {
    {.path = "archive_manager.transitions",
     .type = CONFIG_NUMBER,
     .offset = offsetof(struct archive_config, transitions),
     .default_value = "4",
     .least = 1,
     .most = ARCHIVE_TRANSITIONS_MAX,
     .help = "images that are moved at the same time"},
    {.path = "archive_manager.lease",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct archive_config, lease_ms),
     .default_value = "30s",
     .least = 1000,
     .most = 600000,
     .help = "how long an image stays with a process that does not answer any more"},
    CONFIG_END,
};

static void transition_name(char name[NAME_SIZE], int64_t number)
{
	snprintf(name, NAME_SIZE, "transition-%d", (int)number);
}

void archive_wake(struct archive *a)
{
	char name[NAME_SIZE];

	for (int64_t i = 0; i < a->config->transitions; i++) {
		transition_name(name, i);
		process_wake(a->process, name);
	}
}

static void renew(struct process *process, void *state)
{
	struct archive *a = state;
	struct err e;

	(void)process;
	if (leases_renew(a->leases, &e) != ERR_OK)
		LOG_WARN("archive leases not renewed", LOG_ERR(&e));
}

static enum err_code start(struct process *process, void *state, struct err *e)
{
	struct archive *a = state;
	char name[NAME_SIZE];

	a->process = process;
	a->config = process_configuration(process);
	a->db = process_db(process);
	TRY(process_client(process, "catalog", &a->catalog, e));
	TRY(process_client(process, "gateway", &a->gateway, e));
	a->leases = leases_new(
	    process_ctx(process),
	    &(struct lease_options){.db = a->db, .owner = process_instance(process), .lease_ms = a->config->lease_ms});
	process_every(process, "renew", a->config->lease_ms / 4, renew);
	process_every(process, "reconcile", RECONCILE_MS, reconcile_residences);
	for (int64_t i = 0; i < a->config->transitions; i++) {
		transition_name(name, i);
		process_every(process, name, LOOK_MS, transition_run_due);
	}
	return ERR_OK;
}

static enum err_code ready(void *state, struct err *e)
{
	struct archive *a = state;
	SCRATCH_CTX(scratch);
	const struct service_status_request request = {};
	struct service_status_reply reply;
	struct proto_call call = {.deadline_ms = 2000};

	TRY(call_service_status(a->catalog, &call, scratch, &request, &reply, e));
	return call_service_status(a->gateway, &call, scratch, &request, &reply, e);
}

const struct service archive_service = {
    .name = "archive-manager",
    .section = "archive_manager",
    .options = options,
    .config_size = sizeof(struct archive_config),
    .schema = "archive",
    .migrations = archive_migrations,
    .migration_count = ARCHIVE_MIGRATIONS,
    .dispatch = archive_dispatch,
    .state_size = sizeof(struct archive),
    .start = start,
    .ready = ready,
};
