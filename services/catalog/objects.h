/*
 * objects: the catalog's own errands at the object store, in the store "object_store" of an account. The real table
 * goes to the gateway (objects_gateway); tests have one in memory.
 *
 * All of it blocks. Removing what is not there is success. Errors are the gateway's and the transport's.
 */
#ifndef CATALOG_OBJECTS_H
#define CATALOG_OBJECTS_H

#include "common/rpc.h"

#define OBJECTS_PAGE 500

/* Object names and ages, as list gives them. */
struct objects_page {
	const char **keys; /* sorted; on the caller's ctx */
	int64_t *created_at;
	size_t count;
	bool more;
};

struct objects {
	enum err_code (*put)(void *arg, const char *account, const char *bucket, const char *key, const void *bytes,
	                     size_t len, struct err *e);
	/* ERR_TOO_LARGE beyond max. bytes hang on ctx. */
	enum err_code (*get)(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket, const char *key,
	                     size_t max, void **bytes, size_t *len, struct err *e);
	/* *more: not all of it was removed yet, ask again. */
	enum err_code (*remove_prefix)(void *arg, const char *account, const char *bucket, const char *prefix,
	                               bool *more, struct err *e);
	/* At most OBJECTS_PAGE, after `after` (NULL: from the start). */
	enum err_code (*list)(void *arg, TALLOC_CTX *ctx, const char *account, const char *bucket, const char *after,
	                      struct objects_page *page, struct err *e);
	void *arg;
};

/* call_ms: the longest that one remove_prefix or list takes. */
struct objects objects_gateway(TALLOC_CTX *ctx, struct rpc_client *gateway, int64_t call_ms);

#endif
