#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#define MEGABYTE 1000000

static const char *store_of(const struct args *args)
{
	const char *store = args_text(args, "store");

	return store ? store : "object_store";
}

enum err_code cmd_store_quota_set(struct cli *cli, const struct args *args, struct err *e)
{
	const struct quota_set_request request = {
	    .store = store_of(args),
	    .account = args->words[0],
	    .max_bytes = args_number(args, "megabytes", 0) * MEGABYTE,
	    .max_objects = args_number(args, "objects", 0),
	};
	struct quota_set_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;

	if (!request.max_bytes && !request.max_objects)
		return cli_misuse(cli, e, "a quota is --megabytes, --objects or both; `store quota rm` takes it away");
	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_quota_set(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_quota_set_reply(), &reply, e);
	printf("quota of account %s in %s set\n", request.account, request.store);
	return ERR_OK;
}

enum err_code cmd_store_quota_rm(struct cli *cli, const struct args *args, struct err *e)
{
	const struct quota_remove_request request = {.store = store_of(args), .account = args->words[0]};
	struct quota_remove_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_quota_remove(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_quota_remove_reply(), &reply, e);
	printf(reply.existed ? "quota of account %s in %s removed\n" : "account %s has no quota in %s\n",
	       request.account, request.store);
	return ERR_OK;
}

static const char *of_limit(TALLOC_CTX *ctx, const char *used, int64_t max, const char *limit)
{
	return max ? talloc_asprintf(ctx, "%s of %s", used, limit) : used;
}

enum err_code cmd_store_quota_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"STORE"}, {"ACCOUNT"}, {"BYTES", .right = true}, {"OBJECTS", .right = true}, {NULL}};
	const struct quota_list_request request = {.store = args_text(args, "store"),
	                                           .account = args->word_count ? args->words[0] : NULL};
	TALLOC_CTX *ctx = cli->ctx;
	struct quota_list_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;
	struct listing *l;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_quota_list(gateway, &call, ctx, &request, &reply, e));
	l = listing_new(cli, record_quota_item(), columns);
	for (size_t i = 0; i < reply.items_count; i++) {
		const struct quota_item *q = &reply.items[i];

		TRY(listing_add(
		    l, q, e, q->store, q->account,
		    of_limit(ctx, show_bytes(ctx, q->used_bytes), q->max_bytes, show_bytes(ctx, q->max_bytes)),
		    of_limit(ctx, show_number(ctx, q->used_objects), q->max_objects,
		             show_number(ctx, q->max_objects))));
	}
	listing_end(l, "no quotas");
	return ERR_OK;
}
