#include "proto/document/package_set.h"

#include "proto/messages.h"

#include <stdlib.h>
#include <string.h>

struct package_set_hash {
	struct hasher *hasher;
};

static int compare_texts(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int compare_licenses(const struct proto_texts *a, const struct proto_texts *b)
{
	for (size_t i = 0; i < MIN(a->count, b->count); i++) {
		int order = compare_texts(a->items[i], b->items[i]);

		if (order != 0)
			return order;
	}
	return a->count < b->count ? -1 : a->count > b->count;
}

int package_set_compare(const struct package *a, const struct package *b)
{
	const char *const fields[][2] = {
	    {a->type, b->type}, {a->name, b->name}, {a->version, b->version}, {a->location, b->location},
	    {a->arch, b->arch}, {a->purl, b->purl}, {a->source, b->source},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		int order = compare_texts(fields[i][0], fields[i][1]);

		if (order != 0)
			return order;
	}
	return compare_licenses(&a->licenses, &b->licenses);
}

static int compare_for_qsort(const void *a, const void *b)
{
	return package_set_compare(a, b);
}

void package_set_sort(struct package *packages, size_t *count)
{
	size_t kept = 0;

	if (*count == 0)
		return;
	qsort(packages, *count, sizeof(*packages), compare_for_qsort);
	for (size_t i = 1; i < *count; i++)
		if (package_set_compare(&packages[kept], &packages[i]) != 0)
			packages[++kept] = packages[i];
	*count = kept + 1;
}

static void add_escaped(struct hasher *hasher, const char *text)
{
	while (text && *text) {
		size_t plain = strcspn(text, "\t\n\\");

		hasher_add(hasher, text, plain);
		text += plain;
		if (*text)
			hasher_add(hasher, *text == '\t' ? "\\t" : *text == '\n' ? "\\n" : "\\\\", 2);
		text += *text != '\0';
	}
}

static void add_line(struct hasher *hasher, const struct package *p, const char *location)
{
	const char *const fields[] = {p->name, p->version, p->arch, p->purl, location};

	add_escaped(hasher, p->type);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		hasher_add(hasher, "\t", 1);
		add_escaped(hasher, fields[i]);
	}
	if ((p->source && *p->source) || p->licenses.count > 0) {
		hasher_add(hasher, "\t", 1);
		add_escaped(hasher, p->source);
	}
	for (size_t i = 0; i < p->licenses.count; i++) {
		hasher_add(hasher, "\t", 1);
		add_escaped(hasher, p->licenses.items[i]);
	}
	hasher_add(hasher, "\n", 1);
}

struct package_set_hash *package_set_hash_new(TALLOC_CTX *ctx)
{
	struct package_set_hash *h = talloc_zero(ctx, struct package_set_hash);

	ASSERT(h);
	h->hasher = hasher_new(h);
	return h;
}

void package_set_hash_add(struct package_set_hash *h, const struct package *package)
{
	add_line(h->hasher, package, package->location);
}

struct digest package_set_hash_finish(struct package_set_hash *h)
{
	return hasher_finish(h->hasher);
}

struct digest package_set_digest(const struct package *packages, size_t count)
{
	SCRATCH_CTX(ctx);
	struct package_set_hash *h = package_set_hash_new(ctx);

	for (size_t i = 0; i < count; i++)
		package_set_hash_add(h, &packages[i]);
	return package_set_hash_finish(h);
}

struct digest package_digest(const struct package *package)
{
	SCRATCH_CTX(ctx);
	struct hasher *hasher = hasher_new(ctx);

	add_line(hasher, package, NULL);
	return hasher_finish(hasher);
}
