/*
 * npm: a package.json with name and version, wherever it lies. Many a package.json has neither, because it only
 * configures something; that is no package and no fault.
 */
#include "common/json.h"
#include "services/analyzer-worker/catalogers/catalogers.h"

#include <string.h>

static bool wants(const struct cataloger_path *p)
{
	return p->base_len == 12 && memcmp(p->base, "package.json", 12) == 0;
}

static const char *text_of(struct findings *f, const char *text)
{
	return text ? findings_text(f, text, strlen(text)) : NULL;
}

/* A licence is a text, or an object of an older fashion that names one. */
static const char *license_of(struct findings *f, const cJSON *item)
{
	const char *text = cJSON_GetStringValue(item);

	if (!text && cJSON_IsObject(item))
		text = json_text(item, "type") ? json_text(item, "type") : json_text(item, "name");
	return text_of(f, text);
}

static const char *read_license(struct findings *f, const cJSON *package)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(package, "license"), *one;
	char *all = NULL;

	if (!item)
		item = cJSON_GetObjectItemCaseSensitive(package, "licenses");
	if (!cJSON_IsArray(item))
		return license_of(f, item);
	cJSON_ArrayForEach (one, item) {
		const char *license = license_of(f, one);

		if (license)
			all = all ? talloc_asprintf_append(all, " AND %s", license) : talloc_strdup(f->ctx, license);
	}
	return all;
}

static const char *read_author(struct findings *f, const cJSON *package)
{
	const cJSON *author = cJSON_GetObjectItemCaseSensitive(package, "author");

	if (cJSON_IsObject(author))
		return text_of(f, json_text(author, "name"));
	return text_of(f, cJSON_GetStringValue(author));
}

static enum err_code parse(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *bytes = file->bytes;
	size_t len = file->len;
	struct summary_package package;

	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
		bytes += 3;
		len -= 3;
	}
	TRY(json_parse(bytes, len, file->len, "package.json", &json, e));
	package = (struct summary_package){
	    .name = text_of(f, json_text(json, "name")),
	    .version = text_of(f, json_text(json, "version")),
	    .license = read_license(f, json),
	    .origin = read_author(f, json),
	};
	if (package.name && package.version)
		*findings_package(f) = package;
	return ERR_OK;
}

const struct cataloger cataloger_npm = {
    .name = "npm",
    .type = "npm",
    .max_bytes = 4 * MIB,
    .wants = wants,
    .parse = parse,
};
