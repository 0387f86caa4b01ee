#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#include <stdlib.h>

#define PAGE 500

static enum err_code job_number(const char *text, int64_t *job, struct err *e)
{
	char *rest;

	errno = 0;
	*job = strtoll(text, &rest, 10);
	if (errno || rest == text || *rest || *job < 1)
		return ERR(e, ERR_INVALID, "\"%s\" is no number of a job", text);
	return ERR_OK;
}

static enum err_code report(struct cli *cli, const struct job_item *j, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct fields *f = fields_new(ctx);

	if (cli->json)
		return output_record(record_job_item(), j, e);
	fields_add(f, "job", show_number(ctx, j->job));
	fields_add(f, "image", digest_text(&j->image).text);
	fields_add(f, "state", job_state_text(j->state));
	fields_add(f, "stage", j->stage);
	fields_add(f, "account", j->account);
	fields_add(f, "worker", j->worker);
	fields_add(f, "attempts", show_number(ctx, j->attempts));
	fields_add(f, "deaths", j->deaths ? show_number(ctx, j->deaths) : "");
	fields_add(f, "priority", j->priority ? show_number(ctx, j->priority) : "");
	fields_add(f, "queued", show_time(ctx, j->queued_at));
	fields_add(f, "not before", j->state == JOB_QUEUED ? show_time(ctx, j->not_before) : "");
	fields_add(f, "lease until", j->state == JOB_LEASED ? show_time(ctx, j->lease_until) : "");
	fields_add(f, "last error", j->last_error);
	fields_print(f, stdout);
	return ERR_OK;
}

enum err_code cmd_job_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"JOB", .right = true},          {"IMAGE"},  {"STATE"},
	    {"ATTEMPTS", .right = true},     {"QUEUED"}, {"WORKER", .elastic = true},
	    {"LAST ERROR", .elastic = true}, {NULL}};
	struct job_list_request request = {.state = job_state_value(args_text(args, "state"))};
	int64_t left = args_number(args, "limit", INT64_MAX);
	struct job_list_reply page = {.more = true};
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_job_item(), columns);
	while (page.more && left > 0) {
		SCRATCH_CTX(scratch);
		struct proto_call call = cli_call(cli);

		request.limit = MIN(left, PAGE);
		TRY(call_job_list(catalog, &call, scratch, &request, &page, e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct job_item *j = &page.items[i];

			TRY(listing_add(l, j, e, show_number(scratch, j->job), show_short(scratch, &j->image),
			                job_state_text(j->state), show_number(scratch, j->attempts),
			                show_age(scratch, j->queued_at), j->worker, j->last_error));
			request.before = j->job;
		}
		left -= (int64_t)page.items_count;
		if (!page.items_count)
			break;
	}
	listing_end(l, "no jobs");
	return ERR_OK;
}

enum err_code cmd_job_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_get_request request = {0};
	struct job_get_reply reply;

	TRY(job_number(args->words[0], &request.job, e));
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_get(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}

enum err_code cmd_job_cancel(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_cancel_request request = {0};
	struct job_cancel_reply reply;

	TRY(job_number(args->words[0], &request.job, e));
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_cancel(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}

enum err_code cmd_job_retry(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_retry_request request = {0};
	struct job_retry_reply reply;

	TRY(job_number(args->words[0], &request.job, e));
	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_retry(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}
