/* migrations: the schema `archive`: archived images, their objects. Run by process_main through common/db.h. */
#ifndef ARCHIVE_MANAGER_MIGRATIONS_H
#define ARCHIVE_MANAGER_MIGRATIONS_H

#include "common/db.h"

#define ARCHIVE_MIGRATIONS 1

extern const struct db_migration archive_migrations[ARCHIVE_MIGRATIONS];

#endif
