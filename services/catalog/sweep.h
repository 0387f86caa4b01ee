/*
 * sweep: removes, in the background, what nothing uses any more: layers with their objects, package sets with packages
 * that no other set has, uploads, old events and jobs. One process at a time does; each step stands alone and is found
 * again from its rows after a crash.
 */
#ifndef CATALOG_SWEEP_H
#define CATALOG_SWEEP_H

#include "services/catalog/catalog.h"

struct sweep_count {
	size_t layers, sets, uploads; /* gone */
};

/* One round. What failed is logged, and is done in the next one. */
struct sweep_count sweep_run(struct catalog *c);

#endif
