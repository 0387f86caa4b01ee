#include "common/json.h"
#include "services/cli/commands.h"
#include "services/cli/json_writer.h"
#include "services/cli/last_errors.h"
#include "services/cli/output.h"
#include "services/cli/table.h"

#include <string.h>

#define ASK_MS 1500    /* one replica */
#define ERRORS_SHOWN 3 /* of each replica, equal ones counted as one */

static const char *const kinds[] = {"catalog", "gateway", "archive"};

/* What one replica said, or why it did not. */
struct replica {
	const char *kind, *endpoint;
	bool reached;
	struct service_status_reply status;
	struct err failure;
};

struct overview {
	struct replica *replicas;
	size_t count, reached;
	bool has_queue;
	struct queue_stats_reply queue;
	struct store_list_reply stores;
};

static enum err_code ask_replica(struct cli *cli, struct replica *r, struct err *e)
{
	const struct service_status_request request = {};
	int64_t left_ms = cli_call(cli).deadline_ms;
	struct proto_call call = {.deadline_ms = left_ms ? MIN(left_ms, ASK_MS) : ASK_MS};
	struct rpc_client *client;

	TRY(cli_single(cli, cli->ctx, r->kind, r->endpoint, &client, e));
	TRY(call_service_status(client, &call, cli->ctx, &request, &r->status, e));
	r->reached = true;
	return ERR_OK;
}

static enum err_code ask_kind(struct cli *cli, const char *kind, struct overview *o, struct err *e)
{
	struct cli_endpoints at;

	TRY(cli_endpoints(cli, kind, &at, e));
	for (size_t i = 0; i < at.count; i++) {
		struct replica r = {.kind = kind, .endpoint = at.items[i]};

		if (ask_replica(cli, &r, &r.failure) == ERR_OK)
			o->reached++;
		o->replicas = talloc_realloc(cli->ctx, o->replicas, struct replica, o->count + 1);
		ASSERT(o->replicas);
		o->replicas[o->count++] = r;
	}
	return ERR_OK;
}

static bool is_reached(const struct overview *o, const char *kind)
{
	for (size_t i = 0; i < o->count; i++)
		if (o->replicas[i].reached && strcmp(o->replicas[i].kind, kind) == 0)
			return true;
	return false;
}

/* The queue and the stores, where there is somebody to ask; a failure shows in the replicas. */
static void ask_details(struct cli *cli, struct overview *o)
{
	const struct queue_stats_request queue = {};
	const struct store_list_request stores = {};
	struct proto_call call = {.account = cli->account, .deadline_ms = ASK_MS};
	struct rpc_client *client;

	o->has_queue = is_reached(o, "catalog") && cli_catalog(cli, &client, NULL) == ERR_OK &&
	               call_queue_stats(client, &call, cli->ctx, &queue, &o->queue, NULL) == ERR_OK;
	if (!is_reached(o, "gateway") || cli_gateway(cli, &client, NULL) != ERR_OK ||
	    call_store_list(client, &call, cli->ctx, &stores, &o->stores, NULL) != ERR_OK)
		o->stores = (struct store_list_reply){0};
}

static enum err_code add_record(struct json_writer *w, const char *name, const struct proto_record *record,
                                const void *from, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;

	TRY(proto_encode(record, from, &object, e));
	json_add_value(w, name, object);
	return ERR_OK;
}

static enum err_code print_replica(struct json_writer *w, const struct replica *r, struct err *e)
{
	json_open_object(w, NULL);
	json_add_text(w, "kind", r->kind);
	json_add_text(w, "endpoint", r->endpoint);
	json_add_flag(w, "reached", r->reached);
	if (r->reached)
		TRY(add_record(w, "status", record_service_status_reply(), &r->status, e));
	else
		json_add_text(w, "error", r->failure.text);
	json_close(w);
	return ERR_OK;
}

static enum err_code print_json(struct cli *cli, const struct overview *o, struct err *e)
{
	struct json_writer *w = json_writer_new(cli->ctx, stdout);

	json_open_object(w, NULL);
	json_open_array(w, "services");
	for (size_t i = 0; i < o->count; i++)
		TRY(print_replica(w, &o->replicas[i], e));
	json_close(w);
	if (o->has_queue)
		TRY(add_record(w, "queue", record_queue_stats_reply(), &o->queue, e));
	json_open_array(w, "stores");
	for (size_t i = 0; i < o->stores.stores_count; i++)
		TRY(add_record(w, NULL, record_store_item(), &o->stores.stores[i], e));
	json_close(w);
	json_close(w);
	return ERR_OK;
}

static void show_replicas(struct cli *cli, const struct overview *o)
{
	static const struct table_column columns[] = {{"SERVICE"},
	                                              {"VERSION"},
	                                              {"HOST"},
	                                              {"PID", .right = true},
	                                              {"UP", .right = true},
	                                              {"ENDPOINT", .elastic = true},
	                                              {NULL}};
	TALLOC_CTX *ctx = cli->ctx;
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < o->count; i++) {
		const struct replica *r = &o->replicas[i];

		if (r->reached)
			table_row(t, r->status.service, r->status.version, r->status.host,
			          show_number(ctx, r->status.pid), show_ms(ctx, r->status.uptime_ms), r->endpoint);
		else
			table_row(t, r->kind, "not reached", "", "", "", r->endpoint);
	}
	table_print(t, stdout, cli->width);
}

static void show_details(struct cli *cli, const struct overview *o)
{
	TALLOC_CTX *ctx = cli->ctx;
	const struct queue_stats_reply *q = &o->queue;
	struct fields *f = fields_new(ctx);

	for (size_t i = 0; i < o->stores.stores_count; i++) {
		const struct store_item *s = &o->stores.stores[i];

		fields_add(f, s->store,
		           talloc_asprintf(ctx, "driver %s%s%s", s->driver, s->compression ? ", compressed" : "",
		                           s->same_as_object_store ? ", the back end of object_store" : ""));
	}
	if (o->has_queue) {
		fields_add(f, "images", show_number(ctx, q->images));
		fields_add(f, "queue",
		           talloc_asprintf(ctx, "%lld waiting, %lld running, %lld failed, %lld quarantined%s%s",
		                           (long long)q->queued, (long long)q->leased, (long long)q->failed,
		                           (long long)q->quarantined, q->oldest_ms ? "; oldest waits " : "",
		                           q->oldest_ms ? show_ms(ctx, q->oldest_ms) : ""));
		if (!q->workers_count)
			fields_add(f, "workers", "none heard of lately");
	}
	fields_print(f, stdout);
}

static void show_workers(struct cli *cli, const struct queue_stats_reply *q)
{
	static const struct table_column columns[] = {
	    {"WORKER", .elastic = true}, {"STATE"}, {"JOBS", .right = true}, {"SEEN", .right = true}, {NULL}};
	TALLOC_CTX *ctx = cli->ctx;
	struct table *t = table_new(ctx, columns);

	for (size_t i = 0; i < q->workers_count; i++) {
		const struct worker_item *w = &q->workers[i];

		table_row(t, w->worker, w->alive ? "alive" : "gone", show_number(ctx, w->jobs),
		          talloc_asprintf(ctx, "%s ago", show_ms(ctx, w->seen_ms)));
	}
	printf("\n");
	table_print(t, stdout, cli->width);
}

static void show_errors(const struct overview *o)
{
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < o->count; i++) {
		const struct replica *r = &o->replicas[i];
		struct last_error errors[ERRORS_SHOWN];
		size_t count;

		if (!r->reached)
			printf("%s at %s: %s\n", r->kind, r->endpoint, text_clean(ctx, r->failure.text));
		count = last_errors_collapse(r->status.last_errors.items, r->status.last_errors.count, errors,
		                             ERRORS_SHOWN);
		for (size_t k = 0; k < count; k++)
			printf("%s%s\n", text_clean(ctx, errors[k].line),
			       errors[k].count > 1 ? talloc_asprintf(ctx, " (%zu times in all)", errors[k].count) : "");
	}
}

enum err_code cmd_status(struct cli *cli, const struct args *args, struct err *e)
{
	struct overview o = {0};

	(void)args;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		TRY(ask_kind(cli, kinds[i], &o, e));
	if (!o.count)
		return cli_misuse(cli, e, "no endpoints are configured");
	if (!o.reached)
		return ERR(e, ERR_UNAVAILABLE, "%s", o.replicas[0].failure.text);
	cli->reached = true;
	ask_details(cli, &o);
	if (cli->json) {
		TRY(print_json(cli, &o, e));
	} else {
		show_replicas(cli, &o);
		printf("\n");
		show_details(cli, &o);
		if (o.queue.workers_count)
			show_workers(cli, &o.queue);
		show_errors(&o);
	}
	if (o.reached < o.count)
		return ERR(e, ERR_UNAVAILABLE, "%zu of %zu replicas did not answer", o.count - o.reached, o.count);
	return ERR_OK;
}
