/* gateway_handlers: the functions that a service answering gateway.def has to have. See proto/dispatch.h. */
#ifndef PROTO_GATEWAY_HANDLERS_H
#define PROTO_GATEWAY_HANDLERS_H

#include "proto/messages.h"

#define PROTO_TABLE "proto/gateway.def"
#include "proto/handler_prototypes.h"

#endif
