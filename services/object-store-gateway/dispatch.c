#include "services/object-store-gateway/gateway.h"

#define PROTO_TABLE "proto/gateway.def"
#define PROTO_DISPATCH gateway_dispatch
#include "proto/dispatch_table.h"
