#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#define PAGE 500

enum err_code cmd_find_package(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"PACKAGE", .elastic = true}, {"VERSION", .elastic = true},  {"TYPE"}, {"IMAGE"}, {"WHERE"},
	    {"TAGS", .elastic = true},    {"LOCATION", .elastic = true}, {NULL}};
	struct package_find_request request = {
	    .name = args->words[0], .version = args_text(args, "version"), .type = args_text(args, "type")};
	int64_t left = args_number(args, "limit", INT64_MAX);
	struct package_find_reply page = {.more = true};
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_package_hit(), columns);
	while (page.more && left > 0) {
		struct proto_call call = cli_call(cli);

		request.limit = MIN(left, PAGE);
		TRY(call_package_find(catalog, &call, cli->ctx, &request, &page, e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct package_hit *h = &page.items[i];

			TRY(listing_add(l, h, e, h->name, h->version, h->type, show_short(cli->ctx, &h->image),
			                residence_text(h->residence), show_texts(cli->ctx, &h->tags), h->location));
			request.after = h->cursor;
		}
		left -= (int64_t)page.items_count;
		if (!page.items_count)
			break;
	}
	listing_end(l, "no image has it");
	return ERR_OK;
}
