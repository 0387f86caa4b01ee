#include "services/object-store-gateway/driver.h"

#include <string.h>

static const struct driver *const drivers[] = {
    &driver_db, &driver_localfs, &driver_mem, &driver_s3, &driver_swift,
};

bool driver_is_whole(const struct driver *d)
{
	return d->name && d->open && d->identity && d->put && d->get && d->remove && d->list && d->close;
}

const struct driver *driver_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		ASSERT(driver_is_whole(drivers[i]));
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	}
	return NULL;
}

const char *driver_names(TALLOC_CTX *ctx)
{
	char *names = talloc_strdup(ctx, drivers[0]->name);

	for (size_t i = 1; i < ARRAY_SIZE(drivers); i++)
		names = talloc_asprintf_append(names, ", %s", drivers[i]->name);
	ASSERT(names);
	return names;
}
