#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/diff.h"
#include "services/cli/file_json.h"
#include "services/cli/table.h"
#include "services/cli/tree.h"

/* Where what was found goes; counts for the summary. */
struct report {
	struct json_writer *json; /* NULL: text */
	struct table *packages;
	size_t added, removed, changed;
};

static const char *word_of(struct report *r, bool before, bool after)
{
	if (!before) {
		r->added++;
		return "added";
	}
	if (!after) {
		r->removed++;
		return "removed";
	}
	r->changed++;
	return "changed";
}

static enum err_code package_found(void *arg, const struct diff_package *d, struct err *e)
{
	struct report *r = arg;
	const char *word = word_of(r, d->before, d->after);

	(void)e;
	if (!r->json) {
		table_row(r->packages, word, d->type, d->name, d->before, d->after);
		return ERR_OK;
	}
	json_open_object(r->json, NULL);
	json_add_text(r->json, "change", word);
	json_add_text(r->json, "type", d->type);
	json_add_text(r->json, "name", d->name);
	json_add_known(r->json, "before", d->before);
	json_add_known(r->json, "after", d->after);
	json_close(r->json);
	return ERR_OK;
}

static void add_state(struct json_writer *w, const char *name, const struct files_entry *f)
{
	if (!f)
		return;
	json_open_object(w, name);
	file_json_state(w, f);
	json_close(w);
}

static enum err_code file_found(void *arg, const struct files_entry *before, const struct files_entry *after,
                                struct err *e)
{
	struct report *r = arg;
	const struct files_entry *one = before ? before : after;
	const char *word = word_of(r, before, after);
	SCRATCH_CTX(scratch);

	(void)e;
	if (!r->json) {
		printf("%-7s  %s\n", word, text_clean(scratch, one->path));
		return ERR_OK;
	}
	json_open_object(r->json, NULL);
	json_add_text(r->json, "change", word);
	file_json_path(r->json, one);
	add_state(r->json, "before", before);
	add_state(r->json, "after", after);
	json_close(r->json);
	return ERR_OK;
}

static enum err_code diff_json(struct cli *cli, const struct image_detail *a, const struct image_detail *b,
                               struct err *e)
{
	struct report r = {.json = json_writer_new(cli->ctx, stdout)};
	struct digest_text before = digest_text(&a->digest), after = digest_text(&b->digest);

	json_open_object(r.json, NULL);
	json_add_text(r.json, "before", before.text);
	json_add_text(r.json, "after", after.text);
	json_open_array(r.json, "packages");
	TRY(diff_packages(cli, before.text, after.text, package_found, &r, e));
	json_close(r.json);
	json_open_array(r.json, "files");
	TRY(diff_files(cli, a, b, file_found, &r, e));
	json_close(r.json);
	json_close(r.json);
	return ERR_OK;
}

static void show_counts(const char *what, const struct report *r)
{
	printf("%s: %zu added, %zu removed, %zu changed\n", what, r->added, r->removed, r->changed);
}

static enum err_code diff_text(struct cli *cli, const struct image_detail *a, const struct image_detail *b,
                               struct err *e)
{
	static const struct table_column columns[] = {
	    {"CHANGE"}, {"TYPE"}, {"PACKAGE", .elastic = true}, {"BEFORE", .elastic = true}, {"AFTER", .elastic = true},
	    {NULL}};
	struct report packages = {.packages = table_new(cli->ctx, columns)}, files = {0};
	struct digest_text before = digest_text(&a->digest), after = digest_text(&b->digest);

	TRY(diff_packages(cli, before.text, after.text, package_found, &packages, e));
	if (table_rows(packages.packages)) {
		table_print(packages.packages, stdout, cli->width);
		printf("\n");
	}
	TRY(diff_files(cli, a, b, file_found, &files, e));
	if (files.added + files.removed + files.changed)
		printf("\n");
	show_counts("packages", &packages);
	show_counts("files", &files);
	return ERR_OK;
}

enum err_code cmd_image_diff(struct cli *cli, const struct args *args, struct err *e)
{
	struct image_detail *a, *b;

	TRY(analysis_get(cli, cli->ctx, args->words[0], &a, e));
	TRY(analysis_get(cli, cli->ctx, args->words[1], &b, e));
	TRY(tree_check(a, e));
	TRY(tree_check(b, e));
	return cli->json ? diff_json(cli, a, b, e) : diff_text(cli, a, b, e);
}
