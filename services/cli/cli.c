#include "services/cli/cli.h"

#include "common/clock.h"
#include "common/config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/stowage/stowage.yaml"
#define DEFAULT_ACCOUNT "default"
#define CONNECT_MS 5000
#define ANSWER_MS                                                                                                      \
	10000 /* for a service that is there to show that it answers us: a busy machine is no other secret             \
	       */
#define REPLY_RESERVE_MS 200

struct cli_settings {
	const char *cluster_secret, *cluster_secret_previous;
	struct config_list catalog, gateway, archive;
	const struct config_node *database, *log; /* of the services */
};

static const struct config_option options[] = {
    {.path = "cluster_secret",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct cli_settings, cluster_secret),
     .required = true,
     .secret = true,
     .help = "the secret that all processes of the installation share"},
    {.path = "cluster_secret_previous",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct cli_settings, cluster_secret_previous),
     .secret = true,
     .help = "also accepted, while the secret is changed"},
    {.path = "endpoints.catalog",
     .type = CONFIG_LIST,
     .offset = offsetof(struct cli_settings, catalog),
     .help = "where the catalog's replicas listen"},
    {.path = "endpoints.gateway",
     .type = CONFIG_LIST,
     .offset = offsetof(struct cli_settings, gateway),
     .help = "where the object store gateway's replicas listen"},
    {.path = "endpoints.archive",
     .type = CONFIG_LIST,
     .offset = offsetof(struct cli_settings, archive),
     .help = "where the archive manager's replicas listen"},
    {.path = "database",
     .type = CONFIG_TREE,
     .offset = offsetof(struct cli_settings, database),
     .help = "of the services"},
    {.path = "log", .type = CONFIG_TREE, .offset = offsetof(struct cli_settings, log), .help = "of the services"},
    CONFIG_END,
};

static size_t terminal_width(void)
{
	struct winsize size;

	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void cli_init(struct cli *cli, TALLOC_CTX *ctx, const struct args *args)
{
	const char *account = args_text(args, "account");
	int64_t timeout_ms = args_number(args, "timeout", 0);

	*cli = (struct cli){
	    .ctx = ctx,
	    .args = args,
	    .account = account ? account : DEFAULT_ACCOUNT,
	    .json = args_flag(args, "json"),
	    .progress = args_flag(args, "progress") || isatty(STDERR_FILENO),
	    .started_ms = clock_monotonic_ms(),
	    .width = terminal_width(),
	};
	cli->deadline_ms = timeout_ms ? cli->started_ms + timeout_ms : 0;
}

enum err_code cli_misuse(struct cli *cli, struct err *e, const char *fmt, ...)
{
	char text[sizeof(e->text)];
	va_list list;

	va_start(list, fmt);
	vsnprintf(text, sizeof(text), fmt, list);
	va_end(list);
	cli->misused = true;
	return ERR(e, ERR_INVALID, "%s", text);
}

static enum err_code load_settings(struct cli *cli, struct err *e)
{
	const char **files, *file = getenv("STOWAGE_CONFIG");
	size_t count = args_texts(cli->args, cli->ctx, "config", &files);
	enum err_code code;

	if (cli->settings)
		return ERR_OK;
	if (!file || !*file)
		file = DEFAULT_CONFIG;
	if (!count)
		files = &file;
	cli->settings = talloc_zero(cli->ctx, struct cli_settings);
	ASSERT(cli->settings);
	code = config_load(cli->ctx, files, MAX(count, (size_t)1), options, cli->settings, e);
	cli->misused = code != ERR_OK;
	return code;
}

static enum err_code new_client(struct cli *cli, TALLOC_CTX *ctx, const char *name, const char *const *endpoints,
                                size_t count, struct rpc_client **client, struct err *e)
{
	const struct cli_settings *s = cli->settings;
	int64_t left_ms = cli->deadline_ms ? cli->deadline_ms - clock_monotonic_ms() : CONNECT_MS;

	enum err_code code;

	if (!count)
		return cli_misuse(cli, e, "endpoints.%s is not configured", name);
	code = rpc_client_new(ctx,
	                      &(struct rpc_client_options){
				  .name = name,
				  .endpoints = endpoints,
				  .endpoint_count = count,
				  .secret = {s->cluster_secret, s->cluster_secret_previous},
				  .principal = "stowage",
				  .connect_wait_ms = MAX(MIN(left_ms, CONNECT_MS), 1),
			      },
	                      client, e);
	cli->misused = code == ERR_INVALID; /* a secret that is too short */
	return code;
}

/* Whatever it answers, it answers. */
static enum err_code greet(struct cli *cli, struct rpc_client *client, struct err *e)
{
	SCRATCH_CTX(scratch);
	const struct service_status_request request = {};
	struct service_status_reply reply;
	struct proto_call call = cli_call(cli);
	struct err failure = {0};

	call.deadline_ms = call.deadline_ms ? MIN(call.deadline_ms, ANSWER_MS) : ANSWER_MS;
	if (call_service_status(client, &call, scratch, &request, &reply, &failure) == ERR_OK ||
	    strcmp(failure.file, "peer") == 0)
		return ERR_OK;
	if (failure.code == ERR_DEADLINE)
		return ERR(e, ERR_UNAVAILABLE, "%s", failure.text);
	if (e)
		*e = failure;
	return failure.code;
}

static enum err_code connect_to(struct cli *cli, struct rpc_client **slot, const char *which,
                                struct rpc_client **client, struct err *e)
{
	struct cli_endpoints at;

	if (!*slot) {
		TRY(cli_endpoints(cli, which, &at, e));
		TRY(new_client(cli, cli->ctx, which, at.items, at.count, client, e));
		TRY(greet(cli, *client, e));
		*slot = *client;
	}
	*client = *slot;
	return ERR_OK;
}

enum err_code cli_catalog(struct cli *cli, struct rpc_client **client, struct err *e)
{
	return connect_to(cli, &cli->catalog, "catalog", client, e);
}

enum err_code cli_gateway(struct cli *cli, struct rpc_client **client, struct err *e)
{
	return connect_to(cli, &cli->gateway, "gateway", client, e);
}

enum err_code cli_archive(struct cli *cli, struct rpc_client **client, struct err *e)
{
	return connect_to(cli, &cli->archive, "archive", client, e);
}

enum err_code cli_single(struct cli *cli, TALLOC_CTX *ctx, const char *name, const char *endpoint,
                         struct rpc_client **client, struct err *e)
{
	TRY(load_settings(cli, e));
	return new_client(cli, ctx, name, &endpoint, 1, client, e);
}

enum err_code cli_endpoints(struct cli *cli, const char *which, struct cli_endpoints *endpoints, struct err *e)
{
	const struct config_list *list;

	TRY(load_settings(cli, e));
	list = strcmp(which, "catalog") == 0   ? &cli->settings->catalog
	       : strcmp(which, "gateway") == 0 ? &cli->settings->gateway
	                                       : &cli->settings->archive;
	*endpoints = (struct cli_endpoints){list->items, list->count};
	return ERR_OK;
}

struct proto_call cli_call(const struct cli *cli)
{
	struct proto_call call = {.account = cli->account};

	if (cli->deadline_ms)
		call.deadline_ms = MAX(cli->deadline_ms - clock_monotonic_ms(), 1);
	return call;
}

enum err_code cli_wait_ms(const struct cli *cli, int64_t most_ms, const char *what, int64_t *wait_ms, struct err *e)
{
	int64_t left_ms = cli->deadline_ms ? cli->deadline_ms - clock_monotonic_ms() : INT64_MAX;

	if (left_ms <= REPLY_RESERVE_MS)
		return ERR(e, ERR_DEADLINE, "%s is not done yet; it goes on without this command", what);
	*wait_ms = MIN(most_ms, left_ms - REPLY_RESERVE_MS);
	return ERR_OK;
}

enum err_code cli_check_time(const struct cli *cli, const char *what, struct err *e)
{
	if (cli->deadline_ms && clock_monotonic_ms() >= cli->deadline_ms)
		return ERR(e, ERR_DEADLINE, "%s is not done yet", what);
	return ERR_OK;
}

enum err_code cli_check_account(struct cli *cli, struct err *e)
{
	SCRATCH_CTX(scratch);
	const struct image_list_request request = {.limit = 1};
	struct image_list_reply reply;
	struct proto_call call;
	struct rpc_client *catalog = NULL;
	struct err failure = {0};

	if (strcmp(cli->account, DEFAULT_ACCOUNT) == 0 || cli_catalog(cli, &catalog, &failure) != ERR_OK)
		return ERR_OK;
	call = cli_call(cli);
	if (call_image_list(catalog, &call, scratch, &request, &reply, &failure) != ERR_NOT_FOUND)
		return ERR_OK;
	*e = failure;
	return failure.code;
}

int64_t cli_elapsed_ms(const struct cli *cli)
{
	return clock_monotonic_ms() - cli->started_ms;
}
