#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/values.h"

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
	struct rpc_client *catalog;
	struct listing *l;

	TRY(cli_catalog(cli, &catalog, e));
	l = listing_new(cli, record_job_item(), columns);
	listing_pages(l, LISTING_ALL);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct job_list_reply page;
		struct proto_call call = cli_call(cli);
		const char *cursor = listing_cursor(l);

		request.before = cursor ? value_number(cursor) : 0;
		TRY(listing_asked(l, call_job_list(catalog, &call, scratch, &request, &page, e), e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct job_item *j = &page.items[i];

			cursor = show_number(scratch, j->job);
			TRY(listing_add(l, j, e, cursor, show_image_name(cli, scratch, &j->image),
			                job_state_text(j->state), show_number(scratch, j->attempts),
			                show_age(scratch, j->queued_at), j->worker, j->last_error));
		}
		TRY(listing_page(l, page.items_count, page.more, cursor, e));
	}
	listing_end(l, "no jobs");
	return ERR_OK;
}

enum err_code cmd_job_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_get_request request = {.job = value_number(args->words[0])};
	struct job_get_reply reply;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_get(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}

enum err_code cmd_job_cancel(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_cancel_request request = {.job = value_number(args->words[0])};
	struct job_cancel_reply reply;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_cancel(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}

enum err_code cmd_job_retry(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct job_retry_request request = {.job = value_number(args->words[0])};
	struct job_retry_reply reply;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_job_retry(catalog, &call, cli->ctx, &request, &reply, e));
	return report(cli, reply.item, e);
}
