/*
 * stack_cache: which evidence is visible in stacks of layers that this worker assembled lately (struct image_sight), so
 * that an image on a known base needs the files documents of its own layers only.
 *
 *     if (stack_cache_find(cache, ctx, account, digests, count, &known))
 *             image_assemble_upon(..., &known, ...);
 *     stack_cache_add(cache, account, digests, count, &result->sight);
 *
 * A stack is named by account and the layers' digests from the bottom up. What is kept of one serves every image that
 * has the same lowest layers. It depends on the layers' documents alone, which never change under one account, digest
 * and revision: nothing here is ever stale. The bytes kept stay below the limit, the least recently used stacks go
 * first. Any thread may call; one mutex guards everything.
 */
#ifndef ANALYZER_STACK_CACHE_H
#define ANALYZER_STACK_CACHE_H

#include "proto/document/image.h"

struct stack_cache;

struct stack_cache *stack_cache_new(TALLOC_CTX *ctx, size_t bytes_max);

/* Of the longest run of lowest layers that is known; out->hidden_by is a copy on ctx. False: not even one. */
bool stack_cache_find(struct stack_cache *cache, TALLOC_CTX *ctx, const char *account, const struct digest *digests,
                      size_t count, struct image_sight *out);

/* sight->layers is count. */
void stack_cache_add(struct stack_cache *cache, const char *account, const struct digest *digests, size_t count,
                     const struct image_sight *sight);

#endif
