#include "services/cli/commands.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"
#include "services/cli/table.h"

#define BATCH 1000
#define FAILURES_KEPT 100

static void add_batch(TALLOC_CTX *ctx, struct store_rekey_reply *sum, const struct store_rekey_reply *batch)
{
	sum->key = talloc_strdup(ctx, batch->key);
	sum->checked += batch->checked;
	sum->rewritten += batch->rewritten;
	sum->bytes += batch->bytes;
	sum->failed += batch->failed;
	sum->last = batch->last;
	sum->left = batch->left;
	for (size_t i = 0; i < batch->failures_count && sum->failures_count < FAILURES_KEPT; i++)
		sum->failures[sum->failures_count++] =
		    (struct chunk_failure){batch->failures[i].sha256, talloc_strdup(ctx, batch->failures[i].reason)};
}

/* Every replica that is asked must encrypt with the key of the first one: else they undo each other's work. */
static enum err_code rekey_all(struct cli *cli, const char *store, struct store_rekey_reply *sum, struct err *e)
{
	struct store_rekey_reply batch = {.more = true};
	struct progress progress;
	struct rpc_client *gateway;

	sum->failures = talloc_zero_array(cli->ctx, struct chunk_failure, FAILURES_KEPT);
	ASSERT(sum->failures);
	TRY(cli_gateway(cli, &gateway, e));
	progress_init(&progress, cli);
	while (batch.more) {
		SCRATCH_CTX(scratch);
		const struct store_rekey_request request = {
		    .store = store, .after = sum->last, .limit = BATCH, .key = sum->key};
		struct proto_call call = cli_call(cli);
		enum err_code code = call_store_rekey(gateway, &call, scratch, &request, &batch, e);

		if (code != ERR_OK) {
			progress_end(&progress);
			return code;
		}
		add_batch(cli->ctx, sum, &batch);
		progress_show(&progress, "%lld chunks rewritten, %lld failed", (long long)sum->rewritten,
		              (long long)sum->failed);
	}
	progress_end(&progress);
	return ERR_OK;
}

static void show(struct cli *cli, const struct store_rekey_reply *r)
{
	printf("%lld chunks rewritten, %s, key: %s\n", (long long)r->rewritten, show_bytes(cli->ctx, r->bytes), r->key);
	for (size_t i = 0; i < r->failures_count; i++)
		printf("%s: %s\n", digest_text(&r->failures[i].sha256).text,
		       text_clean(cli->ctx, r->failures[i].reason));
}

enum err_code cmd_store_rekey(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_rekey_reply sum = {0};

	TRY(rekey_all(cli, args->words[0], &sum, e));
	if (cli->json)
		TRY(output_record(record_store_rekey_reply(), &sum, e));
	else
		show(cli, &sum);
	if (sum.failed)
		return ERR(e, ERR_PRECONDITION, "%lld chunks could not be rewritten; keep the keys that they name",
		           (long long)sum.failed);
	if (sum.left)
		return ERR(e, ERR_PRECONDITION, "%lld chunks were written with another key meanwhile: run it again",
		           (long long)sum.left);
	return ERR_OK;
}
