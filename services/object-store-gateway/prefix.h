/* prefix: which texts start with a given one, as a range that an index can find. */
#ifndef GATEWAY_PREFIX_H
#define GATEWAY_PREFIX_H

#include "common/base.h"

/* The least UTF-8 text that comes, byte by byte, after all texts that start with this one (which is UTF-8); NULL if
 * there is none. Hangs on ctx. */
char *prefix_end(TALLOC_CTX *ctx, const char *prefix);

#endif
