/*
 * document_cache: documents of known layers that this worker read lately, in memory, so that the next image on the same
 * base does not fetch them again.
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

/* A copy on ctx; false: not here. name: account and key, whatever tells documents apart. */
bool document_cache_get(struct document_cache *cache, TALLOC_CTX *ctx, const char *name, char **bytes, size_t *len);

void document_cache_put(struct document_cache *cache, const char *name, const void *bytes, size_t len);

#endif
