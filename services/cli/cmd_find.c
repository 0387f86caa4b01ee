#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

enum err_code cmd_find_package(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"PACKAGE", .elastic = true}, {"VERSION", .elastic = true},  {"TYPE"}, {"IMAGE"}, {"WHERE"},
	    {"TAGS", .elastic = true},    {"LOCATION", .elastic = true}, {NULL}};
	struct package_find_request request = {
	    .name = args->words[0], .version = args_text(args, "version"), .type = args_text(args, "type")};
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_package_hit(), columns);
	listing_pages(l, LISTING_ALL);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct package_find_reply page;
		struct proto_call call = cli_call(cli);
		const char *cursor = listing_cursor(l);

		request.after = cursor;
		TRY(listing_asked(l, call_package_find(catalog, &call, scratch, &request, &page, e), e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct package_hit *h = &page.items[i];

			TRY(listing_add(l, h, e, h->name, h->version, h->type, show_image_name(cli, scratch, &h->image),
			                residence_text(h->residence), show_texts(scratch, &h->tags), h->location));
			cursor = h->cursor;
		}
		TRY(listing_page(l, page.items_count, page.more, cursor, e));
	}
	listing_end(l, "no image has it");
	return ERR_OK;
}
