#include "services/object-store-gateway/backend.h"
#include "services/object-store-gateway/key_check.h"

#include <openssl/crypto.h>
#include <string.h>

#define AT(member) offsetof(struct settings, member)

const struct config_option settings_options[] = {
    {"object_store", CONFIG_TREE, AT(object_store), NULL,
     .help = "Back end of the working set: compression {enabled, min_size_kbytes, level}, encryption {keys, or"
             " keys_file},"
             " storage_driver {name, config}."},
    {"analysis_archive", CONFIG_TREE, AT(analysis_archive), NULL,
     .help = "The same for the archive. Without it the archive shares the back end of object_store."},
    {"object_store_gateway.gc_grace", CONFIG_DURATION, AT(gc_grace_ms), "1h", 0, 30 * 86400000LL,
     .help = "How long a chunk that no object names is kept, counted from when it was last put or asked for."},
    {"object_store_gateway.gc_write_grace", CONFIG_DURATION, AT(gc_write_grace_ms), "15m", 1000, 30 * 86400000LL,
     .help = "After this time an unfinished write to a back end is taken for abandoned."},
    {"object_store_gateway.gc_interval", CONFIG_DURATION, AT(gc_interval_ms), "1m", 100, 86400000LL,
     .help = "Time between two sweeps."},
    {"object_store_gateway.lease", CONFIG_DURATION, AT(lease_ms), "30s", 1000, 3600000,
     .help = "After a replica died, others go on with its background work when this time is over."},
    {"object_store_gateway.gc_batch", CONFIG_NUMBER, AT(gc_batch), "1000", 1, 100000,
     .help = "Chunks in one batch of a sweep."},
    {"object_store_gateway.compact_below", CONFIG_NUMBER, AT(compact_below), "50", 0, 95,
     .help = "Percent: a table of chunks that is filled less is emptied and dropped by itself; 0: only when told."},
    {"object_store_gateway.compact_interval", CONFIG_DURATION, AT(compact_interval_ms), "1h", 1000, 366 * 86400000LL,
     .help = "How often each table is looked at for that."},
    {"object_store_gateway.scrub_rate", CONFIG_NUMBER, AT(scrub_rate), "1048576", 0, 1LL << 40,
     .help = "Bytes a second that are read back from each store's back ends, to find damage; 0: none."},
    {"object_store_gateway.scrub_interval", CONFIG_DURATION, AT(scrub_interval_ms), "1d", 1000, 366 * 86400000LL,
     .help = "The least time from the start of one such pass over a store to the start of the next."},
    CONFIG_END,
};

/* What stands below object_store and analysis_archive. */
struct section {
	bool compress;
	int64_t min_size_kbytes, level;
	const char *keys, *driver;
	const struct config_node *driver_config;
};

#define IN(member) offsetof(struct section, member)

static const struct config_option section_options[] = {
    {"compression.enabled", CONFIG_FLAG, IN(compress), "true", .help = "Compress chunks with zstd where it helps."},
    {"compression.min_size_kbytes", CONFIG_NUMBER, IN(min_size_kbytes), "1", 0, 1 << 30,
     .help = "Chunks below this size are stored as they are."},
    {"compression.level", CONFIG_NUMBER, IN(level), "3", 1, 19, .help = "Of zstd."},
    {"encryption.keys", CONFIG_TEXT, IN(keys), NULL, .secret = true,
     .help = "Keys, ID:BASE64 each, the first one for new chunks; without it chunks are not encrypted."},
    {"storage_driver.name", CONFIG_TEXT, IN(driver), "db", .help = "Back end: db, localfs, mem, s3, swift."},
    {"storage_driver.config", CONFIG_TREE, IN(driver_config), NULL, .help = "The driver's own options."},
    {"enabled", CONFIG_REFUSED, .default_value = "true",
     .help = "both stores are always there; without a section of its own the archive shares the back end of"
             " object_store"},
    {"verify_content_digests", CONFIG_REFUSED, .default_value = "true", .help = "every read is verified"},
    {"migrate_from_storage_driver", CONFIG_REFUSED,
     .help =
         "what was stored stays readable when storage_driver changes, and \"stowage store migrate start\" moves it"},
    CONFIG_END,
};

/* The text is of no more use then. */
static enum err_code take_keys(struct gateway *g, struct store *s, const char *keys, struct err *e)
{
	const char *place = talloc_asprintf(g->ctx, "%s.encryption.keys", s->name);
	enum err_code code = keyring_parse(g->ctx, place, keys, &s->keys, e);

	if (keys)
		OPENSSL_cleanse((void *)(uintptr_t)keys, strlen(keys));
	return code;
}

static enum err_code find_driver(TALLOC_CTX *ctx, const char *store, const char *name, const struct driver **driver,
                                 struct err *e)
{
	*driver = driver_find(name);
	if (!*driver)
		return ERR(e, ERR_INVALID, "%s.storage_driver.name is \"%s\", known are %s", store, name,
		           driver_names(ctx));
	return ERR_OK;
}

enum err_code store_driver(TALLOC_CTX *ctx, const char *name, const struct config_node *node,
                           const struct driver **driver, const struct config_node **config, struct err *e)
{
	struct section section = {0};
	struct keyring *keys;

	TRY(config_read_tree(ctx, node, section_options, &section, e));
	TRY(keyring_parse(ctx, talloc_asprintf(ctx, "%s.encryption.keys", name), section.keys, &keys, e));
	*config = section.driver_config;
	return find_driver(ctx, name, section.driver, driver, e);
}

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
	TRY(take_keys(g, s, section.keys, e));
	TRY(keys_check(s, e));
	TRY(find_driver(g->ctx, name, section.driver, &driver, e));
	if (backends_open(s, driver, section.driver_config, e) != ERR_OK)
		return err_wrap(e, "%s: storage driver %s", name, section.driver);
	g->store_count++;
	return backends_renew(s, e);
}

const struct config_node *archive_section(const struct settings *s)
{
	return config_is_empty(s->analysis_archive) ? s->object_store : s->analysis_archive;
}

enum err_code stores_open(struct gateway *g, struct err *e)
{
	const struct process_config *c = &g->settings->process;
	const struct rpc_secret secret = {c->cluster_secret, c->cluster_secret_previous};
	const struct config_node *archive = archive_section(g->settings);

	TRY(vault_new(g->ctx, BACKEND_VAULT_PURPOSE, &secret, &g->vault, e));
	TRY(store_open(g, "object_store", g->settings->object_store, e));
	TRY(store_open(g, "analysis_archive", archive, e));
	g->stores[1].same_as_object_store = archive == g->settings->object_store;
	g->stores[0].sibling = &g->stores[1];
	g->stores[1].sibling = &g->stores[0];
	return ERR_OK;
}

void stores_close(struct gateway *g)
{
	while (g->store_count > 0) {
		struct store *s = &g->stores[--g->store_count];

		backends_close(s);
		TALLOC_FREE(s->keys);
	}
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
