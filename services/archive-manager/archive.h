/*
 * archive: what all parts of the archive-manager share, and the storage names they use.
 *
 * Threads: the RPC threads run handlers; `transitions` threads carry out transitions, one image each; one thread renews
 * the leases of those; one looks after settled images. struct archive is set up before any of them starts; after that
 * only its atomics and the held leases (behind their mutex) change.
 */
#ifndef ARCHIVE_MANAGER_ARCHIVE_H
#define ARCHIVE_MANAGER_ARCHIVE_H

#include "common/process.h"
#include "proto/messages.h"

#include <stdatomic.h>

#define WORKING_STORE "object_store"
#define ARCHIVE_STORE "analysis_archive"
#define MANIFEST_BUCKET "archive"
#define ARCHIVE_TRANSITIONS_MAX 32

struct archive_config {
	struct process_config process; /* must be first */
	int64_t transitions;
	int64_t lease_ms;
};

struct leases;

struct archive {
	struct process *process;
	const struct archive_config *config;
	struct db_pool *db;
	struct rpc_client *catalog, *gateway;
	struct leases *leases;
	_Atomic int waiting; /* handlers that hold their thread for a transition to end */
};

/* Lets the threads for transitions look for work now. */
void archive_wake(struct archive *a);

#endif
