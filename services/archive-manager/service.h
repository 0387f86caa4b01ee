/* service: the archive-manager as process_main (common/process.h) takes it. */
#ifndef ARCHIVE_MANAGER_SERVICE_H
#define ARCHIVE_MANAGER_SERVICE_H

#include "common/process.h"

extern const struct service archive_service;

#endif
