/*
 * reconcile: settled images, now and then compared with what the catalog says of them. `image rm` takes an image out of
 * the working set without asking the archive-manager; its row then says so after one round.
 */
#ifndef ARCHIVE_MANAGER_RECONCILE_H
#define ARCHIVE_MANAGER_RECONCILE_H

#include "common/process.h"

/* For process_every: one round, by one of the replicas. */
void reconcile_residences(struct process *process, void *state);

#endif
