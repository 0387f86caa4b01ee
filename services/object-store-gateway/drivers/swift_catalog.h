/*
 * swift_catalog: finds the account's URL in the catalog that comes with a token of the identity service.
 *
 * The service of type `object-store` is meant, its endpoint of the configured interface and region. When no region is
 * configured and the catalog offers several URLs, that is an error: to write to whichever comes first would be to lose
 * everything when the order changes.
 */
#ifndef GATEWAY_DRIVERS_SWIFT_CATALOG_H
#define GATEWAY_DRIVERS_SWIFT_CATALOG_H

#include "common/json.h"
#include "services/object-store-gateway/drivers/swift_settings.h"

/* catalog: the array `serviceCatalog` of v2 or `catalog` of v3, NULL if there was none. *url lives as long as it.
 * ERR_INVALID says what there is to choose from. */
enum err_code swift_catalog_find(const cJSON *catalog, const struct swift_settings *settings, const char **url,
                                 struct err *e) MUST_CHECK;

#endif
