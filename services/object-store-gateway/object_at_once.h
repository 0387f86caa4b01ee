/*
 * object_at_once: a small object put by one statement, where the driver keeps chunks in the service's database.
 *
 * Round trips are most of what a small object costs. The usual case, a new key in an account without a quota, is one
 * statement here that makes the rows of chunk, bytes, object and object_chunk, and commits them by itself. Whatever is
 * not the usual case is left to the transaction of object_write.c. (Reading does the like: object_read.c.)
 *
 *     TRY(object_put_at_once(s, path, content, write, &put, e));
 *     if (!put) ... a transaction ...
 *
 * Why a put is as sound as the transaction's:
 *
 * - Nothing is written when the key is in use, the account has a quota, or the content is live and damaged or under a
 *   key that is not configured: the statement looks first, or its insert does nothing.
 * - Content that is there is held FOR KEY SHARE, as a commit holds it. Where the statement had to wait for the sweep or
 *   for chunk_rewrite, the row is not live any more when it goes on, and nothing is named.
 * - Of two that make one key, the later one finds the object made when it inserts, and may have written its chunk by
 *   then: a suspect chunk that nobody names. The transaction that follows names it, or the sweep takes it.
 * - A quota is set under a lock that the statement's insert excludes: it is seen, or counts what was put before.
 */
#ifndef GATEWAY_OBJECT_AT_ONCE_H
#define GATEWAY_OBJECT_AT_ONCE_H

#include "services/object-store-gateway/chunk_write.h"
#include "services/object-store-gateway/object.h"

/* *put: it is done, with a name that was not in use. Otherwise nothing was done, or (w->known is false then) no more
 * than to write the chunk. An error is of a kind that a transaction would meet, too. */
enum err_code object_put_at_once(struct store *s, const struct object_path *path, const struct object_content *content,
                                 struct chunk_write *w, bool *put, struct err *e) MUST_CHECK;

#endif
