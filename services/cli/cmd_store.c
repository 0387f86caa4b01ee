#include "common/json.h"
#include "services/cli/commands.h"
#include "services/cli/json_writer.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#define GC_BATCH 1000

static enum err_code list_stores(struct cli *cli, struct store_list_reply *reply, struct err *e)
{
	struct rpc_client *gateway;
	struct proto_call call = cli_call(cli);
	const struct store_list_request request = {};

	TRY(cli_gateway(cli, &gateway, e));
	return call_store_list(gateway, &call, cli->ctx, &request, reply, e);
}

static const char *show_key(TALLOC_CTX *ctx, const char *id)
{
	return id ? talloc_asprintf(ctx, "key %s", id) : "not encrypted";
}

enum err_code cmd_store_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"STORE"},      {"DRIVER"},          {"COMPRESSION"},
	                                              {"ENCRYPTION"}, {"SHARES BACK END"}, {NULL}};
	struct store_list_reply reply;
	struct listing *l;

	(void)args;
	TRY(list_stores(cli, &reply, e));
	l = listing_new(cli, record_store_item(), columns);
	for (size_t i = 0; i < reply.stores_count; i++)
		TRY(listing_add(l, &reply.stores[i], e, reply.stores[i].store, reply.stores[i].driver,
		                show_flag(reply.stores[i].compression),
		                reply.stores[i].cipher_key ? show_key(cli->ctx, reply.stores[i].cipher_key) : "",
		                reply.stores[i].same_as_object_store ? "of object_store" : ""));
	listing_end(l, "no stores");
	return ERR_OK;
}

static enum err_code ask_stats(struct cli *cli, const char *store, struct store_stats_reply *reply, struct err *e)
{
	struct rpc_client *gateway;
	struct proto_call call = cli_call(cli);
	struct store_stats_request request = {.store = store};

	TRY(cli_gateway(cli, &gateway, e));
	return call_store_stats(gateway, &call, cli->ctx, &request, reply, e);
}

static void show_backends(struct fields *f, TALLOC_CTX *ctx, const struct store_stats_reply *r)
{
	for (size_t i = 0; i < r->backends_count; i++)
		fields_add(f,
		           talloc_asprintf(ctx, "in %s, %s, %s", r->backends[i].backend, r->backends[i].codec,
		                           show_key(ctx, r->backends[i].cipher_key)),
		           talloc_asprintf(ctx, "%lld chunks, %s", (long long)r->backends[i].chunks,
		                           show_bytes(ctx, r->backends[i].stored_bytes)));
}

static void show_table(struct cli *cli, struct table *t, int64_t more)
{
	if (!table_rows(t))
		return;
	printf("\n");
	table_print(t, stdout, cli->width);
	if (more)
		printf("and %lld more\n", (long long)more);
}

static void show_accounts(struct cli *cli, const struct store_stats_reply *r)
{
	static const struct table_column columns[] = {{"ACCOUNT"},
	                                              {"OBJECTS", .right = true},
	                                              {"BYTES", .right = true},
	                                              {"EQUAL ONCE", .right = true},
	                                              {"STORED", .right = true},
	                                              {NULL}};
	TALLOC_CTX *ctx = cli->ctx;
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < r->accounts_count; i++) {
		const struct account_usage *u = &r->accounts[i];

		table_row(t, u->account, show_number(ctx, u->objects), show_bytes(ctx, u->bytes),
		          show_bytes(ctx, u->chunk_bytes), show_bytes(ctx, u->stored_bytes));
	}
	show_table(cli, t, r->more_accounts);
}

static void show_buckets(struct cli *cli, const struct store_stats_reply *r)
{
	static const struct table_column columns[] = {{"ACCOUNT"},
	                                              {"BUCKET"},
	                                              {"OBJECTS", .right = true},
	                                              {"BYTES", .right = true},
	                                              {"EQUAL ONCE", .right = true},
	                                              {"STORED", .right = true},
	                                              {NULL}};
	TALLOC_CTX *ctx = cli->ctx;
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < r->buckets_count; i++) {
		const struct bucket_usage *u = &r->buckets[i];

		table_row(t, u->account, u->bucket, show_number(ctx, u->objects), show_bytes(ctx, u->bytes),
		          show_bytes(ctx, u->chunk_bytes), show_bytes(ctx, u->stored_bytes));
	}
	show_table(cli, t, r->more_buckets);
}

static void show_stats(struct cli *cli, const struct store_stats_reply *r)
{
	TALLOC_CTX *ctx = cli->ctx;
	struct fields *f = fields_new(ctx);

	fields_add(f, "objects", show_number(ctx, r->objects));
	fields_add(f, "what readers get", show_bytes(ctx, r->logical_bytes));
	fields_add(f, "chunks", show_number(ctx, r->chunks));
	fields_add(f, "equal content once", show_bytes(ctx, r->chunk_bytes));
	fields_add(f, "stored, compressed", show_bytes(ctx, r->stored_bytes));
	fields_add(f, "unowned chunks", show_number(ctx, r->unowned_chunks));
	show_backends(f, ctx, r);
	fields_print(f, stdout);
	show_accounts(cli, r);
	show_buckets(cli, r);
}

/* {"items": [{"store": ..., what store_stats says of it}]} */
static enum err_code all_stats_json(struct cli *cli, const struct store_list_reply *stores, struct err *e)
{
	struct json_writer *w = json_writer_new(cli->ctx, stdout);

	json_open_object(w, NULL);
	json_open_array(w, "items");
	for (size_t i = 0; i < stores->stores_count; i++) {
		CLEANUP(json_cleanup) cJSON *object = NULL;
		struct store_stats_reply reply;

		TRY(ask_stats(cli, stores->stores[i].store, &reply, e));
		TRY(proto_encode(record_store_stats_reply(), &reply, &object, e));
		ASSERT(cJSON_AddStringToObject(object, "store", stores->stores[i].store));
		json_add_value(w, NULL, object);
	}
	listing_close_json(w);
	return ERR_OK;
}

static enum err_code all_stats(struct cli *cli, struct err *e)
{
	struct store_list_reply stores;

	TRY(list_stores(cli, &stores, e));
	if (cli->json)
		return all_stats_json(cli, &stores, e);
	for (size_t i = 0; i < stores.stores_count; i++) {
		struct store_stats_reply reply;

		TRY(ask_stats(cli, stores.stores[i].store, &reply, e));
		printf("%s%s\n", i ? "\n" : "", stores.stores[i].store);
		show_stats(cli, &reply);
	}
	return ERR_OK;
}

enum err_code cmd_store_stats(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_stats_reply reply;

	if (!args->word_count)
		return all_stats(cli, e);
	TRY(ask_stats(cli, args->words[0], &reply, e));
	if (cli->json)
		return output_record(record_store_stats_reply(), &reply, e);
	show_stats(cli, &reply);
	return ERR_OK;
}

enum err_code cmd_store_gc(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_gc_request request = {.store = args->words[0],
	                                   .grace_ms = args_number(args, "grace", 0),
	                                   .no_grace = args_flag(args, "no-grace"),
	                                   .limit = GC_BATCH};
	struct store_gc_reply sum = {0}, batch = {.more = true};
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	while (batch.more) {
		SCRATCH_CTX(scratch);
		struct proto_call call = cli_call(cli);

		TRY(call_store_gc(gateway, &call, scratch, &request, &batch, e));
		sum.removed += batch.removed;
		sum.freed_bytes += batch.freed_bytes;
	}
	if (cli->json)
		return output_record(record_store_gc_reply(), &sum, e);
	printf("%lld chunks removed, %s freed\n", (long long)sum.removed, show_bytes(cli->ctx, sum.freed_bytes));
	return ERR_OK;
}
