#include "common/clock.h"
#include "services/cli/commands.h"
#include "services/cli/json_writer.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#include <unistd.h>

#define LOOK_MS 500
#define LOOK_MAX_MS 30000
#define LOOK_PAUSE 20 /* times as long as a look took: it counts what is left */

static const char *store_of(const struct args *args)
{
	return args->word_count ? args->words[0] : "object_store";
}

enum err_code cmd_store_backends(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"STORE"},
	                                              {"BACK END"},
	                                              {"NEW CHUNKS"},
	                                              {"CHUNKS", .right = true},
	                                              {"STORED", .right = true},
	                                              {"SPARE", .right = true},
	                                              {"UNFINISHED", .right = true},
	                                              {"WHERE", .elastic = true},
	                                              {NULL}};
	const struct store_backends_request request = {.store = args->word_count ? args->words[0] : NULL};
	struct store_backends_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;
	struct listing *l;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_store_backends(gateway, &call, cli->ctx, &request, &reply, e));
	l = listing_new(cli, record_backend_item(), columns);
	for (size_t i = 0; i < reply.items_count; i++) {
		const struct backend_item *b = &reply.items[i];

		TRY(listing_add(l, b, e, b->store, b->name, b->current ? "here" : "", show_number(cli->ctx, b->chunks),
		                show_bytes(cli->ctx, b->stored_bytes),
		                b->spare_chunks ? show_number(cli->ctx, b->spare_chunks) : "",
		                b->unfinished_chunks ? show_number(cli->ctx, b->unfinished_chunks) : "", b->identity));
	}
	listing_end(l, "no back ends");
	return ERR_OK;
}

/* ---- migrating ---- */

static enum err_code ask_status(struct cli *cli, TALLOC_CTX *ctx, const char *store,
                                struct store_migrate_status_reply *reply, struct err *e)
{
	const struct store_migrate_status_request request = {.store = store};
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	return call_store_migrate_status(gateway, &call, ctx, &request, reply, e);
}

static enum err_code outcome(const struct transfer_item *t, struct err *e)
{
	if (t->state != TRANSFER_FAILED)
		return ERR_OK;
	return ERR(e, ERR_PRECONDITION,
	           "migration from %s to %s failed: %lld chunks are left in %s, the last error was: %s", t->from, t->to,
	           (long long)t->left_chunks, t->from, t->last_error ? t->last_error : "none");
}

/* That somebody else stopped it is a failure of who waits for its end. */
static enum err_code outcome_of_wait(const struct transfer_item *t, struct err *e)
{
	if (t->state == TRANSFER_STOPPED)
		return ERR(e, ERR_CANCELLED, "migration from %s to %s was stopped: %lld chunks are left in %s", t->from,
		           t->to, (long long)t->left_chunks, t->from);
	return outcome(t, e);
}

static struct transfer_item keep(TALLOC_CTX *ctx, const char *store, const struct transfer_item *t)
{
	struct transfer_item kept = *t;

	kept.store = store;
	kept.from = talloc_strdup(ctx, t->from);
	kept.to = talloc_strdup(ctx, t->to);
	kept.last_error = t->last_error ? talloc_strdup(ctx, t->last_error) : NULL;
	return kept;
}

/* The transfer `id`; while it runs, after a pause that is long where looking takes long. */
static enum err_code look(struct cli *cli, const char *store, int64_t id, struct progress *progress,
                          struct transfer_item *t, struct err *e)
{
	SCRATCH_CTX(scratch);
	int64_t began = clock_monotonic_ms(), pause_ms;
	struct store_migrate_status_reply reply;

	TRY(ask_status(cli, scratch, store, &reply, e));
	if (reply.items_count == 0 || reply.items[0].id != id)
		return ERR(e, ERR_CONFLICT, "another migration of %s was started", store);
	if (reply.items[0].state != TRANSFER_RUNNING) {
		*t = keep(cli->ctx, store, &reply.items[0]);
		return ERR_OK;
	}
	t->state = TRANSFER_RUNNING;
	progress_show(progress, "%lld of %lld chunks moved, %lld left", (long long)reply.items[0].moved_chunks,
	              (long long)reply.items[0].chunks, (long long)reply.items[0].left_chunks);
	pause_ms = MIN(LOOK_PAUSE * (clock_monotonic_ms() - began), (int64_t)LOOK_MAX_MS);
	TRY(cli_wait_ms(cli, MAX(pause_ms, (int64_t)LOOK_MS), "the migration", &pause_ms, e));
	usleep((useconds_t)pause_ms * 1000);
	return ERR_OK;
}

/* Until the transfer `id` ended. */
static enum err_code wait_for(struct cli *cli, const char *store, int64_t id, struct transfer_item *last, struct err *e)
{
	enum err_code code;
	struct progress progress;

	progress_init(&progress, cli);
	do
		code = look(cli, store, id, &progress, last, e);
	while (code == ERR_OK && last->state == TRANSFER_RUNNING);
	progress_end(&progress);
	return code;
}

enum err_code cmd_store_migrate_start(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_migrate_start_request request = {
	    .store = store_of(args),
	    .from = args_text(args, "from"),
	    .to = args_text(args, "to"),
	    .rate = args_number(args, "rate", 0) * 1000000,
	    .keep_source = args_flag(args, "keep-source"),
	};
	struct store_migrate_start_reply reply;
	struct proto_call call = cli_call(cli);
	struct transfer_item last;
	struct rpc_client *gateway;

	if (!request.from || !request.to)
		return cli_misuse(cli, e, "--from and --to are the names of back ends; `store backends` lists them");
	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_store_migrate_start(gateway, &call, cli->ctx, &request, &reply, e));
	if (args_flag(args, "wait")) {
		TRY(wait_for(cli, request.store, reply.id, &last, e));
		if (cli->json)
			TRY(output_record(record_transfer_item(), &last, e));
		else
			printf("%s: %lld chunks moved, %s\n", transfer_state_text(last.state),
			       (long long)last.moved_chunks, show_bytes(cli->ctx, last.moved_bytes));
		return outcome_of_wait(&last, e);
	}
	if (cli->json)
		return output_record(record_store_migrate_start_reply(), &reply, e);
	printf("migration %lld runs; `store migrate status %s` tells how far it is\n", (long long)reply.id,
	       request.store);
	return ERR_OK;
}

static const char *pace(TALLOC_CTX *ctx, const struct transfer_item *t)
{
	return t->rate ? talloc_asprintf(ctx, "%s a second", show_bytes(ctx, t->rate)) : "as fast as it goes";
}

static void show_newest(struct cli *cli, const struct store_migrate_status_reply *r)
{
	const struct transfer_item *t = &r->items[0];
	TALLOC_CTX *ctx = cli->ctx;
	struct fields *f = fields_new(ctx);

	fields_add(f, "migration", show_number(ctx, t->id));
	fields_add(f, "state", transfer_state_text(t->state));
	fields_add(f, "from, to", talloc_asprintf(ctx, "%s, %s", t->from, t->to));
	fields_add(f, "pace", pace(ctx, t));
	fields_add(f, "copies in the source", t->keep_source ? "kept" : "removed");
	fields_add(f, "at the start",
	           talloc_asprintf(ctx, "%lld chunks, %s", (long long)t->chunks, show_bytes(ctx, t->bytes)));
	fields_add(
	    f, "moved",
	    talloc_asprintf(ctx, "%lld chunks, %s", (long long)t->moved_chunks, show_bytes(ctx, t->moved_bytes)));
	fields_add(f, "left in the source", show_number(ctx, t->left_chunks));
	fields_add(f, "failed", show_number(ctx, t->failed_chunks));
	fields_add(f, "started", show_time(ctx, t->started_at));
	if (t->ended_at)
		fields_add(f, "ended", show_time(ctx, t->ended_at));
	if (t->last_error)
		fields_add(f, "last error", text_clean(ctx, t->last_error));
	fields_print(f, stdout);
	for (size_t i = 0; i < r->failures_count; i++)
		printf("%s: %s\n", digest_text(&r->failures[i].sha256).text, text_clean(ctx, r->failures[i].reason));
}

static void show_earlier(struct cli *cli, const struct store_migrate_status_reply *r)
{
	static const struct table_column columns[] = {{"MIGRATION", .right = true}, {"STATE"},   {"FROM"}, {"TO"},
	                                              {"MOVED", .right = true},     {"STARTED"}, {NULL}};
	struct table *t = table_new(cli->ctx, columns);

	for (size_t i = 1; i < r->items_count; i++) {
		const struct transfer_item *item = &r->items[i];

		table_row(t, show_number(cli->ctx, item->id), transfer_state_text(item->state), item->from, item->to,
		          show_number(cli->ctx, item->moved_chunks), show_time(cli->ctx, item->started_at));
	}
	if (!table_rows(t))
		return;
	printf("\nearlier:\n");
	table_print(t, stdout, cli->width);
}

enum err_code cmd_store_migrate_status(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_migrate_status_reply reply;

	TRY(ask_status(cli, cli->ctx, store_of(args), &reply, e));
	if (cli->json) {
		TRY(output_record(record_store_migrate_status_reply(), &reply, e));
	} else if (reply.items_count == 0) {
		printf("%s was never migrated\n", store_of(args));
	} else {
		show_newest(cli, &reply);
		show_earlier(cli, &reply);
	}
	return reply.items_count ? outcome(&reply.items[0], e) : ERR_OK;
}

enum err_code cmd_store_migrate_stop(struct cli *cli, const struct args *args, struct err *e)
{
	const struct store_migrate_stop_request request = {.store = store_of(args)};
	struct store_migrate_stop_reply reply;
	struct proto_call call = cli_call(cli);
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_store_migrate_stop(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_store_migrate_stop_reply(), &reply, e);
	printf("%s\n",
	       reply.stopped ? "stopped; starting it again goes on with what is left" : "no migration was running");
	return ERR_OK;
}
