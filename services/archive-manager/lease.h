/*
 * lease: the images that this process works on now, and for how much longer it may.
 *
 * A lease is a row's owner, token and end, written by row_claim. One thread renews all leases held here, well before
 * they end, so that a slow step does not lose its image. How long a lease still holds is judged by this process's own
 * monotonic clock, counted from before the statement that made or renewed it was sent: it is then never longer than
 * the database thinks. Whoever is about to remove something asks lease_left_ms and lets no request live longer.
 */
#ifndef ARCHIVE_MANAGER_LEASE_H
#define ARCHIVE_MANAGER_LEASE_H

#include "common/db.h"

struct leases;
struct lease;

struct lease_options {
	struct db_pool *db;
	const char *owner;
	int64_t lease_ms;
};

struct leases *leases_new(TALLOC_CTX *ctx, const struct lease_options *options);

/* Remembers one that was made at since_ms (clock_monotonic_ms). Free it with lease_free, which only forgets. */
struct lease *lease_hold(struct leases *leases, const char *account, const struct digest *digest, int64_t token,
                         int64_t since_ms);
void lease_free(struct lease *lease);

/* 0: it is over; somebody else may have the image. */
int64_t lease_left_ms(struct lease *lease);

/* Renews every lease held. A lease that the database says is gone is over at once. */
enum err_code leases_renew(struct leases *leases, struct err *e) MUST_CHECK;

#endif
