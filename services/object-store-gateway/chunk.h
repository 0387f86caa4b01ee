/*
 * chunk: content of at most 4 MiB, named by its SHA-256, in one store.
 *
 * The life of a chunk is its row's state, and every change of it goes through chunk_set_state:
 *
 *     (no row) --> writing --> live --> deleting --> (no row)
 *                     \___________________^
 *
 *     put:    row `writing` (the intent), bytes to the back end, row `live`. A driver that writes within the
 * transaction makes row and bytes at once. sweep:  row `deleting`, bytes out of the back end, row gone (gc.h).
 *
 * So the back end never holds bytes without a row, and no live row is without its bytes, wherever a process dies. A put
 * that finds the content `deleting`, or another put `writing` it, takes no part in that: it writes a row and bytes of
 * its own. Of two puts at once one becomes live; the other's row goes straight to `deleting`.
 *
 * A get checks the SHA-256 of what comes back before anybody sees a byte.
 */
#ifndef GATEWAY_CHUNK_H
#define GATEWAY_CHUNK_H

#include "services/object-store-gateway/store.h"

enum chunk_state { CHUNK_NONE, CHUNK_WRITING, CHUNK_LIVE, CHUNK_DELETING };

const char *chunk_state_text(enum chunk_state state);

/* Moves the rows of these ids that are in state from to state to; *changed says how many there were. The move must
 * stand in the table of chunk.c. ERR_CONFLICT, with nothing changed, when a chunk becomes live while another with its
 * digest is. Runs within db's transaction if there is one. */
enum err_code chunk_set_state(struct db *db, const int64_t *ids, size_t count, enum chunk_state from,
                              enum chunk_state to, size_t *changed, struct err *e) MUST_CHECK;

/* A live chunk as its row describes it. */
struct chunk {
	int64_t id;
	struct digest sha256;
	size_t size, stored_size;
	bool zstd;
	const char *driver; /* on the context it was read with */
};

/* 1 to CHUNK_MAX bytes. *stored_bytes: added to the back end, 0 when the content was there. ERR_INVALID: sha256 is not
 * that of the bytes. */
enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e) MUST_CHECK;

/* The whole content, on ctx: chunk->size bytes. ERR_CORRUPT: not what its name says, or not there. */
enum err_code chunk_get(struct store *s, TALLOC_CTX *ctx, const struct chunk *chunk, void **bytes,
                        struct err *e) MUST_CHECK;

/* Which of these are not live; for those that are, the grace period starts again. missing has room for count. */
enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e) MUST_CHECK;

/* Reads the columns id, sha256, size, stored_size, codec, driver from column on. */
struct chunk chunk_from_row(const struct db_rows *rows, size_t row, size_t column);
#define CHUNK_COLUMNS(alias)                                                                                           \
	alias ".id, " alias ".sha256, " alias ".size, " alias ".stored_size, " alias ".codec, " alias ".driver"

#endif
