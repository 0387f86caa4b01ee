#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#define PAGE 500
#define DEFAULT_LIMIT 100 /* events go back for ever */

enum err_code cmd_event_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"WHEN"}, {"EVENT"}, {"SUBJECT", .elastic = true}, {"MESSAGE", .elastic = true}, {NULL}};
	struct event_list_request request = {0};
	int64_t left = args_number(args, "limit", DEFAULT_LIMIT);
	struct event_list_reply page = {.more = true};
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_event_item(), columns);
	while (page.more && left > 0) {
		SCRATCH_CTX(scratch);
		struct proto_call call = cli_call(cli);

		request.limit = MIN(left, PAGE);
		TRY(call_event_list(catalog, &call, scratch, &request, &page, e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct event_item *v = &page.items[i];

			TRY(listing_add(l, v, e, show_time(scratch, v->at), v->kind, v->subject, v->message));
			request.before = v->event;
		}
		left -= (int64_t)page.items_count;
		if (!page.items_count)
			break;
	}
	listing_end(l, "no events");
	return ERR_OK;
}
