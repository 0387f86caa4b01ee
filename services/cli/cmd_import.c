#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/import.h"
#include "services/cli/output.h"

static enum err_code begin_upload(struct cli *cli, const char **upload, struct err *e)
{
	const struct upload_begin_request request = {};
	struct upload_begin_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_upload_begin(catalog, &call, cli->ctx, &request, &reply, e));
	*upload = reply.upload;
	return ERR_OK;
}

static enum err_code hand_over(struct cli *cli, const struct import_plan *plan, const char *upload,
                               struct image_import_reply *reply, struct err *e)
{
	struct image_import_request request = {
	    .upload = upload, .digest = plan->digest, .tags = plan->tags, .force = args_flag(cli->args, "force")};
	struct proto_call call = cli_call(cli);
	struct rpc_client *catalog;
	const char **tags;
	size_t count = args_texts(cli->args, cli->ctx, "tag", &tags);

	if (count)
		request.tags = (struct proto_texts){tags, count};
	analysis_annotations(cli, cli->ctx, &request.annotations);
	call.payload = plan->manifest;
	call.payload_len = plan->manifest_len;
	TRY(cli_catalog(cli, &catalog, e));
	return call_image_import(catalog, &call, cli->ctx, &request, reply, e);
}

enum err_code cmd_image_import(struct cli *cli, const struct args *args, struct err *e)
{
	const struct import_wish wish = {args_text(args, "name"), args_text(args, "platform")};
	struct import_source *source;
	struct import_plan plan;
	struct image_import_reply reply;
	struct digest_text digest;
	const char *upload;

	TRY(import_source_open(cli->ctx, args->words[0], &source, e));
	if (import_plan_make(cli->ctx, source, &wish, &plan, e) != ERR_OK)
		return err_wrap(e, "%s", args->words[0]);
	TRY(begin_upload(cli, &upload, e));
	TRY(import_upload(cli, &plan, upload, e));
	TRY(import_manifest(cli->ctx, &plan, e));
	TRY(hand_over(cli, &plan, upload, &reply, e));
	digest = digest_text(&reply.digest);
	if (args_flag(args, "wait"))
		return analysis_follow(cli, digest.text, reply.job ? ANALYSIS_FRESH : ANALYSIS_KNOWN, e);
	if (cli->json)
		return output_record(record_image_import_reply(), &reply, e);
	printf("%s %s\n", digest.text, analysis_status_text(reply.status));
	return ERR_OK;
}
