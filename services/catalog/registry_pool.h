/*
 * registry_pool: clients of registries, kept for the next request, since each has learnt whether its host speaks https
 * and holds a token. One for each host and set of credentials; they are never freed before the process ends. Beyond
 * REGISTRY_POOL_MAX a client is the caller's own.
 *
 * Any thread may use it.
 */
#ifndef CATALOG_REGISTRY_POOL_H
#define CATALOG_REGISTRY_POOL_H

#include "common/registry.h"

#define REGISTRY_POOL_MAX 64

/* What is known about one registry for one account. Empty texts: anonymous. */
struct registry_access {
	const char *user, *password;
	bool insecure; /* plain http and unknown certificates are accepted */
};

struct registry_pool;

/* ca_file: "" for the system's authorities. */
struct registry_pool *registry_pool_new(TALLOC_CTX *ctx, const char *ca_file);

/* A client that lives at least as long as ctx. */
enum err_code registry_pool_get(struct registry_pool *pool, TALLOC_CTX *ctx, const char *host,
                                const struct registry_access *access, struct registry **out, struct err *e) MUST_CHECK;

#endif
