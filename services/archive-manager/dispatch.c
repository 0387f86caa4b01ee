#define PROTO_TABLE "proto/archive.def"
#define PROTO_DISPATCH archive_dispatch
#include "proto/dispatch_table.h"
