/* migrations: the schema `objects`, step by step. */
#ifndef GATEWAY_MIGRATIONS_H
#define GATEWAY_MIGRATIONS_H

#include "common/db.h"

extern const struct db_migration gateway_migrations[];
extern const size_t gateway_migration_count;

#endif
