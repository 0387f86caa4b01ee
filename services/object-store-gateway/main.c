/*
 * object-store-gateway: documents as chunks named by SHA-256, over exchangeable back ends. See README.md.
 */
#include "services/object-store-gateway/gateway.h"
#include "services/object-store-gateway/migrations.h"

#include <malloc.h>

int main(int argc, char **argv)
{
	const struct service service = {
	    .name = "object-store-gateway",
	    .section = "object_store_gateway",
	    .options = settings_options,
	    .config_size = sizeof(struct settings),
	    .schema = "objects",
	    .migrations = gateway_migrations,
	    .migration_count = gateway_migration_count,
	    .dispatch = gateway_dispatch,
	    .state_size = sizeof(struct gateway),
	    .start = gateway_start,
	    .ready = gateway_ready,
	    .stop = gateway_stop,
	    .check = gateway_check,
	};

	/* Chunks are allocated on every thread. With an arena for each, as is usual, each keeps its own free blocks of
	 * several MiB; with few, one thread takes what another has freed. */
	mallopt(M_ARENA_MAX, 2);
	return process_main(&service, argc, argv);
}
