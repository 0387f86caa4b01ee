/*
 * store: the named stores and their back ends, as the configuration has them.
 *
 * There are two: object_store (the working set) and analysis_archive. Without a section of its own the second has the
 * back end of the first; its rows and bytes are its own all the same, so that what is removed from one is never missed
 * in the other.
 */
#ifndef GATEWAY_STORE_H
#define GATEWAY_STORE_H

#include "common/process.h"
#include "common/vault.h"
#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/keyring.h"

#define STORES 2         /* as the configuration has them, in this order: object_store, analysis_archive */
#define DB_WAIT_MS 10000 /* for a connection of the pool */
#define TOUCH_PART 4     /* a chunk is touched anew when a quarter of the grace period has passed */

struct settings {
	struct process_config process;
	const struct config_node *object_store, *analysis_archive; /* read by stores_open */
	int64_t gc_grace_ms, gc_write_grace_ms, gc_interval_ms, gc_batch;
	int64_t compact_interval_ms, compact_below;
	int64_t lease_ms; /* of background work, among replicas */
	int64_t scrub_rate, scrub_interval_ms;
};

extern const struct config_option settings_options[];

struct backend;
struct backends;

struct store {
	const char *name;
	struct backend *current;   /* of the configuration: new chunks go there */
	struct backends *backends; /* all that were opened; see backend.h */
	bool compress;
	size_t compress_min; /* bytes below which nothing is compressed */
	int level;           /* zstd */
	bool same_as_object_store;
	struct db_pool *db;
	const struct vault *vault; /* for what is remembered of back ends; NULL: nothing is */
	struct keyring *keys;      /* of encryption; NULL: new chunks are not encrypted, and none can be decrypted */
	int64_t grace_ms, write_grace_ms;
	struct store *sibling; /* the other store: what it has heals what is damaged here; NULL: there is none */
};

struct gateway {
	TALLOC_CTX *ctx; /* outlives the stores */
	struct process *process;
	const struct settings *settings;
	struct db_pool *db;
	struct vault *vault;
	struct store stores[STORES];
	size_t store_count; /* opened so far */
};

enum err_code stores_open(struct gateway *g, struct err *e) MUST_CHECK;
void stores_close(struct gateway *g);

/* Where the archive's back end stands: in its own section, or in that of object_store when its own says nothing. */
const struct config_node *archive_section(const struct settings *settings);

/* The section of a store, read and made sure of, but not opened: for trying out. */
enum err_code store_driver(TALLOC_CTX *ctx, const char *name, const struct config_node *section,
                           const struct driver **driver, const struct config_node **config, struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND names it. */
enum err_code store_find(struct gateway *g, const char *name, struct store **out, struct err *e) MUST_CHECK;

#endif
