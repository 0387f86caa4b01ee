#include "services/cli/commands.h"
#include "services/cli/output.h"
#include "services/cli/table.h"

static const char *pace(TALLOC_CTX *ctx, const struct store_scrub_reply *r)
{
	if (!r->rate)
		return "off";
	return talloc_asprintf(ctx, "%s a second, a pass at most every %s", show_bytes(ctx, r->rate),
	                       show_ms(ctx, r->interval_ms));
}

static const char *under_way(TALLOC_CTX *ctx, const struct store_scrub_reply *r)
{
	if (!r->passes_count || r->passes[0].finished_at)
		return NULL;
	return talloc_asprintf(ctx, "pass %lld, %lld chunks, %s to go", (long long)r->passes[0].pass,
	                       (long long)r->left_chunks, show_bytes(ctx, r->left_bytes));
}

static void show_passes(struct cli *cli, const struct store_scrub_reply *r)
{
	static const struct table_column columns[] = {{"PASS", .right = true},
	                                              {"STARTED"},
	                                              {"FINISHED"},
	                                              {"CHUNKS", .right = true},
	                                              {"BYTES", .right = true},
	                                              {"DAMAGED", .right = true},
	                                              {"HEALED", .right = true},
	                                              {"NOT REACHED", .right = true},
	                                              {NULL}};
	struct table *t = table_new(cli->ctx, columns);
	TALLOC_CTX *ctx = cli->ctx;

	for (size_t i = 0; i < r->passes_count; i++) {
		const struct scrub_item *p = &r->passes[i];

		table_row(t, show_number(ctx, p->pass), show_time(ctx, p->started_at), show_time(ctx, p->finished_at),
		          show_number(ctx, p->chunks), show_bytes(ctx, p->bytes), show_number(ctx, p->damaged),
		          show_number(ctx, p->healed), show_number(ctx, p->unreachable));
	}
	if (!table_rows(t))
		return;
	printf("\n");
	table_print(t, stdout, cli->width);
}

static void show_damaged(TALLOC_CTX *ctx, const struct store_scrub_reply *r)
{
	if (r->damaged_count)
		printf("\n");
	for (size_t i = 0; i < r->damaged_count; i++) {
		const struct marked_chunk *m = &r->damaged[i];
		const char *objects = m->objects.count ? show_texts(ctx, &m->objects) : "no object";

		printf("%s in %s: %s\n", digest_text(&m->sha256).text, text_clean(ctx, m->backend),
		       m->spare ? "a spare copy" : text_clean(ctx, objects));
	}
	if ((size_t)r->marked > r->damaged_count)
		printf("and %lld more\n", (long long)r->marked - (long long)r->damaged_count);
}

enum err_code cmd_store_scrub(struct cli *cli, const struct args *args, struct err *e)
{
	const struct store_scrub_request request = {.store = args->words[0], .limit = args_number(args, "limit", 0)};
	struct fields *f = fields_new(cli->ctx);
	struct proto_call call = cli_call(cli);
	struct store_scrub_reply reply;
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_store_scrub(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_store_scrub_reply(), &reply, e);
	fields_add(f, "reads back", pace(cli->ctx, &reply));
	fields_add(f, "under way", under_way(cli->ctx, &reply));
	fields_add(f, "at work", reply.worker);
	fields_add(f, "damaged chunks", show_number(cli->ctx, reply.marked));
	fields_print(f, stdout);
	show_passes(cli, &reply);
	show_damaged(cli->ctx, &reply);
	return ERR_OK;
}
