/*
 * audit: looks, slowly and over and over, for objects in the store that no row of the catalog owns, and gives them one.
 *
 * There should never be any, since rows are written before objects and removed after them. But a worker that was frozen
 * until its lease was long given away may still write one. What is found gets a row that is to be removed (a layer or
 * an image that is deleting, an upload that is done), and goes the way of everything else. So nothing is removed here,
 * and an object whose owner appears in the same moment is safe: the row is then there already.
 *
 * Each run looks at one page of each bucket of each account and remembers where it stopped.
 */
#ifndef CATALOG_AUDIT_H
#define CATALOG_AUDIT_H

#include "services/catalog/catalog.h"

/* Returns how many owners were made up. */
size_t audit_run(struct catalog *c);

#endif
