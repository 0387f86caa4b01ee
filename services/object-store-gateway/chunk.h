/*
 * chunk: content of at most 4 MiB, named by its SHA-256, in one store.
 *
 * The life of a chunk is its row's state, and every change of it goes through chunk_set_state:
 *
 *     (no row) --> writing --> live --> deleting --> (no row)
 *                   \   \        v        ^   ^
 *                    \   \---> spare -----/   |
 *                     \_______________________/
 *
 *     put     row `writing` (the intent), bytes to the back end, row `live`. Where the back end is the database itself,
 *             row and bytes appear in one transaction, and there is no intent.
 *     sweep   row `deleting`, bytes out of the back end, row gone (gc.h).
 *     rewrite a second row with the same content, at another place, takes the place of the live one, which goes, or
 *             stays as a spare copy (chunk_rewrite). A spare copy may be written anew, too (chunk_rewrite_spare).
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

#include "services/object-store-gateway/backend.h"
#include "services/object-store-gateway/keyring.h"

enum chunk_state { CHUNK_NONE, CHUNK_WRITING, CHUNK_LIVE, CHUNK_SPARE, CHUNK_DELETING };

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
	int64_t backend;                 /* backend_by_id */
	char cipher_key[KEY_ID_MAX + 1]; /* its ID, "" where the bytes are not encrypted; see chunk_cipher.h */
};

/* The columns that chunk_from_row reads, from the given one on. */
#define CHUNK_COLUMNS "c.id, c.sha256, c.size, c.stored_size, c.codec, c.backend, c.cipher_key"
struct chunk chunk_from_row(const struct db_rows *rows, size_t row, size_t column);

/* 1 to CHUNK_MAX bytes. A live chunk that is damaged, or whose key is not configured, is replaced. *stored_bytes: added
 * to the back end, 0 when the content was there. ERR_INVALID: sha256 is not that of the bytes. */
enum err_code chunk_put(struct store *s, const struct digest *sha256, const void *bytes, size_t len,
                        size_t *stored_bytes, struct err *e) MUST_CHECK;

/* The same in parts: what needs the processor first. The bytes stay the caller's. Then, for stores whose driver has
 * put_within, the writing, as part of db's transaction and as often as that is run. */
struct chunk_write;

enum err_code chunk_write_new(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, const void *bytes,
                              size_t len, struct chunk_write **out, struct err *e) MUST_CHECK;
/* *number: of the new chunk, or 0 when the content was there. ERR_CORRUPT: it was there, damaged or without a
 * key; chunk_put mends that. */
enum err_code chunk_write_within(struct db *db, struct chunk_write *w, int64_t *number, struct err *e) MUST_CHECK;
/* For other drivers: intent and bytes, each for itself, then the row made live as part of db's transaction, so that it
 * is named at once. *number: of the new chunk, or 0 when the content was there. */
enum err_code chunk_write_bytes(struct chunk_write *w, int64_t *number, struct err *e) MUST_CHECK;
/* ERR_CONFLICT: the content is live meanwhile, or the sweep took this for abandoned; chunk_write_end mends either. */
enum err_code chunk_write_live(struct db *db, struct chunk_write *w, int64_t number, struct err *e) MUST_CHECK;
/* Makes it live by itself, unless it is already, or gives it up where another put was faster. ERR_UNAVAILABLE: the
 * sweep took it. */
enum err_code chunk_write_end(struct chunk_write *w, int64_t number, struct err *e) MUST_CHECK;
size_t chunk_write_stored(const struct chunk_write *w); /* bytes added to the back end; counts the put */

/* Writes the content of a live chunk once more, to `to`, reads that back, and puts the new row in the old one's place:
 * objects name it from then on. The old row becomes `end`: CHUNK_DELETING or CHUNK_SPARE. *done is false when the old
 * row was not live any more; then nothing changed. Whatever ends it early, the old row stays as it was, and what was
 * begun is swept. ERR_CORRUPT: the copy did not come back as it was written. Compression and encryption are those of
 * now. */
enum err_code chunk_rewrite(struct store *s, const struct chunk *old, const void *bytes, struct backend *to,
                            enum chunk_state end, bool *done, struct err *e) MUST_CHECK;

/* The same for a spare copy: a spare one takes its place, and the old row becomes CHUNK_DELETING. *done is false when
 * it was not spare any more, or nothing of its content is live. */
enum err_code chunk_rewrite_spare(struct store *s, const struct chunk *old, const void *bytes, struct backend *to,
                                  bool *done, struct err *e) MUST_CHECK;

/* The whole content, on ctx: chunk->size bytes. ERR_UNAVAILABLE: its back end cannot be reached, or the key that it is
 * encrypted with is not configured. ERR_CORRUPT: not what its name says, or not there. That is damage only
 * if the row is still live: the sweep may have been faster. chunk_note_damage then puts it into log and metrics, and
 * marks the row: a put of the content then replaces it. */
enum err_code chunk_get(struct store *s, TALLOC_CTX *ctx, const struct chunk *chunk, void **bytes,
                        struct err *e) MUST_CHECK;
/* The same of bytes that somebody fetched already; *content lies in them, or on ctx. Any failure: ask chunk_get. */
enum err_code chunk_open(struct store *s, TALLOC_CTX *ctx, const struct chunk *chunk, const void *stored,
                         size_t stored_len, const void **content, struct err *e) MUST_CHECK;
bool chunk_is_live(struct store *s, const struct chunk *chunk); /* true also when it cannot be found out */
void chunk_note_damage(struct store *s, const struct chunk *chunk, const struct err *e);

/* Which of these are not live, or damaged, or encrypted with a key that is not configured; for those that are, the
 * grace period starts again. missing has room for count. */
enum err_code chunk_need(struct store *s, const struct digest *sha256, size_t count, struct digest *missing,
                         size_t *missing_count, struct err *e) MUST_CHECK;

#endif
