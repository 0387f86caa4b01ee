#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#include <stdlib.h>
#include <string.h>

#define PASSWORD_MAX 4096
#define PASSWORD_VARIABLE "STOWAGE_REGISTRY_PASSWORD"

/* One line of stdin, without its end. */
static enum err_code read_password(struct cli *cli, const char **password, struct err *e)
{
	char *line = talloc_size(cli->ctx, PASSWORD_MAX + 2);
	size_t len;

	ASSERT(line);
	if (!fgets(line, PASSWORD_MAX + 2, stdin))
		return cli_misuse(cli, e, "there is no password on stdin");
	len = strcspn(line, "\r\n");
	if (len > PASSWORD_MAX)
		return cli_misuse(cli, e, "the password on stdin has more than %d bytes", PASSWORD_MAX);
	line[len] = '\0';
	if (!len)
		return cli_misuse(cli, e, "the password on stdin is empty");
	*password = line;
	return ERR_OK;
}

enum err_code cmd_registry_add(struct cli *cli, const struct args *args, struct err *e)
{
	struct registry_add_request request = {
	    .registry = args->words[0], .user = args_text(args, "user"), .insecure = args_flag(args, "insecure")};
	struct registry_add_reply reply;
	struct proto_call call;
	struct rpc_client *catalog;

	if (args_flag(args, "password-stdin"))
		TRY(read_password(cli, &request.password, e));
	else if (request.user)
		request.password = getenv(PASSWORD_VARIABLE);
	if (request.user && !request.password)
		return cli_misuse(cli, e, "--user without a password: --password-stdin, or $" PASSWORD_VARIABLE);
	if (request.password && !request.user)
		return cli_misuse(cli, e, "a password without --user");
	TRY(cli_catalog(cli, &catalog, e));
	call = cli_call(cli);
	TRY(call_registry_add(catalog, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_named("registry", args->words[0], "added", true);
	printf("%s added\n", args->words[0]);
	return ERR_OK;
}

enum err_code cmd_registry_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"REGISTRY"}, {"USER"}, {"INSECURE"}, {NULL}};
	const struct registry_list_request request = {};
	struct registry_list_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;
	struct listing *l;

	(void)args;
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_registry_list(catalog, &call, cli->ctx, &request, &reply, e));
	l = listing_new(cli, record_registry_item(), columns);
	for (size_t i = 0; i < reply.items_count; i++)
		TRY(listing_add(l, &reply.items[i], e, reply.items[i].registry, reply.items[i].user,
		                show_flag(reply.items[i].insecure)));
	if (!reply.items_count)
		TRY(cli_check_account(cli, e));
	listing_end(l, "no registries: all are asked without a password");
	return ERR_OK;
}

enum err_code cmd_registry_rm(struct cli *cli, const struct args *args, struct err *e)
{
	struct registry_remove_request request = {.registry = args->words[0]};
	struct registry_remove_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_registry_remove(catalog, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_named("registry", args->words[0], "removed", true);
	printf("%s removed\n", args->words[0]);
	return ERR_OK;
}
