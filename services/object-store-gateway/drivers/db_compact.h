/*
 * db_compact: gives the space of removed chunks back. See driver.h for what it promises, db_segments.h for how.
 */
#ifndef GATEWAY_DB_COMPACT_H
#define GATEWAY_DB_COMPACT_H

#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/drivers/db_segments.h"

enum err_code db_compact(struct segments *s, struct db_pool *pool, const struct compact_order *order,
                         struct compaction *done, struct err *e) MUST_CHECK;

#endif
