#include "proto/store_io.h"
#include "services/cli/commands.h"
#include "services/cli/file.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGE 500
#define PIECE (256 * KIB)

enum err_code cmd_object_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"KEY", .elastic = true}, {"SIZE", .right = true}, {"CREATED"}, {"SHA256", .elastic = true}, {NULL}};
	struct object_list_request request = {
	    .store = args->words[0], .bucket = args->words[1], .prefix = args_text(args, "prefix")};
	int64_t left = args_number(args, "limit", INT64_MAX);
	struct object_list_reply page = {.more = true};
	struct rpc_client *gateway;
	struct listing *l;

	TRY(cli_gateway(cli, &gateway, e));
	l = listing_new(cli, record_object_item(), columns);
	while (page.more && left > 0) {
		struct proto_call call = cli_call(cli);

		request.limit = MIN(left, PAGE);
		TRY(call_object_list(gateway, &call, cli->ctx, &request, &page, e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct object_item *o = &page.items[i];

			TRY(listing_add(l, o, e, o->key, show_bytes(cli->ctx, o->size),
			                show_time(cli->ctx, o->created_at), digest_hex(&o->sha256).text));
			request.after = o->key;
		}
		left -= (int64_t)page.items_count;
		if (!page.items_count)
			break;
	}
	listing_end(l, "no objects");
	return ERR_OK;
}

static enum err_code pump(struct store_reader *reader, FILE *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *piece = talloc_size(scratch, PIECE);
	size_t got;

	ASSERT(piece);
	do {
		TRY(store_reader_read(reader, piece, PIECE, &got, e));
		if (fwrite(piece, 1, got, out) != got)
			return ERR_SYS(e, err_from_errno(errno), "the object could not be written");
	} while (got);
	return ERR_OK;
}

enum err_code cmd_object_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_object from = {cli->account, args->words[0], args->words[1], args->words[2]};
	CLEANUP(file_discard) struct file_out out = {0};
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(file_open_out(cli->ctx, args_text(args, "output"), &out, e));
	TRY(pump(store_reader_new(cli->ctx, gateway, &from, 0), out.out, e));
	return file_commit(&out, e);
}

static enum err_code push(struct store_writer *writer, int fd, const char *path, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *piece = talloc_size(scratch, PIECE);

	ASSERT(piece);
	for (;;) {
		ssize_t got = read(fd, piece, PIECE);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, err_from_errno(errno), "%s", path);
		if (got == 0)
			return ERR_OK;
		TRY(store_writer_add(writer, piece, (size_t)got, e));
	}
}

enum err_code cmd_object_put(struct cli *cli, const struct args *args, struct err *e)
{
	const char *path = args->words[3];
	bool from_stdin = strcmp(path, "-") == 0;
	CLEANUP(fd_cleanup) int fd = from_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	struct rpc_client *gateway;
	struct store_writer *writer;
	struct store_stored stored;
	struct object_item item;

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	TRY(cli_gateway(cli, &gateway, e));
	writer = store_writer_new(cli->ctx, gateway, cli->account, args->words[0]);
	TRY(push(writer, fd, path, e));
	TRY(store_writer_commit(writer, args->words[1], args->words[2], &stored, e));
	item = (struct object_item){.key = args->words[2], .size = (int64_t)stored.size, .sha256 = stored.sha256};
	if (cli->json)
		return output_record(record_object_item(), &item, e);
	printf("%s %s, %s stored\n", digest_text(&stored.sha256).text, show_bytes(cli->ctx, item.size),
	       show_bytes(cli->ctx, (int64_t)stored.stored_bytes));
	return ERR_OK;
}

enum err_code cmd_object_rm(struct cli *cli, const struct args *args, struct err *e)
{
	struct object_delete_request request = {
	    .store = args->words[0], .bucket = args->words[1], .key = args->words[2]};
	struct proto_call call = cli_call(cli);
	struct object_delete_reply reply;
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(call_object_delete(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_record(record_object_delete_reply(), &reply, e);
	printf("%s\n", reply.existed ? "removed" : "it was not there");
	return ERR_OK;
}
