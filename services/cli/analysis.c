#include "services/cli/analysis.h"

#include "services/cli/output.h"
#include "services/cli/progress.h"
#include "services/cli/table.h"

#include <string.h>

#define WAIT_MS 20000
#define WAIT_SHOWN_MS 500 /* while somebody looks at the progress */
#define REASON_HEAD 32

enum err_code analysis_reason(const char *image, const char *reason, struct err *e)
{
	char head[REASON_HEAD];
	size_t len = reason ? strcspn(reason, ":") : 0;
	enum err_code code;

	if (len && len < sizeof(head) && reason[len]) {
		memcpy(head, reason, len);
		head[len] = '\0';
		if (err_from_name(head, &code))
			return ERR(e, code, "image %s: %s", image, reason + len + 1 + (reason[len + 1] == ' '));
	}
	return ERR(e, ERR_INTERNAL, "image %s: %s", image, reason && *reason ? reason : "no reason was given");
}

static void show_stage(struct progress *p, const struct image_wait_reply *r)
{
	SCRATCH_CTX(scratch);
	const char *stage = r->stage && *r->stage ? r->stage : analysis_status_text(r->status);

	if (r->bytes_total)
		progress_show(p, "%s: layers %lld of %lld, %s of %s", stage, (long long)r->layers_done,
		              (long long)r->layers_total, show_bytes(scratch, r->bytes_done),
		              show_bytes(scratch, r->bytes_total));
	else if (r->layers_total)
		progress_show(p, "%s: layers %lld of %lld", stage, (long long)r->layers_done,
		              (long long)r->layers_total);
	else
		progress_show(p, "%s", stage);
}

static enum err_code ask(struct cli *cli, TALLOC_CTX *ctx, const char *image, struct image_wait_reply *reply,
                         struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call;
	struct image_wait_request request = {.image = image};

	TRY(cli_catalog(cli, &catalog, e));
	TRY(cli_wait_ms(cli, cli->progress ? WAIT_SHOWN_MS : WAIT_MS, "the analysis", &request.wait_ms, e));
	call = cli_call(cli);
	return call_image_wait(catalog, &call, ctx, &request, reply, e);
}

static enum err_code wait_for_end(struct cli *cli, const char *image, struct err *e)
{
	struct progress progress;

	progress_init(&progress, cli);
	for (;;) {
		SCRATCH_CTX(scratch);
		struct image_wait_reply reply;
		enum err_code code = ask(cli, scratch, image, &reply, e);

		if (code != ERR_OK || reply.status == ANALYSIS_ANALYSED || reply.status == ANALYSIS_FAILED)
			progress_end(&progress);
		TRY(code);
		if (reply.status == ANALYSIS_ANALYSED)
			return ERR_OK;
		if (reply.status == ANALYSIS_FAILED)
			return analysis_reason(image, reply.reason, e);
		show_stage(&progress, &reply);
	}
}

enum err_code analysis_get(struct cli *cli, TALLOC_CTX *ctx, const char *image, struct image_detail **detail,
                           struct err *e)
{
	struct rpc_client *catalog;
	struct proto_call call = cli_call(cli);
	struct image_get_request request = {.image = image};
	struct image_get_reply reply;

	TRY(cli_catalog(cli, &catalog, e));
	TRY(call_image_get(catalog, &call, ctx, &request, &reply, e));
	*detail = reply.image;
	return ERR_OK;
}

static char *packages_text(TALLOC_CTX *ctx, const struct image_detail *image)
{
	char *text = talloc_asprintf(ctx, "%lld packages", (long long)image->packages);

	for (size_t i = 0; i < image->sets_count; i++)
		text = talloc_asprintf_append(text, "%s%lld %s", i ? ", " : " (", (long long)image->sets[i].packages,
		                              image->sets[i].type);
	if (image->sets_count)
		text = talloc_strdup_append(text, ")");
	ASSERT(text);
	return text;
}

static char *cost_text(TALLOC_CTX *ctx, const struct analysis_cost *c)
{
	char *text = talloc_asprintf(ctx,
	                             "%s in the worker; layers: %lld analysed, %lld known; %s downloaded, %s analysed, "
	                             "%s stored",
	                             show_ms(ctx, c->elapsed_ms), (long long)c->layers_analysed,
	                             (long long)c->layers_known, show_bytes(ctx, c->downloaded_bytes),
	                             show_bytes(ctx, c->analysed_bytes), show_bytes(ctx, c->stored_bytes));

	if (c->cached_bytes)
		text = talloc_asprintf_append(text, ", %s from the cache", show_bytes(ctx, c->cached_bytes));
	if (c->known_bytes)
		text = talloc_asprintf_append(text, ", %s saved because known", show_bytes(ctx, c->known_bytes));
	ASSERT(text);
	return text;
}

static const char *news_text(struct cli *cli, TALLOC_CTX *ctx, const struct image_detail *image,
                             enum analysis_news news)
{
	const char *status = analysis_status_text(image->status);
	char *text;

	if (news == ANALYSIS_KNOWN)
		return "was known, nothing to do";
	if (news == ANALYSIS_FRESH)
		text = talloc_asprintf(ctx, "%s in %s", status, show_ms(ctx, cli_elapsed_ms(cli)));
	else if (image->cost)
		text = talloc_asprintf(ctx, "%s in %s at %s", status, show_ms(ctx, image->cost->elapsed_ms),
		                       show_time(ctx, image->analysed_at));
	else
		text = talloc_asprintf(ctx, "%s at %s", status, show_time(ctx, image->analysed_at));
	ASSERT(text);
	return text;
}

static enum err_code report(struct cli *cli, const struct image_detail *image, enum analysis_news news, struct err *e)
{
	SCRATCH_CTX(scratch);

	if (cli->json)
		return output_record(record_image_detail(), image, e);
	printf("%s %s: %s\n", digest_text(&image->digest).text, news_text(cli, scratch, image, news),
	       packages_text(scratch, image));
	if (news != ANALYSIS_KNOWN && image->cost)
		printf("%s\n", cost_text(scratch, image->cost));
	for (size_t i = 0; i < image->incomplete.count; i++)
		fprintf(stderr, "stowage: incomplete: %s\n", text_clean(scratch, image->incomplete.items[i]));
	return ERR_OK;
}

enum err_code analysis_follow(struct cli *cli, const char *image, enum analysis_news news, struct err *e)
{
	struct image_detail *detail;

	TRY(wait_for_end(cli, image, e));
	TRY(analysis_get(cli, cli->ctx, image, &detail, e));
	return report(cli, detail, news, e);
}

void analysis_annotations(struct cli *cli, TALLOC_CTX *ctx, struct proto_map *map)
{
	const char **texts;
	size_t count = args_texts(cli->args, ctx, "annotation", &texts);

	map->items = talloc_array(ctx, struct proto_pair, count + 1);
	ASSERT(map->items);
	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(texts[i], "="); /* there is one: the option was checked */

		map->items[i] = (struct proto_pair){talloc_strndup(ctx, texts[i], len), texts[i] + len + 1};
	}
	map->count = count;
}
