/*
 * driver: a back end that keeps opaque, immutable chunks somewhere: in the database, an S3 bucket, a directory, memory.
 *
 * A driver knows nothing of objects, accounts, compression, encryption, digests or retries: chunk.h above it does all
 * that, once, for every driver. It is called from handler threads, several at a time, and may block.
 *
 * A location names a chunk for ever: its number is given out once, so what is written there is written by one put (or
 * by that put repeated, with the same bytes), and what was removed is never written again. A removal that comes late
 * can therefore never meet the bytes of a newer put.
 *
 * To add one: fill the table in drivers/NAME.c, add a row to drivers.c, a section to README.md and a line to the
 * conformance suite's list. Nothing else needs to know.
 */
#ifndef GATEWAY_DRIVER_H
#define GATEWAY_DRIVER_H

#include "common/config.h"
#include "common/db.h"
#include "common/digest.h"

#define CHUNK_MAX ((size_t)(4 * MIB)) /* bytes of a chunk's content */
#define STORED_MAX (CHUNK_MAX + 28)   /* that a back end gets for it: a cipher adds a nonce and a tag */

struct driver_conn; /* the driver's own state; one for each configured back end */

struct location {
	struct digest sha256; /* of the content, for people who look at the back end */
	int64_t number;       /* of the chunk's row: unique among all stores */
};

struct driver_setup {
	const char *store;                /* "object_store": drivers whose back end is shared keep stores apart by it */
	const struct config_node *config; /* storage_driver.config; NULL if absent */
	struct db_pool *db;               /* the service's own, for the driver that keeps chunks there */
	bool must_exist;                  /* make no directory or bucket that is not there: it is ERR_NOT_FOUND */
};

/* What compact should do. */
struct compact_order {
	int64_t percent;   /* filled less than that is sparse; 0: nothing is, only what was begun is gone on with */
	int64_t before_ms; /* what was not measured since then (Unix milliseconds, the database's clock) is now */
	int64_t until_ms;  /* clock_monotonic_ms(): begin nothing after that */
	bool gentle;       /* rest as long as you work */
};

/* What it did. */
struct compaction {
	int64_t moved_rows, moved_bytes;
	int64_t dropped, freed_bytes; /* tables or files, and what they held */
	int64_t held_bytes;           /* by all that are there now */
	bool more;                    /* there is more to do */
	bool waiting;                 /* for somebody who uses it: a pause is in place */
};

/* What a statement of the caller's needs to write or read a small chunk along with rows of its own. */
struct driver_parts {
	size_t most;        /* bytes of a chunk for which the parts are good */
	char insert[160];   /* a member of a WITH list that has place (number, sha256, bytes), with a row at most */
	const char *select; /* a scalar: the bytes of chunk number c.id; NULL if it is not there */
};

struct driver {
	const char *name; /* as in storage_driver.name */

	/* Required. Reaches the back end and learns what it can do. Wrong credentials, no permission, no such bucket
	 * and not reachable are ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_NOT_FOUND, ERR_UNAVAILABLE; an answer that is
	 * not understood is ERR_INTERNAL; each ends the service's start. The connection hangs on ctx. */
	enum err_code (*open)(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
	                      struct err *e);

	/* Required. What and where the back end is, without secrets: the same text for the same place, another one for
	 * every other place, at each start and with each way to log in. Lives as long as the connection. */
	const char *(*identity)(struct driver_conn *conn);

	/* Required. 1 to STORED_MAX bytes. Durable when it returns ERR_OK; a get does not see half of it when it does
	 * not. bytes stay the caller's. Repeating it is success. ERR_EXHAUSTED: no space. ERR_UNAVAILABLE,
	 * ERR_DEADLINE: may be repeated. */
	enum err_code (*put)(struct driver_conn *conn, const struct location *at, const void *bytes, size_t len,
	                     struct err *e);

	/* Required. The whole chunk, at most size bytes, into the caller's room; *got says how many there are (more
	 * than size: ERR_CORRUPT). Nothing there: ERR_NOT_FOUND, never an empty success. */
	enum err_code (*get)(struct driver_conn *conn, const struct location *at, void *into, size_t size, size_t *got,
	                     struct err *e);

	/* Required. Removing what is not there is success. After ERR_OK none of them is there. */
	enum err_code (*remove)(struct driver_conn *conn, const struct location *at, size_t count, struct err *e);

	/* Required; for audits only. Locations after *after (NULL: from the start) in order of their number, at most
	 * max; *count == 0 at the end. */
	enum err_code (*list)(struct driver_conn *conn, const struct location *after, struct location *into, size_t max,
	                      size_t *count, struct err *e);

	/* Required. No call is under way. */
	void (*close)(struct driver_conn *conn);

	/* A list may still show what was removed, and lack what was put: who must know asks with get. */
	bool lists_late;

	/* Optional. Reachable right now? For /readyz. */
	enum err_code (*ping)(struct driver_conn *conn, struct err *e);

	/* Optional, of drivers that keep chunks in the service's database: writes within the caller's transaction, so
	 * that row and bytes appear together and no intent has to be recorded before. */
	enum err_code (*put_within)(struct driver_conn *conn, struct db *db, const struct location *at,
	                            const void *bytes, size_t len, struct err *e);

	/* Optional, beside put_within: the parts of a statement that do the same as put_within and get for small
	 * chunks. The insert is good for a moment; db NULL: only select is wanted. Where a statement fails put_within
	 * is asked, and get where it finds nothing. */
	enum err_code (*parts)(struct driver_conn *conn, struct db *db, struct driver_parts *parts, struct err *e);

	/* Optional, of drivers whose removals leave gaps: gives the gaps back to the system while everything else goes
	 * on. Each step stands alone; whatever ends it, the next call goes on from there. An error: of what could not
	 * be compacted, after everything else was. */
	enum err_code (*compact)(struct driver_conn *conn, const struct compact_order *order, struct compaction *done,
	                         struct err *e);
};

/* NULL: no driver of this name. */
const struct driver *driver_find(const char *name);

/* All names, comma separated, for messages. */
const char *driver_names(TALLOC_CTX *ctx);

/* Every required slot is filled. */
bool driver_is_whole(const struct driver *d);

extern const struct driver driver_db, driver_localfs, driver_mem, driver_s3, driver_swift;

#endif
