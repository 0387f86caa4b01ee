#include "services/object-store-gateway/backend.h"

#include <string.h>

#define AT(member) offsetof(struct settings, member)

const struct config_option settings_options[] = {
    {"object_store", CONFIG_TREE, AT(object_store), NULL,
     .help =
         "Back end of the working set: compression {enabled, min_size_kbytes, level}, storage_driver {name, config}."},
    {"analysis_archive", CONFIG_TREE, AT(analysis_archive), NULL,
     .help = "The same for the archive. Without it the archive shares the back end of object_store."},
    {"object_store_gateway.gc_grace", CONFIG_DURATION, AT(gc_grace_ms), "1h", 0, 30 * 86400000LL,
     .help = "How long a chunk that no object names is kept, counted from when it was last put or asked for."},
    {"object_store_gateway.gc_write_grace", CONFIG_DURATION, AT(gc_write_grace_ms), "15m", 1000, 30 * 86400000LL,
     .help = "After this time an unfinished write to a back end is taken for abandoned."},
    {"object_store_gateway.gc_interval", CONFIG_DURATION, AT(gc_interval_ms), "1m", 100, 86400000LL,
     .help = "Time between two sweeps."},
    {"object_store_gateway.gc_batch", CONFIG_NUMBER, AT(gc_batch), "1000", 1, 100000,
     .help = "Chunks in one batch of a sweep."},
    CONFIG_END,
};

/* What stands below object_store and analysis_archive. */
struct section {
	bool compress;
	int64_t min_size_kbytes, level;
	const char *driver;
	const struct config_node *driver_config;
};

#define IN(member) offsetof(struct section, member)

static const struct config_option section_options[] = {
    {"compression.enabled", CONFIG_FLAG, IN(compress), "true", .help = "Compress chunks with zstd where it helps."},
    {"compression.min_size_kbytes", CONFIG_NUMBER, IN(min_size_kbytes), "1", 0, 4096,
     .help = "Chunks below this size are stored as they are."},
    {"compression.level", CONFIG_NUMBER, IN(level), "3", 1, 19, .help = "Of zstd."},
    {"storage_driver.name", CONFIG_TEXT, IN(driver), "db", .help = "Back end: db, localfs, mem, s3, swift."},
    {"storage_driver.config", CONFIG_TREE, IN(driver_config), NULL, .help = "The driver's own options."},
    CONFIG_END,
};

static enum err_code store_open(struct gateway *g, const char *name, const struct config_node *node, struct err *e)
{
	struct store *s = &g->stores[g->store_count];
	struct section section = {0};
	const struct driver *driver;

	TRY(config_read_tree(g->ctx, node, section_options, &section, e));
	*s = (struct store){
	    .name = name,
	    .compress = section.compress,
	    .compress_min = (size_t)section.min_size_kbytes * KIB,
	    .level = (int)section.level,
	    .db = g->db,
	    .vault = g->vault,
	    .grace_ms = g->settings->gc_grace_ms,
	    .write_grace_ms = g->settings->gc_write_grace_ms,
	};
	driver = driver_find(section.driver);
	if (!driver)
		return ERR(e, ERR_INVALID, "%s.storage_driver.name is \"%s\", known are %s", name, section.driver,
		           driver_names(g->ctx));
	if (backends_open(s, driver, section.driver_config, e) != ERR_OK)
		return err_wrap(e, "%s: storage driver %s", name, section.driver);
	g->store_count++;
	return ERR_OK;
}

enum err_code stores_open(struct gateway *g, struct err *e)
{
	const struct process_config *c = &g->settings->process;
	const struct rpc_secret secret = {c->cluster_secret, c->cluster_secret_previous};
	const struct config_node *archive = g->settings->analysis_archive;

	TRY(vault_new(g->ctx, BACKEND_VAULT_PURPOSE, &secret, &g->vault, e));
	TRY(store_open(g, "object_store", g->settings->object_store, e));
	TRY(store_open(g, "analysis_archive", archive ? archive : g->settings->object_store, e));
	g->stores[1].same_as_object_store = !archive;
	return ERR_OK;
}

void stores_close(struct gateway *g)
{
	while (g->store_count > 0)
		backends_close(&g->stores[--g->store_count]);
}

enum err_code store_find(struct gateway *g, const char *name, struct store **out, struct err *e)
{
	for (size_t i = 0; i < g->store_count; i++) {
		if (strcmp(g->stores[i].name, name) == 0) {
			*out = &g->stores[i];
			return ERR_OK;
		}
	}
	return ERR(e, ERR_NOT_FOUND, "no store is called \"%s\"; there are object_store and analysis_archive", name);
}
