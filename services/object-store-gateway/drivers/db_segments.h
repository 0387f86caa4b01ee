/*
 * db_segments: the tables in which the driver db keeps its rows.
 *
 * Readers and removers ask objects.chunk_data, and with it all tables that inherit from it; itself and each of those is
 * a segment. Writers insert into the newest. When that has grown past its limit, a new one is opened. A segment that
 * has become sparse is drained: its rows go to the newest, and the table is dropped, because that is how PostgreSQL
 * gives space back without a lock that readers wait for.
 *
 *     (none) --> open --> draining --> (none)
 *
 * The table objects.chunk_segment says which there are; a higher id is newer. The slot is the table's name:
 * chunk_data_SLOT, and 0 is chunk_data itself, which is emptied where others are dropped. Slots are used again, so the
 * statements that name them are few. A segment takes at least a quarter of what there is in all, so that their number
 * grows with the logarithm of the size: every read looks into each.
 *
 * Why nothing is lost or seen twice:
 *
 * - Reading: a row is moved by one statement; a reader's snapshot has it in one place. A plan made before a segment
 *   came does not look there: so a segment is made under a lock for which all readers must be over.
 * - Removing: a DELETE that waits for a row which is being moved would find it gone, and miss the copy. So removers
 *   hold SEGMENT_MOVE_LOCK shared, and movers exclusively, for one transaction of a few MiB at a time.
 * - Writing: writers remember the newest segment for half a second. Who comes late inserts into a draining one, whose
 *   rows are moved until none is left, or finds no table: db_transaction then runs it again.
 * - Dropping: under a lock that excludes everybody, after a look under a lock that excludes writers.
 * - Waiting: what readers would have to wait behind is given up after 200 ms, and tried again later; it is not even
 *   asked for while somebody stays in a table for more than a second.
 *
 * Each change is one transaction. Where a process dies, the next goes on.
 */
#ifndef GATEWAY_DB_SEGMENTS_H
#define GATEWAY_DB_SEGMENTS_H

#include "common/db.h"

#define SEGMENT_SLOTS 64
#define SEGMENT_TARGET_MS 500            /* how long writers remember the newest one */
#define SEGMENT_SETTLED_MS 1200          /* draining for that long: nobody inserts any more, unless he was stopped */
#define SEGMENT_MOVE_LOCK 0x6462736567LL /* of pg_advisory_xact_lock */

struct segments; /* any number of threads */

struct segment {
	int64_t id;
	int slot;
	bool draining;
	int64_t state_ms;  /* since then in this state, for so long */
	int64_t looked_ms; /* when it was last measured, Unix milliseconds, the database's clock; 0: never */
	int64_t bytes;     /* of its files */
};

/* limit: bytes of the files from which on a segment is full, as long as there are not many. */
struct segments *segments_new(TALLOC_CTX *ctx, struct db_pool *pool, int64_t limit);

/* "objects.chunk_data_7" */
struct segment_name {
	char text[32];
};
struct segment_name segment_name(int slot);

/* The slot into which db's transaction should insert. An insert that failed says so, and the next one looks again. */
enum err_code segments_target(struct segments *s, struct db *db, int *slot, struct err *e) MUST_CHECK;
void segments_target_failed(struct segments *s);

/* All of them, oldest first; the last that is not draining is the newest. */
enum err_code segments_list(struct segments *s, TALLOC_CTX *ctx, struct segment **list, size_t *count,
                            struct err *e) MUST_CHECK;
const struct segment *segments_newest(const struct segment *list, size_t count); /* NULL: none is open */
bool segments_newest_is_full(const struct segments *s, const struct segment *list, size_t count);

/* A new one takes the place of `newest` (an id; 0: of none), unless somebody was faster. ERR_DEADLINE: readers or a
 * removal were in the way, try later. ERR_EXHAUSTED: no slot is left. */
enum err_code segments_open(struct segments *s, int64_t newest, struct err *e) MUST_CHECK;

/* open --> draining. ERR_DEADLINE as above. */
enum err_code segments_drain(struct segments *s, const struct segment *segment, struct err *e) MUST_CHECK;

/* draining --> (none), if it is empty. *dropped: it was; the space is free. ERR_DEADLINE as above. */
enum err_code segments_drop(struct segments *s, const struct segment *segment, bool *dropped, struct err *e) MUST_CHECK;

#endif
