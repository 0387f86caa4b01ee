#include "services/cli/commands.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"
#include "services/cli/table.h"
#include "services/cli/values.h"

#define PAGE 500

static void keep_page(struct cli *cli, struct store_verify_reply *sum, const struct store_verify_reply *page)
{
	sum->checked += page->checked;
	sum->bytes += page->bytes;
	sum->healed += page->healed;
	sum->unreachable += page->unreachable;
	if (!sum->unreachable_reason)
		sum->unreachable_reason = page->unreachable_reason;
	if (!page->damaged_count)
		return;
	sum->damaged =
	    talloc_realloc(cli->ctx, sum->damaged, struct damaged_chunk, sum->damaged_count + page->damaged_count);
	ASSERT(sum->damaged);
	for (size_t i = 0; i < page->damaged_count; i++)
		sum->damaged[sum->damaged_count++] = page->damaged[i];
}

static const char *affected(TALLOC_CTX *ctx, const struct damaged_chunk *d)
{
	if (d->spare)
		return "a spare copy";
	return d->objects.count ? show_texts(ctx, &d->objects) : "no object";
}

static void show(const struct store_verify_reply *sum)
{
	SCRATCH_CTX(ctx);

	printf("%lld chunks checked, %s, %zu damaged", (long long)sum->checked, show_bytes(ctx, sum->bytes),
	       sum->damaged_count);
	if (sum->healed)
		printf(", %lld of them healed", (long long)sum->healed);
	if (sum->unreachable)
		printf(", %lld more not reached", (long long)sum->unreachable);
	printf("\n");
	for (size_t i = 0; i < sum->damaged_count; i++) {
		const struct damaged_chunk *d = &sum->damaged[i];

		printf("%s: %s%s: %s\n", digest_text(&d->sha256).text, d->healed ? "healed: " : "",
		       text_clean(ctx, d->reason), text_clean(ctx, affected(ctx, d)));
	}
}

static enum err_code report(struct cli *cli, const struct store_verify_reply *sum, struct err *e)
{
	int64_t left = (int64_t)sum->damaged_count - sum->healed;

	cli->reached = true;
	if (cli->json)
		TRY(output_record(record_store_verify_reply(), sum, e));
	else
		show(sum);
	if (left > 0)
		return ERR(e, ERR_CORRUPT, "%lld damaged chunks", (long long)left);
	if (sum->unreachable)
		return ERR(e, ERR_UNAVAILABLE, "%lld chunks could not be reached: %s", (long long)sum->unreachable,
		           sum->unreachable_reason ? sum->unreachable_reason : "");
	return ERR_OK;
}

static enum err_code ask_pages(struct cli *cli, struct store_verify_request *request, struct progress *progress,
                               struct store_verify_reply *sum, struct err *e)
{
	struct store_verify_reply page = {.more = true};
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	while (page.more) {
		struct proto_call call = cli_call(cli);

		TRY(call_store_verify(gateway, &call, cli->ctx, request, &page, e));
		keep_page(cli, sum, &page);
		request->after = page.last;
		request->count = page.count_left;
		progress_show(progress, "%lld chunks checked", (long long)sum->checked);
	}
	return ERR_OK;
}

enum err_code cmd_store_verify(struct cli *cli, const struct args *args, struct err *e)
{
	const char *sample = args_text(args, "sample");
	struct store_verify_request request = {
	    .store = args->words[0],
	    .limit = PAGE,
	    .sample = sample ? value_percent(sample) : 0,
	    .count = args_number(args, "count", 0),
	    .heal = !args_flag(args, "no-heal"),
	};
	struct store_verify_reply sum = {0};
	struct progress progress;
	enum err_code code;

	if (request.sample && request.count)
		return cli_misuse(cli, e, "--sample and --count do not go together");
	if (args_flag(args, "heal") && !request.heal)
		return cli_misuse(cli, e, "--heal and --no-heal do not go together");
	progress_init(&progress, cli);
	code = ask_pages(cli, &request, &progress, &sum, e);
	progress_end(&progress);
	return code == ERR_OK ? report(cli, &sum, e) : code;
}
