/*
 * analyzer-worker: leases jobs from the catalog, fetches images, analyses their layers, each in a child process, and
 * stores what it finds. See README.md.
 */
#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/settings.h"
#include "services/analyzer-worker/worker.h"

#include <string.h>

static const struct service service = {
    .name = "analyzer-worker",
    .section = "analyzer_worker",
    .options = settings_options,
    .config_size = sizeof(struct settings),
    .state_size = sizeof(struct worker_state),
    .start = worker_start,
    .drain = worker_drain,
    .ready = worker_ready,
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--parse-layer") == 0)
		return layer_child_main(argv[2]);
	return process_main(&service, argc, argv);
}
