#include "common/clock.h"
#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#include <time.h>

#define WAIT_MS 10000
#define PAUSE_MS 200 /* between two questions that the server did not hold */

static const struct table_column item_columns[] = {{"IMAGE"},
                                                   {"STATE"},
                                                   {"DETACHED"},
                                                   {"OBJECTS", .right = true},
                                                   {"BYTES", .right = true},
                                                   {"MOVED", .right = true},
                                                   {"ARCHIVED"},
                                                   {"TAGS", .elastic = true},
                                                   {NULL}};

static enum err_code add_row(struct listing *l, const struct archive_item *m, struct err *e)
{
	SCRATCH_CTX(ctx);

	return listing_add(l, m, e, digest_text(&m->digest).text, archive_state_text(m->state), show_flag(m->detached),
	                   show_number(ctx, m->objects), show_bytes(ctx, m->bytes), show_bytes(ctx, m->moved_bytes),
	                   show_age(ctx, m->archived_at), show_texts(ctx, &m->tags));
}

static bool is_settled(const struct archive_item *m)
{
	return m->state == ARCHIVE_ARCHIVED || m->state == ARCHIVE_FAILED;
}

static void pause_ms(int64_t ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

/* Asks until no transition is under way. *item is NULL when the image is not in the archive any more. */
static enum err_code wait_settled(struct cli *cli, const char *image, struct archive_item **item, struct err *e)
{
	struct progress progress;
	struct rpc_client *archive;

	progress_init(&progress, cli);
	TRY(cli_archive(cli, &archive, e));
	for (;;) {
		struct archive_get_request request = {.image = image};
		struct archive_get_reply reply;
		struct proto_call call = cli_call(cli);
		int64_t asked_ms = clock_monotonic_ms();
		enum err_code code = cli_wait_ms(cli, WAIT_MS, "the transition", &request.wait_ms, e);

		if (code == ERR_OK)
			code = call_archive_get(archive, &call, cli->ctx, &request, &reply, e);
		if (code != ERR_OK || is_settled(reply.item))
			progress_end(&progress);
		if (code == ERR_NOT_FOUND)
			*item = NULL;
		if (code != ERR_OK)
			return code == ERR_NOT_FOUND ? ERR_OK : code;
		*item = reply.item;
		if (is_settled(reply.item))
			return ERR_OK;
		progress_show(&progress, "%s", archive_state_text(reply.item->state));
		pause_ms(MAX(PAUSE_MS - (clock_monotonic_ms() - asked_ms), 0));
	}
}

/* A transition that failed is the command's error, once all images had their turn. */
static enum err_code check_item(const struct archive_item *m, struct err *e)
{
	if (m->state == ARCHIVE_FAILED)
		return analysis_reason(digest_text(&m->digest).text, m->reason, e);
	return ERR_OK;
}

static enum err_code check_waiting(struct cli *cli, struct err *e)
{
	if (args_flag(cli->args, "wait") && args_flag(cli->args, "no-wait"))
		return cli_misuse(cli, e, "--wait and --no-wait do not go together");
	return ERR_OK;
}

typedef enum err_code (*item_request)(struct cli *cli, const char *image, struct archive_item **item, struct err *e);

/* For each image: asks, waits unless it was told not to, lists. The first error counts; the others go on. */
static enum err_code for_each_image(struct cli *cli, const struct args *args, item_request ask, struct err *e)
{
	struct listing *l = listing_new(cli, record_archive_item(), item_columns);
	enum err_code first = ERR_OK;

	TRY(check_waiting(cli, e));
	for (size_t i = 0; i < args->word_count; i++) {
		struct archive_item *item = NULL;
		struct err failure = {0};
		enum err_code code = ask(cli, args->words[i], &item, &failure);

		if (code == ERR_OK && item && !args_flag(args, "no-wait") && !is_settled(item))
			code = wait_settled(cli, digest_text(&item->digest).text, &item, &failure);
		if (code == ERR_OK && item) {
			TRY(add_row(l, item, e));
			code = check_item(item, &failure);
		}
		if (code == ERR_OK)
			continue;
		if (first == ERR_OK)
			*e = failure;
		else
			output_error(cli->json, &failure);
		first = first ? first : code;
	}
	listing_end(l, NULL);
	return first;
}

/* A call to the archive manager, and how long that may wait for the end of `what`. */
static enum err_code prepare(struct cli *cli, const char *what, struct rpc_client **archive, int64_t *wait_ms,
                             struct proto_call *call, struct err *e)
{
	TRY(cli_archive(cli, archive, e));
	if (!args_flag(cli->args, "no-wait"))
		TRY(cli_wait_ms(cli, WAIT_MS, what, wait_ms, e));
	*call = cli_call(cli);
	return ERR_OK;
}

static enum err_code ask_add(struct cli *cli, const char *image, struct archive_item **item, struct err *e)
{
	struct rpc_client *archive;
	struct archive_add_request request = {.image = image, .detach = args_flag(cli->args, "detach")};
	struct archive_add_reply reply;
	struct proto_call call;

	TRY(prepare(cli, "archiving", &archive, &request.wait_ms, &call, e));
	TRY(call_archive_add(archive, &call, cli->ctx, &request, &reply, e));
	*item = reply.item;
	return ERR_OK;
}

enum err_code cmd_archive_add(struct cli *cli, const struct args *args, struct err *e)
{
	return for_each_image(cli, args, ask_add, e);
}

static enum err_code ask_restore(struct cli *cli, const char *image, struct archive_item **item, struct err *e)
{
	struct rpc_client *archive;
	struct archive_restore_request request = {.image = image};
	struct archive_restore_reply reply;
	struct proto_call call;

	TRY(prepare(cli, "restoring", &archive, &request.wait_ms, &call, e));
	TRY(call_archive_restore(archive, &call, cli->ctx, &request, &reply, e));
	*item = reply.item;
	return ERR_OK;
}

enum err_code cmd_archive_restore(struct cli *cli, const struct args *args, struct err *e)
{
	return for_each_image(cli, args, ask_restore, e);
}

static enum err_code remove_one(struct cli *cli, const char *image, struct archive_remove_reply *reply, struct err *e)
{
	struct rpc_client *archive;
	struct archive_remove_request request = {.image = image, .force = args_flag(cli->args, "force")};
	struct archive_item *item;
	struct proto_call call;

	TRY(prepare(cli, "removing", &archive, &request.wait_ms, &call, e));
	TRY(call_archive_remove(archive, &call, cli->ctx, &request, reply, e));
	if (reply->gone || args_flag(cli->args, "no-wait"))
		return ERR_OK;
	TRY(wait_settled(cli, digest_text(&reply->digest).text, &item, e));
	reply->gone = !item;
	return item ? check_item(item, e) : ERR_OK;
}

enum err_code cmd_archive_rm(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {{"IMAGE"}, {"GONE"}, {NULL}};
	struct listing *l = listing_new(cli, record_archive_remove_reply(), columns);
	enum err_code first = ERR_OK;

	TRY(check_waiting(cli, e));
	for (size_t i = 0; i < args->word_count; i++) {
		struct archive_remove_reply reply;
		struct err failure = {0};
		enum err_code code = remove_one(cli, args->words[i], &reply, &failure);

		if (code == ERR_OK) {
			TRY(listing_add(l, &reply, e, digest_text(&reply.digest).text, reply.gone ? "yes" : "soon"));
			continue;
		}
		if (first == ERR_OK)
			*e = failure;
		else
			output_error(cli->json, &failure);
		first = first ? first : code;
	}
	listing_end(l, NULL);
	return first;
}

enum err_code cmd_archive_ls(struct cli *cli, const struct args *args, struct err *e)
{
	struct archive_list_request request = {0};
	struct rpc_client *archive;
	struct listing *l;

	(void)args;
	TRY(cli_archive(cli, &archive, e));
	l = listing_new(cli, record_archive_item(), item_columns);
	listing_pages(l, LISTING_ALL);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct archive_list_reply page;
		struct proto_call call = cli_call(cli);
		struct digest_text last = {""};

		/* --after was checked to be a digest, and all others come from here. */
		if (listing_cursor(l))
			ASSERT(digest_parse(listing_cursor(l), &request.after));
		TRY(listing_asked(l, call_archive_list(archive, &call, scratch, &request, &page, e), e));
		for (size_t i = 0; i < page.items_count; i++) {
			TRY(add_row(l, &page.items[i], e));
			last = digest_text(&page.items[i].digest);
		}
		TRY(listing_page(l, page.items_count, page.more, last.text, e));
	}
	listing_end(l, "the archive is empty");
	return ERR_OK;
}

enum err_code cmd_archive_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *archive;
	struct proto_call call = cli_call(cli);
	struct archive_get_request request = {.image = args->words[0]};
	struct archive_get_reply reply;
	const struct archive_item *m;
	struct fields *f = fields_new(cli->ctx);

	TRY(cli_archive(cli, &archive, e));
	TRY(call_archive_get(archive, &call, cli->ctx, &request, &reply, e));
	m = reply.item;
	if (cli->json)
		return output_record(record_archive_item(), m, e);
	fields_add(f, "image", digest_text(&m->digest).text);
	fields_add(f, "state", archive_state_text(m->state));
	fields_add(f, "reason", m->reason);
	fields_add(f, "tags", show_texts(cli->ctx, &m->tags));
	fields_add(f, "archived", show_time(cli->ctx, m->archived_at));
	fields_add(f, "detached", m->detached ? "yes, it is in the archive only" : "no, it is in the working set, too");
	fields_add(f, "objects", show_number(cli->ctx, m->objects));
	fields_add(f, "bytes", show_bytes(cli->ctx, m->bytes));
	fields_add(f, "moved", show_bytes(cli->ctx, m->moved_bytes));
	fields_print(f, stdout);
	return ERR_OK;
}

enum err_code cmd_archive_summary(struct cli *cli, const struct args *args, struct err *e)
{
	struct rpc_client *archive;
	struct proto_call call = cli_call(cli);
	const struct archive_summary_request request = {};
	struct archive_summary_reply r;
	struct fields *f = fields_new(cli->ctx);

	(void)args;
	TRY(cli_archive(cli, &archive, e));
	TRY(call_archive_summary(archive, &call, cli->ctx, &request, &r, e));
	if (cli->json)
		return output_record(record_archive_summary_reply(), &r, e);
	fields_add(f, "images", show_number(cli->ctx, r.images));
	fields_add(f, "in the archive only", show_number(cli->ctx, r.detached));
	fields_add(f, "tags", show_number(cli->ctx, r.tags));
	fields_add(f, "in transition", show_number(cli->ctx, r.in_transition));
	fields_add(f, "failed", show_number(cli->ctx, r.failed));
	fields_add(f, "bytes", show_bytes(cli->ctx, r.bytes));
	fields_add(f, "moved", show_bytes(cli->ctx, r.moved_bytes));
	fields_print(f, stdout);
	return ERR_OK;
}
