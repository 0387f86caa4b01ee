/*
 * catalog: what every handler and background task of this service works with, and the few steps that all of them share.
 *
 * One struct catalog a process, filled before the first request and then only read; what changes inside it (pools, the
 * hub) has locks of its own. Unit tests fill one by hand, without a process.
 *
 * Rows are locked in this order, so that no two transactions wait for each other: jobs, images, layers, sets, packages;
 * within a table by growing id (packages: hash).
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include "common/vault.h"
#include "proto/messages.h"
#include "services/catalog/hub.h"
#include "services/catalog/objects.h"
#include "services/catalog/registry_pool.h"
#include "services/catalog/settings.h"

#define CATALOG_DEFAULT_ACCOUNT "default"
#define VAULT_PURPOSE "stowage catalog secrets 1" /* what is sealed with it is read for ever */

struct catalog {
	struct process *process; /* NULL in unit tests */
	const struct settings *settings;
	const char *instance; /* owner of lease rows: a name that no other process has */
	struct db_pool *db;
	struct hub *hub;
	struct vault *vault;
	struct registry_pool *registries;
	struct objects objects;
	int64_t stray_after; /* how far set_remove_strays has looked; only the thread that sweeps has it */
};

static inline struct catalog *catalog_of(const struct rpc_call *call)
{
	return call->service;
}

/* The account that a request acts for: that of its header, or `default`. */
const char *catalog_account(const struct rpc_call *call);

/* A connection for a handler; waits for one no longer than the request may take. */
enum err_code catalog_connect(const struct rpc_call *call, struct db **db, struct err *e) MUST_CHECK;

/* Has the removal look at once; see removal.h. */
void catalog_wake_removal(struct catalog *c);

#endif
