#include "services/cli/json_writer.h"
#include "services/cli/license.h"
#include "services/cli/sbom.h"

#include <string.h>

static void add_property(struct json_writer *w, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	json_open_object(w, NULL);
	json_add_text(w, "name", name);
	json_add_text(w, "value", value);
	json_close(w);
}

static void add_tools(struct json_writer *w)
{
	json_open_object(w, "tools");
	json_open_array(w, "components");
	json_open_object(w, NULL);
	json_add_text(w, "type", "application");
	json_add_text(w, "name", "stowage");
	json_add_text(w, "version", STOWAGE_VERSION);
	json_close(w);
	json_close(w);
	json_close(w);
}

static void add_image_properties(struct json_writer *w, TALLOC_CTX *ctx, const struct image_detail *image)
{
	json_open_array(w, "properties");
	add_property(w, "stowage:image:platform", image->platform);
	for (size_t i = 0; i < image->layers_count; i++) {
		const struct layer_item *layer = &image->layers[i];

		add_property(w, talloc_asprintf(ctx, "stowage:layer:%zu:digest", i), digest_text(&layer->digest).text);
		add_property(w, talloc_asprintf(ctx, "stowage:layer:%zu:diff_id", i),
		             digest_text(&layer->diff_id).text);
	}
	for (size_t i = 0; i < image->incomplete.count; i++)
		add_property(w, "stowage:incomplete", image->incomplete.items[i]);
	json_close(w);
}

static void add_image(struct json_writer *w, TALLOC_CTX *ctx, const struct image_detail *image)
{
	json_open_object(w, "component");
	json_add_text(w, "type", "container");
	json_add_text(w, "bom-ref", "image");
	json_add_text(w, "name", sbom_image_name(ctx, image));
	json_add_text(w, "version", digest_text(&image->digest).text);
	json_open_array(w, "hashes");
	json_open_object(w, NULL);
	json_add_text(w, "alg", "SHA-256");
	json_add_text(w, "content", digest_hex(&image->digest).text);
	json_close(w);
	json_close(w);
	json_add_known(w, "purl", sbom_image_purl(ctx, image));
	add_image_properties(w, ctx, image);
	json_close(w);
}

static void add_metadata(struct json_writer *w, TALLOC_CTX *ctx, const struct image_detail *image)
{
	json_open_object(w, "metadata");
	json_add_known(w, "timestamp", sbom_time(ctx, image));
	add_tools(w);
	add_image(w, ctx, image);
	json_close(w);
}

static void add_distribution(struct json_writer *w, const struct distribution *d)
{
	if (!d || !d->id || !*d->id)
		return;
	json_open_object(w, NULL);
	json_add_text(w, "type", "operating-system");
	json_add_text(w, "bom-ref", "distribution");
	json_add_text(w, "name", d->id);
	json_add_known(w, "version", d->version);
	json_add_known(w, "description", d->name);
	json_close(w);
}

static void add_licenses(struct json_writer *w, const struct package *p)
{
	if (!p->licenses.count)
		return;
	json_open_array(w, "licenses");
	if (p->licenses.count == 1 && license_is_expression(p->licenses.items[0])) {
		json_open_object(w, NULL);
		json_add_text(w, "expression", p->licenses.items[0]);
		json_close(w);
		json_close(w);
		return;
	}
	for (size_t i = 0; i < p->licenses.count; i++) {
		const char *id = license_id(p->licenses.items[i]);

		json_open_object(w, NULL);
		json_open_object(w, "license");
		json_add_text(w, id ? "id" : "name", id ? id : p->licenses.items[i]);
		json_close(w);
		json_close(w);
	}
	json_close(w);
}

static void add_package(struct json_writer *w, size_t number, const struct package *p)
{
	char reference[32];

	snprintf(reference, sizeof(reference), "package-%zu", number);
	json_open_object(w, NULL);
	json_add_text(w, "type", "library");
	json_add_text(w, "bom-ref", reference);
	json_add_text(w, "name", p->name);
	json_add_known(w, "version", p->version);
	add_licenses(w, p);
	json_add_text(w, "purl", p->purl);
	json_open_array(w, "properties");
	add_property(w, "stowage:package:type", p->type);
	add_property(w, "stowage:package:arch", p->arch);
	add_property(w, "stowage:package:source", p->source);
	add_property(w, "stowage:package:location", p->location);
	json_close(w);
	json_close(w);
}

static enum err_code add_components(struct json_writer *w, const struct sbom_source *source, FILE *out, struct err *e)
{
	const struct package *p;

	json_open_array(w, "components");
	add_distribution(w, source->image->distribution);
	for (size_t number = 1;; number++) {
		TRY(source->next(source->arg, &p, e));
		if (!p)
			break;
		add_package(w, number, p);
		if (ferror(out))
			return ERR(e, ERR_INTERNAL, "the document could not be written");
	}
	json_close(w);
	return ERR_OK;
}

enum err_code sbom_cyclonedx(const struct sbom_source *source, FILE *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct json_writer *w = json_writer_new(scratch, out);

	json_open_object(w, NULL);
	json_add_text(w, "$schema", "http://cyclonedx.org/schema/bom-1.5.schema.json");
	json_add_text(w, "bomFormat", "CycloneDX");
	json_add_text(w, "specVersion", "1.5");
	json_add_text(w, "serialNumber", sbom_uuid(scratch, "cyclonedx", &source->image->digest));
	json_add_number(w, "version", 1);
	add_metadata(w, scratch, source->image);
	TRY(add_components(w, source, out, e));
	json_close(w);
	return ERR_OK;
}
