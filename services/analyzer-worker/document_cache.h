/*
 * document_cache: documents of known layers that this worker read lately, in memory and ready for use, so that the next
 * image on the same base neither fetches nor decodes them again.
 *
 *     document = document_cache_get(cache, ctx, name);
 *     if (!document)
 *             document = document_cache_put(cache, ctx, name, made, bytes);
 *
 * A document is whatever its name stands for: one talloc chunk without a parent, with all that hangs on it. Many
 * threads may read it at the same time, so nobody changes it once it is in. It stays as long as the contexts live for
 * which it was got, even when the cache has dropped it meanwhile; the cache outlives all of them.
 *
 * A layer's documents never change under one account, digest and revision, so nothing here is ever stale. The bytes
 * kept, with their names, stay below the limit; the least recently used go first, and what is larger than half of it is
 * not kept. Any thread may call; one mutex guards everything.
 */
#ifndef ANALYZER_DOCUMENT_CACHE_H
#define ANALYZER_DOCUMENT_CACHE_H

#include "common/base.h"

struct document_cache;

struct document_cache *document_cache_new(TALLOC_CTX *ctx, size_t bytes_max);

/* NULL: not here. name: account and key, whatever tells documents apart, those of another kind included. */
const void *document_cache_get(struct document_cache *cache, TALLOC_CTX *ctx, const char *name);

/* Takes made over, which takes that many bytes, and returns it; or frees it and returns the one that another thread has
 * put under the name before. */
const void *document_cache_put(struct document_cache *cache, TALLOC_CTX *ctx, const char *name, void *made,
                               size_t bytes);

#endif
