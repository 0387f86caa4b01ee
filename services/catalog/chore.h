/*
 * chore: what background work of this service has in common: it is done by one process at a time, which holds a lease
 * row, and it removes objects.
 *
 * The lease (sweep_lease) is renewed before each call to the object store and lasts twice as long as such a call may,
 * so that no process still removes objects by a name that another one has given away anew.
 */
#ifndef CATALOG_CHORE_H
#define CATALOG_CHORE_H

#include "services/catalog/catalog.h"

#define CHORE_CONNECT_MS 5000

/* The leases there are. */
#define CHORE_REMOVAL "removal"
#define CHORE_SWEEP "sweep"
#define CHORE_AUDIT "audit"

/* Takes or renews the lease of that name; false: somebody else has it, or the database is away. */
bool chore_is_mine(struct catalog *c, const char *name);

/* Gives it back, so that nobody has to wait for its end. A lease is held while there is work, and no longer. */
void chore_done(struct catalog *c, const char *name);

/* The process drains. */
bool chore_is_over(struct catalog *c);

/* All objects with that prefix, however many. ERR_CONFLICT: the lease was lost. */
enum err_code chore_remove_prefix(struct catalog *c, const char *name, const char *account, const char *bucket,
                                  const char *prefix, struct err *e) MUST_CHECK;

#endif
