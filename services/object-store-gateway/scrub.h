/*
 * scrub: reads all that a store keeps back, slowly and for ever, so that damage is found while there are good copies.
 *
 * A pass goes over the store's live and spare chunks in the order of their numbers, up to the highest that there was
 * when it began; what is put later is the next pass's. It reads no more than `rate` bytes a second (as stored; a chunk
 * counts 16 KiB at least, since asking is work, too), evenly. How far it is stands in a row of objects.scrub, saved
 * every few seconds, so that a restart or another replica goes on there. One replica is at it, by a lease.
 *
 * What is damaged is marked, logged with the objects that it affects, counted, and healed where there is a good copy
 * (chunk_heal.h). What cannot be reached is counted and passed over; while a whole back end is away, its chunks are
 * not asked for one by one.
 */
#ifndef GATEWAY_SCRUB_H
#define GATEWAY_SCRUB_H

#include "services/object-store-gateway/chunk_heal.h"
#include "services/object-store-gateway/pace.h"

#define SCRUB_LEASE "scrub/" /* and the store: the name of the lease */
#define SCRUB_LOOK_MS 5000   /* between two looks whether there is something to do */
#define SCRUB_PASSES_KEPT 20 /* rows of a store */
#define SCRUB_CHUNK_LEAST (16 * KIB)

struct scrub_pass {
	int64_t number; /* counted from 1; 0: there was none */
	int64_t position, until;
	int64_t started_at, finished_at; /* Unix milliseconds; 0: it is under way */
	int64_t chunks, bytes, damaged, healed, unreachable;
};

/* The newest passes of a store, newest first; at most max. */
enum err_code scrub_read(struct store *s, struct scrub_pass *passes, size_t max, size_t *count,
                         struct err *e) MUST_CHECK;

/* Sleeps for so long, which may be 0. False: the work ends here. */
typedef bool (*scrub_wait)(void *arg, int64_t ms);

struct scrub {
	struct store *store;
	struct pace pace;
	scrub_wait wait;
	void *arg;
	struct scrub_pass pass;
	bool lost; /* somebody else went on with the pass */
};

/* Goes on with the pass under way, or begins one if the last began interval_ms ago. *due is false when there is nothing
 * to do yet. */
enum err_code scrub_begin(struct scrub *scrub, int64_t interval_ms, bool *due, struct err *e) MUST_CHECK;

/* A batch; the pass is finished when there is none left. Ends early, with all that was done saved, when wait says so.
 */
enum err_code scrub_step(struct scrub *scrub, struct err *e) MUST_CHECK;

/* For process_every: all that is due, unless another replica has it. Returns soon after draining began. */
void scrub_run(struct gateway *g, struct store *s);

#endif
