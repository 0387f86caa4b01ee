#include "common/json.h"
#include "services/cli/content.h"
#include "services/cli/file.h"
#include "services/cli/json_writer.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/packages.h"
#include "services/cli/table.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

static const struct table_column columns[] = {{"TYPE"}, {"NAME", .elastic = true},     {"VERSION", .elastic = true},
                                              {"ARCH"}, {"LICENSES", .elastic = true}, {"LOCATION", .elastic = true},
                                              {NULL}};

static enum err_code packages_json(struct cli *cli, const struct image_detail *image, struct packages *packages,
                                   struct err *e)
{
	struct json_writer *w = json_writer_new(cli->ctx, stdout);
	const struct package *p;

	json_open_object(w, NULL);
	json_add_text(w, "digest", digest_text(&image->digest).text);
	json_open_array(w, "items");
	for (;;) {
		CLEANUP(json_cleanup) cJSON *object = NULL;

		TRY(packages_next(packages, &p, e));
		if (!p || file_reader_is_gone(stdout))
			break;
		TRY(proto_encode(record_package(), p, &object, e));
		json_add_value(w, NULL, object);
	}
	listing_close_json(w);
	return ERR_OK;
}

enum err_code content_packages(struct cli *cli, const struct image_detail *image, const char *type, struct err *e)
{
	struct digest_text name = digest_text(&image->digest);
	const char *only = strcmp(type, "packages") == 0 ? NULL : type;
	struct packages *packages = packages_new(cli->ctx, cli, name.text, only);
	struct table *t = table_new(cli->ctx, columns);
	const struct package *p;

	if (cli->json)
		return packages_json(cli, image, packages, e);
	for (;;) {
		SCRATCH_CTX(scratch);

		TRY(packages_next(packages, &p, e));
		if (!p)
			break;
		table_row(t, p->type, p->name, p->version, p->arch, show_texts(scratch, &p->licenses), p->location);
	}
	if (table_rows(t))
		table_print(t, stdout, cli->width);
	else
		fprintf(stderr, "no such packages\n");
	return ERR_OK;
}

struct license {
	UT_hash_handle hh;
	int64_t count;
	char name[];
};

static void count_license(TALLOC_CTX *ctx, struct license **all, const char *name)
{
	struct license *l;

	HASH_FIND(hh, *all, name, strlen(name), l);
	if (!l) {
		l = talloc_zero_size(ctx, sizeof(*l) + strlen(name) + 1);
		ASSERT(l);
		memcpy(l->name, name, strlen(name));
		HASH_ADD_KEYPTR(hh, *all, l->name, strlen(l->name), l);
	}
	l->count++;
}

static int by_name(const struct license *a, const struct license *b)
{
	return strcmp(a->name, b->name);
}

static void print_licenses(struct cli *cli, const struct image_detail *image, struct license *all)
{
	static const struct table_column license_columns[] = {
	    {"PACKAGES", .right = true}, {"LICENSE", .elastic = true}, {NULL}};
	struct json_writer *w = json_writer_new(cli->ctx, stdout);
	struct table *t = table_new(cli->ctx, license_columns);

	if (!cli->json) {
		for (struct license *l = all; l; l = l->hh.next)
			table_row(t, show_number(cli->ctx, l->count), l->name);
		table_print(t, stdout, cli->width);
		return;
	}
	json_open_object(w, NULL);
	json_add_text(w, "digest", digest_text(&image->digest).text);
	json_open_array(w, "items");
	for (struct license *l = all; l; l = l->hh.next) {
		json_open_object(w, NULL);
		json_add_text(w, "license", l->name);
		json_add_number(w, "packages", l->count);
		json_close(w);
	}
	listing_close_json(w);
}

enum err_code content_licenses(struct cli *cli, const struct image_detail *image, struct err *e)
{
	struct digest_text name = digest_text(&image->digest);
	struct packages *packages = packages_new(cli->ctx, cli, name.text, NULL);
	struct license *all = NULL;
	const struct package *p;

	for (;;) {
		TRY(packages_next(packages, &p, e));
		if (!p)
			break;
		for (size_t i = 0; i < p->licenses.count; i++)
			count_license(cli->ctx, &all, p->licenses.items[i]);
	}
	HASH_SORT(all, by_name);
	print_licenses(cli, image, all);
	HASH_CLEAR(hh, all);
	return ERR_OK;
}
