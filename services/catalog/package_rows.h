/*
 * package_rows: packages as they stand in query results, for those who page through sets.
 */
#ifndef CATALOG_PACKAGE_ROWS_H
#define CATALOG_PACKAGE_ROWS_H

#include "common/db.h"
#include "proto/messages.h"

/* What to select, with p for catalog.package and m for catalog.set_member; PACKAGE_COLUMN_COUNT columns. */
#define PACKAGE_COLUMNS "p.type, p.name, p.version, p.arch, p.purl, p.source, p.licenses, m.location"
#define PACKAGE_COLUMN_COUNT 8

/* Texts live as long as rows; the licences hang on ctx. first: the column where PACKAGE_COLUMNS begins. */
enum err_code package_from_row(const struct db_rows *rows, size_t row, size_t first, TALLOC_CTX *ctx,
                               struct package *package, struct err *e) MUST_CHECK;

/* A page of a set: rows (position, PACKAGE_COLUMNS), in set order, after that position (-1: from the start). */
enum err_code package_page(struct db *db, TALLOC_CTX *ctx, int64_t set, int64_t after, size_t limit,
                           struct db_rows **rows, struct err *e) MUST_CHECK;

#endif
