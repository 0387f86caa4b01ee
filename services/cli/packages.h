/*
 * packages: an image's packages, one after the other, fetched in pages. Ordered by type, name, version and location.
 *
 *     struct packages *p = packages_new(ctx, cli, image, NULL);
 *     while ((code = packages_next(p, &package, e)) == ERR_OK && package)
 *             use(package);
 */
#ifndef CLI_PACKAGES_H
#define CLI_PACKAGES_H

#include "services/cli/cli.h"

struct packages;

/* type: an ecosystem, "os", or NULL for all. image and type stay the caller's. */
struct packages *packages_new(TALLOC_CTX *ctx, struct cli *cli, const char *image, const char *type);

/* NULL behind the last one. It lives until the next call. */
enum err_code packages_next(struct packages *p, const struct package **package, struct err *e) MUST_CHECK;

#endif
