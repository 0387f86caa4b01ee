/* catalog: accounts, images, tags, layers, package sets, jobs and events. See README.md. */
#include "services/catalog/catalog.h"
#include "services/catalog/migrations.h"
#include "services/catalog/registry_credentials.h"
#include "services/catalog/tasks.h"

#define CONNECT_MS 10000

enum err_code catalog_dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e);

static void wake_announcer(void *arg)
{
	process_wake(arg, TASK_ANNOUNCE);
}

static enum err_code renew_secrets(struct catalog *c, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(c->db, CONNECT_MS, &db, e));
	return registry_credentials_renew(db, c->vault, e);
}

static enum err_code start(struct process *process, void *state, struct err *e)
{
	struct catalog *c = state;
	const struct settings *settings = process_configuration(process);
	struct rpc_secret secret = {settings->process.cluster_secret, settings->process.cluster_secret_previous};
	struct rpc_client *gateway;
	TALLOC_CTX *ctx = process_ctx(process);

	TRY(process_client(process, "gateway", &gateway, e));
	*c = (struct catalog){
	    .process = process,
	    .settings = settings,
	    .instance = process_instance(process),
	    .db = process_db(process),
	    .hub = hub_new(ctx, (size_t)MAX(settings->process.threads, (int64_t)1), wake_announcer, process),
	    .registries = registry_pool_new(ctx, settings->registry_ca_file),
	    .objects = objects_gateway(ctx, gateway, settings->sweep_lease_ms / 2),
	};
	TRY(vault_new(ctx, VAULT_PURPOSE, &secret, &c->vault, e));
	TRY(renew_secrets(c, e));
	tasks_register(c);
	return ERR_OK;
}

/* Requests that wait are answered "nothing yet"; so they end within the grace period. */
static void drain(void *state)
{
	struct catalog *c = state;

	hub_close(c->hub);
}

int main(int argc, char **argv)
{
	struct service service = {
	    .name = "catalog",
	    .section = "catalog",
	    .options = settings_options,
	    .config_size = sizeof(struct settings),
	    .schema = CATALOG_SCHEMA,
	    .migrations = catalog_migrations,
	    .migration_count = catalog_migration_count,
	    .dispatch = catalog_dispatch,
	    .state_size = sizeof(struct catalog),
	    .start = start,
	    .drain = drain,
	};

	return process_main(&service, argc, argv);
}
