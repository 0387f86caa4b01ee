#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/file.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/values.h"

#include <string.h>

#define DOCKERFILE_MAX (1 * MIB)

enum err_code cmd_image_add(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct image_add_request request = {
	    .reference = args->words[0], .platform = args_text(args, "platform"), .force = args_flag(args, "force")};
	struct image_add_reply reply;
	struct digest_text digest;
	struct proto_call call;
	size_t len;

	analysis_annotations(cli, cli->ctx, &request.annotations);
	if (args_text(args, "dockerfile"))
		TRY(file_read(cli->ctx, args_text(args, "dockerfile"), DOCKERFILE_MAX, &request.dockerfile, &len, e));
	TRY(cli_catalog(cli, &catalog, e));
	call = cli_call(cli);
	TRY(call_image_add(catalog, &call, cli->ctx, &request, &reply, e));
	digest = digest_text(&reply.digest);
	if (args_flag(args, "wait"))
		return analysis_follow(cli, digest.text, reply.job ? ANALYSIS_FRESH : ANALYSIS_KNOWN, e);
	if (cli->json)
		return output_record(record_image_add_reply(), &reply, e);
	printf("%s %s\n", digest.text, analysis_status_text(reply.status));
	return ERR_OK;
}

static enum err_code add_image_rows(struct cli *cli, struct listing *l, const struct image_list_reply *page,
                                    struct err *e)
{
	for (size_t i = 0; i < page->items_count; i++) {
		SCRATCH_CTX(scratch);
		const struct image_item *m = &page->items[i];

		TRY(listing_add(l, m, e, show_image_name(cli, scratch, &m->digest), analysis_status_text(m->status),
		                residence_text(m->residence), m->platform, m->distribution,
		                m->packages ? show_number(scratch, m->packages) : "", show_age(scratch, m->added_at),
		                show_texts(scratch, &m->tags)));
	}
	return ERR_OK;
}

enum err_code cmd_image_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"IMAGE"},
	                                              {"STATUS"},
	                                              {"WHERE"},
	                                              {"PLATFORM"},
	                                              {"DISTRIBUTION", .elastic = true},
	                                              {"PACKAGES", .right = true},
	                                              {"ADDED"},
	                                              {"TAGS", .elastic = true},
	                                              {NULL}};
	struct image_list_request request = {.tag = args_text(args, "tag"),
	                                     .status = analysis_status_value(args_text(args, "status"))};
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_image_item(), columns);
	listing_pages(l, LISTING_ALL);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct image_list_reply page;
		struct proto_call call = cli_call(cli);

		request.after = listing_cursor(l);
		TRY(listing_asked(l, call_image_list(catalog, &call, scratch, &request, &page, e), e));
		TRY(add_image_rows(cli, l, &page, e));
		TRY(listing_page(l, page.items_count, page.more,
		                 page.items_count ? page.items[page.items_count - 1].cursor : NULL, e));
	}
	listing_end(l, "no images");
	return ERR_OK;
}

static void show_layers(TALLOC_CTX *ctx, struct cli *cli, const struct image_detail *m)
{
	static const struct table_column columns[] = {{"LAYER"},
	                                              {"SIZE", .right = true},
	                                              {"CONTENT", .right = true},
	                                              {"ENTRIES", .right = true},
	                                              {"KNOWN"},
	                                              {"DIFFID", .elastic = true},
	                                              {NULL}};
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < m->layers_count; i++)
		table_row(t, digest_text(&m->layers[i].digest).text, show_bytes(ctx, m->layers[i].size),
		          show_bytes(ctx, m->layers[i].content_bytes), show_number(ctx, m->layers[i].entries),
		          show_flag(m->layers[i].known), digest_text(&m->layers[i].diff_id).text);
	if (m->layers_count) {
		printf("\n");
		table_print(t, stdout, cli->width);
	}
}

static void show_sets(TALLOC_CTX *ctx, struct cli *cli, const struct image_detail *m)
{
	static const struct table_column columns[] = {{"ECOSYSTEM"}, {"PACKAGES", .right = true}, {NULL}};
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < m->sets_count; i++)
		table_row(t, m->sets[i].type, show_number(ctx, m->sets[i].packages));
	if (m->sets_count) {
		printf("\n");
		table_print(t, stdout, cli->width);
	}
}

/* As the catalog writes it in lists: "debian 12". */
static const char *distribution_text(TALLOC_CTX *ctx, const struct distribution *d)
{
	const char *id = d && d->id ? d->id : "", *version = d && d->version ? d->version : "";
	char *text = talloc_asprintf(ctx, "%s%s%s", id, *id && *version ? " " : "", *id ? version : "");

	ASSERT(text);
	return text;
}

static void show_image(struct cli *cli, const struct image_detail *m)
{
	SCRATCH_CTX(ctx);
	struct fields *f = fields_new(ctx);

	fields_add(f, "image", digest_text(&m->digest).text);
	if (!digest_is_none(&m->parent_digest))
		fields_add(f, "chosen from index", digest_text(&m->parent_digest).text);
	fields_add(f, "status", analysis_status_text(m->status));
	fields_add(f, "reason", m->reason);
	fields_add(f, "where", residence_text(m->residence));
	fields_add(f, "tags", show_texts(ctx, &m->tags));
	fields_add(f, "added from", m->reference);
	fields_add(f, "platform", m->platform);
	fields_add(f, "distribution", distribution_text(ctx, m->distribution));
	fields_add(f, "created", show_time(ctx, m->created_at));
	fields_add(f, "added", show_time(ctx, m->added_at));
	fields_add(f, "analysed", show_time(ctx, m->analysed_at));
	fields_add(f, "size", m->size ? show_bytes(ctx, m->size) : "");
	fields_add(f, "files", m->files ? show_number(ctx, m->files) : "");
	fields_add(f, "packages", m->status == ANALYSIS_ANALYSED ? show_number(ctx, m->packages) : "");
	fields_add(f, "job", m->job ? show_number(ctx, m->job) : "");
	for (size_t i = 0; i < m->annotations.count; i++)
		fields_add(f, talloc_asprintf(ctx, "annotation %s", m->annotations.items[i].key),
		           m->annotations.items[i].value);
	for (size_t i = 0; i < m->incomplete.count; i++)
		fields_add(f, "incomplete", m->incomplete.items[i]);
	fields_print(f, stdout);
	show_sets(ctx, cli, m);
	show_layers(ctx, cli, m);
}

enum err_code cmd_image_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct image_detail *image;

	TRY(analysis_get(cli, cli->ctx, args->words[0], &image, e));
	if (cli->json)
		return output_record(record_image_detail(), image, e);
	show_image(cli, image);
	return ERR_OK;
}

enum err_code cmd_image_wait(struct cli *cli, const struct args *args, struct err *e)
{
	return analysis_follow(cli, args->words[0], ANALYSIS_WAITED, e);
}

enum err_code cmd_image_rm(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct image_remove_request request = {.image = args->words[0], .force = args_flag(args, "force")};
	struct image_remove_reply reply;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_image_remove(catalog, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_image_remove_reply(), &reply, e);
	printf("%s removed\n", digest_text(&reply.digest).text);
	return ERR_OK;
}

enum err_code cmd_image_history(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"SINCE"}, {"IMAGE"}, {"STATUS"}, {NULL}};
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct image_history_request request = {.reference = args->words[0]};
	struct image_history_reply reply;
	struct listing *l;

	if (value_is_tagged(args->words[0], e) != ERR_OK)
		return cli_misuse(cli, e, "%s, and only tags have a history", e->text);
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_image_history(catalog, &call, cli->ctx, &request, &reply, e));
	l = listing_new(cli, record_tag_change(), columns);
	listing_head(l, "reference", reply.reference);
	for (size_t i = 0; i < reply.changes_count; i++)
		TRY(listing_add(l, &reply.changes[i], e, show_time(cli->ctx, reply.changes[i].seen_at),
		                digest_text(&reply.changes[i].digest).text,
		                reply.changes[i].status ? analysis_status_text(reply.changes[i].status) : "removed"));
	if (!cli->json)
		printf("%s\n", reply.reference);
	listing_end(l, NULL);
	return ERR_OK;
}
