/*
 * migrations: the schema `catalog`, as numbered steps for db_migrate. A step that was ever released is never changed;
 * what comes later is a new one. SQL stays within what PostgreSQL 9.6 understands.
 *
 * Conventions: times are Unix milliseconds by the database's clock, catalog.now_ms(). Words with a fixed set of values
 * are text with a check. What is only kept and given back whole (annotations, cost, distribution) is JSON text.
 */
#ifndef CATALOG_MIGRATIONS_H
#define CATALOG_MIGRATIONS_H

#include "common/db.h"

#define CATALOG_SCHEMA "catalog"

extern const struct db_migration catalog_migrations[];
extern const size_t catalog_migration_count;

#endif
