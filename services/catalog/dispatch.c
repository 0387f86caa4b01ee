#define PROTO_TABLE "proto/catalog.def"
#define PROTO_DISPATCH catalog_dispatch
#include "proto/dispatch_table.h"
