#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

enum err_code cmd_account_add(struct cli *cli, const struct args *args, struct err *e)
{
	struct account_add_request request = {.name = args->words[0]};
	struct account_add_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_account_add(catalog, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_named("account", args->words[0], "existed", reply.existed);
	printf("%s %s\n", args->words[0], reply.existed ? "was there already" : "added");
	return ERR_OK;
}

enum err_code cmd_account_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"ACCOUNT"}, {"IMAGES", .right = true}, {"CREATED"}, {NULL}};
	const struct account_list_request request = {};
	struct account_list_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;
	struct listing *l;

	(void)args;
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_account_list(catalog, &call, cli->ctx, &request, &reply, e));
	l = listing_new(cli, record_account_item(), columns);
	for (size_t i = 0; i < reply.items_count; i++)
		TRY(listing_add(l, &reply.items[i], e, reply.items[i].name,
		                show_number(cli->ctx, reply.items[i].images),
		                show_time(cli->ctx, reply.items[i].created_at)));
	listing_end(l, "no accounts");
	return ERR_OK;
}

enum err_code cmd_account_rm(struct cli *cli, const struct args *args, struct err *e)
{
	struct account_remove_request request = {.name = args->words[0]};
	struct account_remove_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_account_remove(catalog, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_named("account", args->words[0], "removed", true);
	printf("%s removed\n", args->words[0]);
	return ERR_OK;
}
