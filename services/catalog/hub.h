/*
 * hub: requests that wait for something to happen (job_lease for work, image_wait for an end), and how they hear of it.
 *
 *     int64_t until_ms = hub_hold(hub, request->wait_ms);
 *     do {
 *             seen = hub_seen(hub);
 *             ... look in the database; done? break
 *     } while (hub_wait(hub, seen, until_ms));
 *     hub_let_go(hub);
 *
 * Whoever committed a change that somebody may wait for says hub_announce: those who wait in this process look again at
 * once, those of other replicas when the NOTIFY reaches them. NOTIFY takes a lock that all of PostgreSQL shares, so it
 * is sent apart from the transactions that changed something, and at most once in HUB_DEBOUNCE_MS. As a net under all
 * that, who waits looks again every HUB_POLL_MS anyway.
 *
 * A request that waits occupies a handler thread. So that such requests never take all of them, only half of the
 * threads are held for as long as asked; beyond that requests are held for a fifth of a second, and beyond three
 * quarters for an instant only. Who asked is answered "nothing yet" and asks again.
 *
 * All functions may be called by any thread.
 */
#ifndef CATALOG_HUB_H
#define CATALOG_HUB_H

#include "common/db.h"

#define HUB_POLL_MS 1000
#define HUB_DEBOUNCE_MS 20

struct hub;

/* threads: that run handlers. wake is called by hub_announce, and must see to it that hub_send runs soon; may be NULL.
 */
struct hub *hub_new(TALLOC_CTX *ctx, size_t threads, void (*wake)(void *arg), void *arg);

/* Until when (clock_monotonic_ms) this request may be held. Each hold is let go once. */
int64_t hub_hold(struct hub *hub, int64_t wait_ms);
void hub_let_go(struct hub *hub);

/* A number that changes with every announcement. Read it before looking in the database. */
uint64_t hub_seen(struct hub *hub);

/* Waits until something was announced since `seen`, or for HUB_POLL_MS; false when the time is over or hub closed. */
bool hub_wait(struct hub *hub, uint64_t seen, int64_t until_ms);

void hub_announce(struct hub *hub);

/* From now on nothing waits: the process drains. */
void hub_close(struct hub *hub);

/* For two background threads. Sends the NOTIFY if one is due; true when it did. */
bool hub_send(struct hub *hub, struct db_pool *pool);
/* Listens until the hub is closed or the connection fails. */
enum err_code hub_listen(struct hub *hub, struct db_pool *pool, struct err *e) MUST_CHECK;

#endif
