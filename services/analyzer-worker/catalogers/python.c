/*
 * python: what pip and setuptools leave beside installed packages: NAME.dist-info/METADATA, NAME.egg-info/PKG-INFO (or
 * NAME.egg-info itself), EGG-INFO/PKG-INFO in an egg.
 */
#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/catalogers/stanza.h"

#include <string.h>

static bool ends_with(const char *text, size_t len, const char *suffix)
{
	return len >= strlen(suffix) && memcmp(text + len - strlen(suffix), suffix, strlen(suffix)) == 0;
}

static bool wants(const struct cataloger_path *p)
{
	size_t dir_len = p->len - p->base_len;

	if (p->base_len == 8 && memcmp(p->base, "METADATA", 8) == 0)
		return ends_with(p->path, dir_len, ".dist-info/");
	if (p->base_len == 8 && memcmp(p->base, "PKG-INFO", 8) == 0)
		return ends_with(p->path, dir_len, ".egg-info/") || ends_with(p->path, dir_len, "EGG-INFO/");
	return p->base_len > 9 && ends_with(p->base, p->base_len, ".egg-info");
}

struct licenses {
	const char *expression, *stated;
	char *classified;
};

/* "License :: OSI Approved :: MIT License": the last part is the licence. */
static void read_classifier(struct findings *f, const struct stanza_field *field, struct licenses *l)
{
	const char *last = field->value, *end = field->value + field->value_len, *text;

	if (field->value_len < 11 || memcmp(field->value, "License :: ", 11) != 0)
		return;
	for (const char *at = last; (at = memmem(at, (size_t)(end - at), " :: ", 4)); at += 4)
		last = at + 4;
	text = findings_text(f, last, (size_t)(end - last));
	if (!text || strcmp(text, "OSI Approved") == 0)
		return;
	l->classified =
	    l->classified ? talloc_asprintf_append(l->classified, " AND %s", text) : talloc_strdup(f->ctx, text);
}

static void read_field(struct findings *f, const struct stanza_field *field, struct summary_package *package,
                       struct licenses *l)
{
	if (stanza_is(field, "Name"))
		package->name = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Version"))
		package->version = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "License-Expression"))
		l->expression = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "License") && !field->continued) /* a continued one is the licence's whole text */
		l->stated = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Classifier"))
		read_classifier(f, field, l);
	else if (stanza_is(field, "Author") || (stanza_is(field, "Maintainer") && !package->origin))
		package->origin = findings_text(f, field->value, field->value_len);
}

static bool is_known(const char *text)
{
	return text && strcmp(text, "UNKNOWN") != 0;
}

static enum err_code parse(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	struct summary_package package = {0};
	struct licenses licenses = {0};
	struct stanza_field field;
	enum stanza_item item;
	struct stanza s;

	stanza_init(&s, file->bytes, file->len);
	/* The headers end at the first blank line; a description may follow. */
	while ((item = stanza_next(&s, &field)) == STANZA_FIELD || item == STANZA_OTHER)
		if (item == STANZA_FIELD)
			read_field(f, &field, &package, &licenses);
	if (!package.name || !package.version)
		return ERR(e, ERR_CORRUPT, "the metadata has no %s", package.name ? "Version" : "Name");
	package.license = licenses.expression;
	if (!package.license && is_known(licenses.stated))
		package.license = licenses.stated;
	if (!package.license)
		package.license = licenses.classified;
	if (!is_known(package.origin))
		package.origin = NULL;
	*findings_package(f) = package;
	return ERR_OK;
}

const struct cataloger cataloger_python = {
    .name = "python",
    .type = "pypi",
    .max_bytes = 8 * MIB,
    .wants = wants,
    .parse = parse,
};
