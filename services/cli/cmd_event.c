#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/values.h"

#define DEFAULT_LIMIT 100 /* events go back for ever */

enum err_code cmd_event_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"WHEN"}, {"EVENT"}, {"SUBJECT", .elastic = true}, {"MESSAGE", .elastic = true}, {NULL}};
	struct event_list_request request = {0};
	struct rpc_client *catalog;
	struct listing *l;

	(void)args;
	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_event_item(), columns);
	listing_pages(l, DEFAULT_LIMIT);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct event_list_reply page;
		struct proto_call call = cli_call(cli);
		const char *cursor = listing_cursor(l);

		request.before = cursor ? value_number(cursor) : 0;
		TRY(listing_asked(l, call_event_list(catalog, &call, scratch, &request, &page, e), e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct event_item *v = &page.items[i];

			TRY(listing_add(l, v, e, show_time(scratch, v->at), v->kind, v->subject, v->message));
			cursor = show_number(scratch, v->event);
		}
		TRY(listing_page(l, page.items_count, page.more, cursor, e));
	}
	listing_end(l, "no events");
	return ERR_OK;
}
