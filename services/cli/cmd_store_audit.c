#include "common/json.h"
#include "services/cli/commands.h"
#include "services/cli/json_writer.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#include <string.h>

struct audit {
	struct cli *cli;
	const struct args *args;
	struct rpc_client *gateway;
	struct progress progress;
	struct json_writer *w; /* NULL: for people */
	int64_t left;          /* on one side only, and neither removed nor healed */
	struct err failure;    /* of the first back end that could not be audited */
};

/* ---- one back end ---- */

static void keep_page(struct audit *a, struct store_audit_reply *sum, const struct store_audit_reply *page)
{
	TALLOC_CTX *ctx = a->cli->ctx;

	sum->listed += page->listed;
	sum->rows += page->rows;
	sum->orphans =
	    talloc_realloc(ctx, sum->orphans, struct audit_orphan, sum->orphans_count + page->orphans_count + 1);
	sum->missing =
	    talloc_realloc(ctx, sum->missing, struct audit_missing, sum->missing_count + page->missing_count + 1);
	ASSERT(sum->orphans && sum->missing);
	for (size_t i = 0; i < page->orphans_count; i++)
		sum->orphans[sum->orphans_count++] = page->orphans[i];
	for (size_t i = 0; i < page->missing_count; i++)
		sum->missing[sum->missing_count++] = page->missing[i];
}

static enum err_code ask_pages(struct audit *a, const char *backend, struct store_audit_reply *sum, struct err *e)
{
	struct store_audit_request request = {
	    .store = a->args->words[0],
	    .backend = backend,
	    .remove_orphans = args_flag(a->args, "remove-orphans"),
	    .mark_missing = args_flag(a->args, "mark-missing"),
	};
	struct store_audit_reply page = {.more = true};

	while (page.more) {
		struct proto_call call = cli_call(a->cli);

		TRY(call_store_audit(a->gateway, &call, a->cli->ctx, &request, &page, e));
		keep_page(a, sum, &page);
		request.after = page.last;
		progress_show(&a->progress, "%s: %lld chunks listed, %lld rows", backend, (long long)sum->listed,
		              (long long)sum->rows);
	}
	return ERR_OK;
}

static void show_orphans(TALLOC_CTX *ctx, const char *backend, const struct store_audit_reply *r)
{
	for (size_t i = 0; i < r->orphans_count; i++)
		printf("%s: number %lld, %s: no row%s\n", text_clean(ctx, backend), (long long)r->orphans[i].number,
		       digest_text(&r->orphans[i].sha256).text,
		       r->orphans[i].removed ? "; removed"
		       : r->orphans[i].taken ? " but one of other content; not to be removed"
		                             : "");
}

static void show_missing(TALLOC_CTX *ctx, const char *backend, const struct store_audit_reply *r)
{
	for (size_t i = 0; i < r->missing_count; i++) {
		const struct audit_missing *m = &r->missing[i];
		const char *objects = m->objects.count ? show_texts(ctx, &m->objects) : "no object";

		printf("%s: number %lld, %s: not there%s: %s\n", text_clean(ctx, backend), (long long)m->number,
		       digest_text(&m->sha256).text, m->healed ? "; healed" : "",
		       m->spare ? "a spare copy" : text_clean(ctx, objects));
	}
}

/* What the audit did not put right. */
static int64_t count_left(const struct store_audit_reply *r, int64_t *removed, int64_t *healed)
{
	*removed = *healed = 0;
	for (size_t i = 0; i < r->orphans_count; i++)
		*removed += r->orphans[i].removed;
	for (size_t i = 0; i < r->missing_count; i++)
		*healed += r->missing[i].healed;
	return (int64_t)(r->orphans_count + r->missing_count) - *removed - *healed;
}

static enum err_code tell_json(struct audit *a, const char *backend, const struct store_audit_reply *r,
                               const struct err *why, bool switched_off, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;

	TRY(proto_encode(record_store_audit_reply(), r, &object, e));
	ASSERT(cJSON_AddStringToObject(object, "backend", backend));
	if (why)
		ASSERT(cJSON_AddStringToObject(object, "error", why->text));
	if (switched_off)
		ASSERT(cJSON_AddTrueToObject(object, "switched_off"));
	json_add_value(a->w, NULL, object);
	return ERR_OK;
}

static void tell_people(const char *backend, const struct store_audit_reply *r, int64_t removed, int64_t healed,
                        const struct err *why)
{
	SCRATCH_CTX(ctx);

	show_orphans(ctx, backend, r);
	show_missing(ctx, backend, r);
	printf("%s: %lld chunks listed, %lld rows, %zu without a row", text_clean(ctx, backend), (long long)r->listed,
	       (long long)r->rows, r->orphans_count);
	if (removed)
		printf(" (%lld removed)", (long long)removed);
	printf(", %zu not there", r->missing_count);
	if (healed)
		printf(" (%lld healed)", (long long)healed);
	printf("\n");
	if (why)
		printf("%s: not audited to the end: %s\n", text_clean(ctx, backend), text_clean(ctx, why->text));
}

/* Of the past, empty, and away: what was migrated out of may go. */
static bool is_switched_off(const struct audit *a, const struct backend_item *b, enum err_code code)
{
	return code == ERR_UNAVAILABLE && !b->current && !args_text(a->args, "backend") && b->chunks == 0 &&
	       b->spare_chunks == 0 && b->unfinished_chunks == 0;
}

/* One that is away is no reason not to look at the others. */
static enum err_code audit_one(struct audit *a, const struct backend_item *b, struct err *e)
{
	struct store_audit_reply sum = {0};
	struct err why;
	enum err_code code = ask_pages(a, b->name, &sum, &why);
	bool switched_off = is_switched_off(a, b, code);
	int64_t removed, healed;

	progress_end(&a->progress);
	if (code != ERR_OK && !switched_off && a->failure.code == ERR_OK)
		a->failure = why;
	a->left += count_left(&sum, &removed, &healed);
	if (a->w)
		return tell_json(a, b->name, &sum, code == ERR_OK ? NULL : &why, switched_off, e);
	if (switched_off)
		printf("%s: nothing of the store is in it, and it is away: %s\n", text_clean(a->cli->ctx, b->name),
		       text_clean(a->cli->ctx, why.text));
	else
		tell_people(b->name, &sum, removed, healed, code == ERR_OK ? NULL : &why);
	return ERR_OK;
}

/* ---- all of a store ---- */

static enum err_code audit_all(struct audit *a, const struct store_backends_reply *backends, struct err *e)
{
	const char *only = args_text(a->args, "backend");
	enum err_code code = ERR_OK;

	if (a->cli->json) {
		a->w = json_writer_new(a->cli->ctx, stdout);
		json_open_object(a->w, NULL);
		json_open_array(a->w, "items");
	}
	for (size_t i = 0; i < backends->items_count && code == ERR_OK; i++)
		if (!only || strcmp(only, backends->items[i].name) == 0)
			code = audit_one(a, &backends->items[i], e);
	if (a->w)
		listing_close_json(a->w);
	return code;
}

static enum err_code check_name(const struct store_backends_reply *backends, const char *store, const char *name,
                                struct err *e)
{
	for (size_t i = 0; i < backends->items_count; i++)
		if (!name || strcmp(name, backends->items[i].name) == 0)
			return ERR_OK;
	return ERR(e, ERR_NOT_FOUND, "%s has no back end \"%s\"; `store backends` lists them", store, name ? name : "");
}

enum err_code cmd_store_audit(struct cli *cli, const struct args *args, struct err *e)
{
	const struct store_backends_request request = {.store = args->words[0]};
	struct audit a = {.cli = cli, .args = args};
	struct proto_call call = cli_call(cli);
	struct store_backends_reply backends;

	progress_init(&a.progress, cli);
	TRY(cli_gateway(cli, &a.gateway, e));
	TRY(call_store_backends(a.gateway, &call, cli->ctx, &request, &backends, e));
	cli->reached = true;
	TRY(check_name(&backends, request.store, args_text(args, "backend"), e));
	TRY(audit_all(&a, &backends, e));
	if (a.failure.code != ERR_OK) {
		*e = a.failure;
		return e->code;
	}
	if (a.left)
		return ERR(e, ERR_CORRUPT, "%lld chunks are on one side only", (long long)a.left);
	return ERR_OK;
}
