#include "common/clock.h"
#include "services/cli/commands.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#include <unistd.h>

#define PAUSE_US 500000
#define PATIENCE_MS 60000 /* without any progress */

struct work {
	struct cli *cli;
	struct rpc_client *gateway;
	struct store_compact_request request;
	struct store_compact_reply sum;
	int64_t held_first, moved_ms; /* when there was progress */
	struct progress progress;
};

static void add(struct work *w, const struct store_compact_reply *r)
{
	struct store_compact_reply *sum = &w->sum;

	if (!w->request.since)
		w->held_first = r->held_bytes + r->freed_bytes;
	if (!w->request.since || r->moved_rows || r->dropped)
		w->moved_ms = clock_monotonic_ms();
	w->request.since = r->since;
	sum->since = r->since;
	sum->backends = r->backends;
	sum->held_bytes = r->held_bytes;
	sum->moved_rows += r->moved_rows;
	sum->moved_bytes += r->moved_bytes;
	sum->dropped += r->dropped;
	sum->freed_bytes += r->freed_bytes;
	sum->more = r->more;
	sum->waiting = r->waiting;
}

static enum err_code in_use(struct work *w, struct err *e)
{
	w->cli->reached = true;
	return ERR(e, ERR_UNAVAILABLE,
	           "a table of %s that should be emptied or dropped has been in use for a minute, by a backup or a long"
	           " transaction perhaps; what was begun goes on in the background",
	           w->request.store);
}

static enum err_code compact(struct work *w, struct err *e)
{
	do {
		SCRATCH_CTX(scratch);
		struct proto_call call = cli_call(w->cli);
		struct store_compact_reply reply;

		TRY(call_store_compact(w->gateway, &call, scratch, &w->request, &reply, e));
		add(w, &reply);
		progress_show(&w->progress, "%lld rows moved, %s given back%s", (long long)w->sum.moved_rows,
		              show_bytes(scratch, w->sum.freed_bytes), reply.waiting ? ", waiting" : "");
		if (reply.more && clock_monotonic_ms() - w->moved_ms > PATIENCE_MS)
			return in_use(w, e);
		if (reply.waiting)
			usleep(PAUSE_US);
	} while (w->sum.more);
	return ERR_OK;
}

enum err_code cmd_store_compact(struct cli *cli, const struct args *args, struct err *e)
{
	struct work w = {.cli = cli, .request = {.store = args->words[0], .below = args_number(args, "below", 0)}};
	enum err_code code;

	progress_init(&w.progress, cli);
	TRY(cli_gateway(cli, &w.gateway, e));
	code = compact(&w, e);
	progress_end(&w.progress);
	TRY(code);
	if (cli->json)
		return output_record(record_store_compact_reply(), &w.sum, e);
	if (!w.sum.backends)
		printf("nothing to do: the back ends of %s give space back as soon as chunks are removed\n",
		       w.request.store);
	else
		printf("%lld rows moved, %s; %lld tables dropped; the files hold %s\n", (long long)w.sum.moved_rows,
		       show_bytes(cli->ctx, w.sum.moved_bytes), (long long)w.sum.dropped,
		       show_bytes(cli->ctx, w.sum.held_bytes));
	return ERR_OK;
}
