#include "services/cli/json_writer.h"
#include "services/cli/license.h"
#include "services/cli/sbom.h"

#include <string.h>

#define UNKNOWN_TIME "1970-01-01T00:00:00Z" /* the format wants one */

static void add_common(struct json_writer *w)
{
	json_add_text(w, "downloadLocation", "NOASSERTION");
	json_add_flag(w, "filesAnalyzed", false);
	json_add_text(w, "licenseConcluded", "NOASSERTION");
	json_add_text(w, "copyrightText", "NOASSERTION");
}

static void add_purl(struct json_writer *w, const char *purl)
{
	if (!purl)
		return;
	json_open_array(w, "externalRefs");
	json_open_object(w, NULL);
	json_add_text(w, "referenceCategory", "PACKAGE-MANAGER");
	json_add_text(w, "referenceType", "purl");
	json_add_text(w, "referenceLocator", purl);
	json_close(w);
	json_close(w);
}

static void add_head(struct json_writer *w, TALLOC_CTX *ctx, const struct image_detail *image)
{
	const char *time = sbom_time(ctx, image);

	json_add_text(w, "spdxVersion", "SPDX-2.3");
	json_add_text(w, "dataLicense", "CC0-1.0");
	json_add_text(w, "SPDXID", "SPDXRef-DOCUMENT");
	json_add_text(w, "name", sbom_image_name(ctx, image));
	json_add_text(w, "documentNamespace", sbom_uuid(ctx, "spdx", &image->digest));
	json_open_object(w, "creationInfo");
	json_add_text(w, "created", time ? time : UNKNOWN_TIME);
	json_open_array(w, "creators");
	json_add_text(w, NULL, "Tool: stowage-" STOWAGE_VERSION);
	json_close(w);
	json_close(w);
}

static char *layers_text(TALLOC_CTX *ctx, const struct image_detail *image)
{
	char *text =
	    talloc_asprintf(ctx, "platform %s; layers, bottom first:", image->platform ? image->platform : "unknown");

	for (size_t i = 0; i < image->layers_count; i++)
		text = talloc_asprintf_append(text, " %s", digest_text(&image->layers[i].digest).text);
	ASSERT(text);
	return text;
}

static void add_image(struct json_writer *w, TALLOC_CTX *ctx, const struct image_detail *image)
{
	json_open_object(w, NULL);
	json_add_text(w, "name", sbom_image_name(ctx, image));
	json_add_text(w, "SPDXID", "SPDXRef-Image");
	json_add_text(w, "versionInfo", digest_text(&image->digest).text);
	json_add_text(w, "primaryPackagePurpose", "CONTAINER");
	add_common(w);
	json_add_text(w, "licenseDeclared", "NOASSERTION");
	json_add_text(w, "comment", layers_text(ctx, image));
	json_open_array(w, "checksums");
	json_open_object(w, NULL);
	json_add_text(w, "algorithm", "SHA256");
	json_add_text(w, "checksumValue", digest_hex(&image->digest).text);
	json_close(w);
	json_close(w);
	add_purl(w, sbom_image_purl(ctx, image));
	json_close(w);
}

static bool has_distribution(const struct image_detail *image)
{
	return image->distribution && image->distribution->id && *image->distribution->id;
}

static void add_distribution(struct json_writer *w, const struct image_detail *image)
{
	if (!has_distribution(image))
		return;
	json_open_object(w, NULL);
	json_add_text(w, "name", image->distribution->id);
	json_add_text(w, "SPDXID", "SPDXRef-Distribution");
	json_add_known(w, "versionInfo", image->distribution->version);
	json_add_text(w, "primaryPackagePurpose", "OPERATING_SYSTEM");
	add_common(w);
	json_add_text(w, "licenseDeclared", "NOASSERTION");
	json_add_known(w, "description", image->distribution->name);
	json_close(w);
}

/* What is declared, where it can be said in SPDX' words; on ctx. */
static const char *declared_license(TALLOC_CTX *ctx, const struct package *p)
{
	char *text = talloc_strdup(ctx, "");

	for (size_t i = 0; i < p->licenses.count; i++) {
		const char *stated = p->licenses.items[i], *id = license_id(stated);
		bool expression = !id && license_is_expression(stated);

		if (!id && !expression)
			return "NOASSERTION";
		text = talloc_asprintf_append(text, expression && p->licenses.count > 1 ? "%s(%s)" : "%s%s",
		                              i ? " AND " : "", id ? id : stated);
	}
	ASSERT(text);
	return *text ? text : "NOASSERTION";
}

static char *stated_licenses(TALLOC_CTX *ctx, const struct package *p)
{
	char *text = talloc_strdup(ctx, p->licenses.count ? "as the package states it: " : "");

	for (size_t i = 0; i < p->licenses.count; i++)
		text = talloc_asprintf_append(text, "%s%s", i ? "; " : "", p->licenses.items[i]);
	ASSERT(text);
	return text;
}

static void add_package(struct json_writer *w, size_t number, const struct package *p)
{
	SCRATCH_CTX(ctx);
	const char *declared = declared_license(ctx, p);

	json_open_object(w, NULL);
	json_add_text(w, "name", p->name);
	json_add_text(w, "SPDXID", talloc_asprintf(ctx, "SPDXRef-Package-%zu", number));
	json_add_known(w, "versionInfo", p->version);
	json_add_text(w, "primaryPackagePurpose", "LIBRARY");
	add_common(w);
	json_add_text(w, "licenseDeclared", declared);
	if (strcmp(declared, "NOASSERTION") == 0)
		json_add_known(w, "licenseComments", stated_licenses(ctx, p));
	json_add_text(w, "sourceInfo",
	              talloc_asprintf(ctx, "%s package%s%s%s%s", p->type,
	                              p->location && *p->location ? ", found in " : "", p->location ? p->location : "",
	                              p->source && *p->source ? ", built from " : "", p->source ? p->source : ""));
	add_purl(w, p->purl);
	json_close(w);
}

static void relate(struct json_writer *w, const char *from, const char *type, const char *to)
{
	json_open_object(w, NULL);
	json_add_text(w, "spdxElementId", from);
	json_add_text(w, "relationshipType", type);
	json_add_text(w, "relatedSpdxElement", to);
	json_close(w);
}

static void add_relationships(struct json_writer *w, const struct image_detail *image, size_t packages)
{
	char id[48];

	json_open_array(w, "relationships");
	relate(w, "SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image");
	if (has_distribution(image))
		relate(w, "SPDXRef-Image", "CONTAINS", "SPDXRef-Distribution");
	for (size_t i = 1; i <= packages; i++) {
		snprintf(id, sizeof(id), "SPDXRef-Package-%zu", i);
		relate(w, "SPDXRef-Image", "CONTAINS", id);
	}
	json_close(w);
}

static enum err_code add_packages(struct json_writer *w, const struct sbom_source *source, FILE *out, size_t *count,
                                  struct err *e)
{
	const struct package *p;

	for (*count = 0;; ++*count) {
		TRY(source->next(source->arg, &p, e));
		if (!p)
			return ERR_OK;
		add_package(w, *count + 1, p);
		if (ferror(out))
			return ERR(e, ERR_INTERNAL, "the document could not be written");
	}
}

enum err_code sbom_spdx(const struct sbom_source *source, FILE *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct json_writer *w = json_writer_new(scratch, out);
	size_t count;

	json_open_object(w, NULL);
	add_head(w, scratch, source->image);
	json_open_array(w, "packages");
	add_image(w, scratch, source->image);
	add_distribution(w, source->image);
	TRY(add_packages(w, source, out, &count, e));
	json_close(w);
	add_relationships(w, source->image, count);
	json_close(w);
	return ERR_OK;
}
