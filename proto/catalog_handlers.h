/* catalog_handlers: the functions that a service answering catalog.def has to have. See proto/dispatch.h. */
#ifndef PROTO_CATALOG_HANDLERS_H
#define PROTO_CATALOG_HANDLERS_H

#include "proto/messages.h"

#define PROTO_TABLE "proto/catalog.def"
#include "proto/handler_prototypes.h"

#endif
