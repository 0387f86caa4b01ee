/*
 * set_store: putting packages of sets in transactions of their own, tried again when a package was swept in between.
 */
#ifndef CATALOG_SET_STORE_H
#define CATALOG_SET_STORE_H

#include "services/catalog/set.h"

/* One part. ERR_CORRUPT: with it all parts are there and they are not what the digest says; the set was dropped. */
enum err_code set_store_part(struct db_pool *pool, const struct set_put_request *request, bool *complete,
                             struct err *e) MUST_CHECK;

/* A whole set, part by part. packages are in set order. */
enum err_code set_store_whole(struct db_pool *pool, const struct image_set *set, struct package *packages, size_t count,
                              struct err *e) MUST_CHECK;

#endif
