/*
 * rekey: all chunks of a store under the key that new ones are encrypted with, while the system serves.
 *
 * One batch after another, in the order of the chunks' numbers: each live chunk and spare copy whose key is another one
 * (or that is not encrypted, or should not be any more) is read, checked, written anew to the back end that it is in,
 * and takes its own place (chunk_rewrite). Nothing is remembered between batches: what is left is what still names
 * another key. So it may be ended and begun again, kill -9 costs the chunk that was under way, and it may run twice at
 * once.
 *
 * A chunk that cannot be read or written is counted, with the reason, and left as it is; unless it is damaged or its
 * key is not configured, and there is another copy of its content, which then takes its place (chunk_heal).
 */
#ifndef GATEWAY_REKEY_H
#define GATEWAY_REKEY_H

#include "proto/messages.h"
#include "services/object-store-gateway/chunk.h"

#define REKEY_FAILURES_MAX 100 /* named in one batch; all are counted */

/* At most request->limit chunks after the number request->after, for about time_ms. request->key, if not NULL: the ID
 * that the caller takes for the current key (KEY_NONE: encryption is off); ERR_PRECONDITION when it is another one, as
 * in a replica that was not restarted yet. What hangs in the reply hangs on ctx. */
enum err_code rekey_batch(struct store *s, TALLOC_CTX *ctx, const struct store_rekey_request *request, int64_t time_ms,
                          struct store_rekey_reply *reply, struct err *e) MUST_CHECK;

#endif
