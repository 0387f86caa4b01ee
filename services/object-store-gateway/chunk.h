/*
 * chunk: content of at most 4 MiB, named by its SHA-256, in one store.
 *
 * The life of a chunk is its row's state, and every change of it goes through chunk_set_state:
 *
 *     (no row) --> writing --> live --> deleting --> (no row)
 *                     \___________________^
 *
 *     put     row `writing` (the intent), bytes to the back end, row `live`. Where the back end is the database itself,
 *             row and bytes appear in one transaction, and there is no intent.
 *     sweep   row `deleting`, bytes out of the back end, row gone (gc.h).
 *
 * So the back end never holds bytes without a row, and no live row is without its bytes, wherever a process dies. A put
 * that finds the content `deleting`, or another put `writing` it, takes no part in that: it writes a row and bytes of
 * its own, at a location that nobody ever had before. Of two puts at once one becomes live; the other's row goes
 * straight to `deleting`.
 *
 * A get checks the SHA-256 of what comes back before anybody sees a byte.
 */
#ifndef GATEWAY_CHUNK_H
#define GATEWAY_CHUNK_H

#include "services/object-store-gateway/store.h"

enum chunk_state { CHUNK_NONE, CHUNK_WRITING, CHUNK_LIVE, CHUNK_DELETING };

const char *chunk_state_text(enum chunk_state state);

struct chunk_moved {
	size_t rows;
	int64_t stored_bytes; /* that these rows stand for */
};

/* Moves those of the rows that are in state from to state to. The move must stand in the table of chunk.c. ERR_CONFLICT
 * when a chunk would become live while another with its digest is. Runs within db's transaction if there is one (which
 * ERR_CONFLICT then ends). */
enum err_code chunk_set_state(struct db *db, const int64_t *ids, size_t count, enum chunk_state from,
                              enum chunk_state to, struct chunk_moved *moved, struct err *e) MUST_CHECK;

/* A live chunk as its row describes it. */
struct chunk {
	int64_t id;
	struct digest sha256;
	size_t size, stored_size;
	bool zstd;
	const char *driver; /* on the context it was read with */
};

/* The columns that chunk_from_row reads, from the given one on. */
#define CHUNK_COLUMNS "c.id, c.sha256, c.size, c.stored_size, c.codec, c.driver"
struct chunk chunk_from_row(const struct db_rows *rows, size_t row, size_t column);

/* 1 to CHUNK_MAX bytes. *stored_bytes: added to the back end, 0 when the content was there. ERR_INVALID: sha256 is not
 * that of the bytes. */
enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e) MUST_CHECK;

/* The same in two halves, for stores whose driver has put_within: what needs the processor first, then the writing, as
 * part of db's transaction and as often as that is run. The bytes stay the caller's. */
struct chunk_write;

enum err_code chunk_write_new(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, const void *bytes,
                              size_t len, struct chunk_write **out, struct err *e) MUST_CHECK;
/* *number: of the new chunk, or 0 when the content was there. */
enum err_code chunk_write_within(struct db *db, struct chunk_write *w, int64_t *number, struct err *e) MUST_CHECK;
size_t chunk_write_stored(const struct chunk_write *w); /* bytes added to the back end; counts the put */

/* The whole content, on ctx: chunk->size bytes. ERR_CORRUPT: not what its name says, or not there. That is damage only
 * if the row is still live: the sweep may have been faster. chunk_note_damage then puts it into log and metrics. */
enum err_code chunk_get(struct store *s, TALLOC_CTX *ctx, const struct chunk *chunk, void **bytes,
                        struct err *e) MUST_CHECK;
bool chunk_is_live(struct store *s, const struct chunk *chunk); /* true also when it cannot be found out */
void chunk_note_damage(const struct err *e);

/* Which of these are not live; for those that are, the grace period starts again. missing has room for count. */
enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e) MUST_CHECK;

#endif
