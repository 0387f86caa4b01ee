/*
 * chunk_heal: is a chunk's content there as it was put, and what to do when it is not.
 *
 * A good copy of what is damaged may be elsewhere: a spare copy in the same store, or the same content in the other one
 * (store.sibling). It is read there, checked, and written anew into the back end that the damaged one is in, or, where
 * that takes nothing, into the current one; then the new row takes the damaged one's place (chunk_rewrite). Copies that
 * turn out to be damaged themselves are marked on the way.
 *
 *     TRY(db_query(..., "SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c WHERE state IN ('live', 'spare') ..."));
 *     kept = chunk_kept_from_row(rows, i);
 *     switch (chunk_check(s, &kept, true, &why)) ...
 *
 * Everything here blocks, and may be used by any number of threads: of two that heal one chunk, the second finds it
 * replaced.
 */
#ifndef GATEWAY_CHUNK_HEAL_H
#define GATEWAY_CHUNK_HEAL_H

#include "proto/messages.h"
#include "services/object-store-gateway/chunk.h"

/* A live or spare chunk as its row describes it. */
struct chunk_kept {
	struct chunk chunk;
	bool spare, damaged;
};

/* Columns 0 and following of a row. */
#define CHUNK_KEPT_COLUMNS "c.state = 'spare' AS spare, c.damaged, " CHUNK_COLUMNS
struct chunk_kept chunk_kept_from_row(const struct db_rows *rows, size_t row);

enum chunk_health {
	CHUNK_SOUND,       /* reads as it was put; a mark of damage is taken away */
	CHUNK_GONE,        /* it was removed or replaced since its row was read */
	CHUNK_HEALED,      /* was damaged; a good copy has taken its place */
	CHUNK_DAMAGED,     /* and marked so */
	CHUNK_UNREACHABLE, /* nobody knows: its back end, its key or the database is away. No damage. */
};

/* Reads the chunk back. why: of what is healed, damaged or unreachable. */
enum chunk_health chunk_check(struct store *s, const struct chunk_kept *kept, bool heal, struct err *why) MUST_CHECK;

/* Looks for a good copy of a chunk that is damaged, and puts it in its place. *bytes: the content, on ctx. *healed is
 * false when a copy was found but nothing took it; the log says why. ERR_NOT_FOUND: there is no good copy. Other
 * errors: it could not be found out. */
enum err_code chunk_heal(struct store *s, TALLOC_CTX *ctx, const struct chunk_kept *kept, void **bytes, bool *healed,
                         struct err *e) MUST_CHECK;

/* The objects that have the content, as account/bucket/key, at most max of them, on ctx. */
enum err_code chunk_objects(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, size_t max,
                            struct proto_texts *objects, struct err *e) MUST_CHECK;

#endif
