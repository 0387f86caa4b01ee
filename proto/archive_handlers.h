/* archive_handlers: the functions that a service answering archive.def has to have. See proto/dispatch.h. */
#ifndef PROTO_ARCHIVE_HANDLERS_H
#define PROTO_ARCHIVE_HANDLERS_H

#include "proto/messages.h"

#define PROTO_TABLE "proto/archive.def"
#include "proto/handler_prototypes.h"

#endif
