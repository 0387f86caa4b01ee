#include "services/object-store-gateway/drivers/swift_catalog.h"

#include <stdio.h>
#include <string.h>

#define SERVICE_TYPE "object-store"

struct choice {
	const struct swift_settings *settings;
	const char *url;   /* found so far */
	bool several;      /* and another one */
	char offered[200]; /* regions with the interface, for messages */
};

static void note_region(struct choice *c, const char *region)
{
	size_t used = strlen(c->offered);

	snprintf(c->offered + used, sizeof(c->offered) - used, "%s%.60s", used ? ", " : "", region ? region : "(none)");
}

static bool region_fits(const struct swift_settings *settings, const cJSON *endpoint)
{
	const char *name = json_text(endpoint, "region"), *id = json_text(endpoint, "region_id");

	if (!settings->region)
		return true;
	return (name && strcmp(name, settings->region) == 0) || (id && strcmp(id, settings->region) == 0);
}

/* v2 has one member for each interface in an endpoint, v3 an endpoint for each interface. */
static const char *url_of(const struct swift_settings *settings, const cJSON *endpoint)
{
	const char *interface = json_text(endpoint, "interface");
	char member[32];

	if (interface)
		return strcmp(interface, settings->interface) == 0 ? json_text(endpoint, "url") : NULL;
	snprintf(member, sizeof(member), "%sURL", settings->interface);
	return json_text(endpoint, member);
}

static void consider(struct choice *c, const cJSON *endpoint)
{
	const char *url = url_of(c->settings, endpoint);

	if (!url || !url[0])
		return;
	note_region(c,
	            json_text(endpoint, "region") ? json_text(endpoint, "region") : json_text(endpoint, "region_id"));
	if (!region_fits(c->settings, endpoint))
		return;
	if (!c->url)
		c->url = url;
	else if (strcmp(c->url, url) != 0)
		c->several = true;
}

enum err_code swift_catalog_find(const cJSON *catalog, const struct swift_settings *settings, const char **url,
                                 struct err *e)
{
	struct choice c = {.settings = settings};
	const cJSON *service, *endpoint;

	cJSON_ArrayForEach (service, catalog) {
		const char *type = json_text(service, "type");

		if (type && strcmp(type, SERVICE_TYPE) == 0)
			cJSON_ArrayForEach (endpoint, json_array(service, "endpoints"))
				consider(&c, endpoint);
	}
	if (!c.url)
		return ERR(e, ERR_INVALID,
		           "the service catalog has no " SERVICE_TYPE " of interface %s%s%s; regions that have: %s",
		           settings->interface, settings->region ? " in region " : "",
		           settings->region ? settings->region : "", c.offered[0] ? c.offered : "none");
	if (c.several)
		return ERR(e, ERR_INVALID,
		           "the service catalog has several " SERVICE_TYPE "s of interface %s%s%s: %s; name one in "
		           "region or os_storage_url",
		           settings->interface, settings->region ? " in region " : "",
		           settings->region ? settings->region : "", c.offered);
	*url = c.url;
	return ERR_OK;
}
