/* tasks: the background threads of the catalog, registered at start. What each does stands in the README. */
#ifndef CATALOG_TASKS_H
#define CATALOG_TASKS_H

#include "services/catalog/catalog.h"

#define TASK_ANNOUNCE "announce"
#define TASK_REMOVAL "removal"

void tasks_register(struct catalog *c);

#endif
