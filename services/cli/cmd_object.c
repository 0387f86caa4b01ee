#include "proto/store_io.h"
#include "services/cli/bucket.h"
#include "services/cli/commands.h"
#include "services/cli/file.h"
#include "services/cli/json_writer.h"
#include "services/cli/listing.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (256 * KIB)
#define PUT_TRIES 3 /* when chunks are swept away while others are on their way */

enum err_code cmd_object_ls(struct cli *cli, const struct args *args, struct err *e)
{
	static const struct table_column columns[] = {
	    {"KEY", .elastic = true}, {"SIZE", .right = true}, {"CREATED"}, {"SHA256", .elastic = true}, {NULL}};
	struct object_list_request request = {
	    .store = args->words[0], .bucket = args->words[1], .prefix = args_text(args, "prefix")};
	struct rpc_client *gateway;
	struct listing *l;

	TRY(cli_gateway(cli, &gateway, e));
	l = listing_new(cli, record_object_item(), columns);
	listing_pages(l, LISTING_ALL);
	while ((request.limit = listing_wants(l)) > 0) {
		SCRATCH_CTX(scratch);
		struct object_list_reply page;
		struct proto_call call = cli_call(cli);
		const char *cursor = listing_cursor(l);

		request.after = cursor;
		TRY(listing_asked(l, call_object_list(gateway, &call, scratch, &request, &page, e), e));
		for (size_t i = 0; i < page.items_count; i++) {
			const struct object_item *o = &page.items[i];

			TRY(listing_add(l, o, e, o->key, show_bytes(scratch, o->size),
			                show_time(scratch, o->created_at), digest_hex(&o->sha256).text));
			cursor = o->key;
		}
		TRY(listing_page(l, page.items_count, page.more, cursor, e));
	}
	listing_end(l, "no objects");
	return ERR_OK;
}

/* ---- get ---- */

static enum err_code pump(struct cli *cli, struct store_reader *reader, FILE *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *piece = talloc_size(scratch, PIECE);
	struct progress progress;
	enum err_code code;
	uint64_t at = 0;
	size_t got;

	ASSERT(piece);
	progress_init(&progress, cli);
	progress.wanted &= out != stdout;
	do {
		code = cli_check_time(cli, "the object", e);
		if (code == ERR_OK)
			code = store_reader_read(reader, piece, PIECE, &got, e);
		if (code != ERR_OK)
			break;
		if (fwrite(piece, 1, got, out) != got)
			code = ERR_SYS(e, err_from_errno(errno), "the object could not be written");
		at += got;
		progress_bytes(&progress, "fetched", at, store_reader_size(reader));
	} while (code == ERR_OK && got);
	progress_end(&progress);
	return code;
}

enum err_code cmd_object_get(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_object from = {cli->account, args->words[0], args->words[1], args->words[2]};
	CLEANUP(file_discard) struct file_out out = {0};
	struct rpc_client *gateway;

	TRY(cli_gateway(cli, &gateway, e));
	TRY(file_open_out(cli->ctx, args_text(args, "output"), &out, e));
	TRY(pump(cli, store_reader_new(cli->ctx, gateway, &from, 0), out.out, e));
	return file_commit(&out, e);
}

/* ---- put ---- */

struct source {
	const char *path;
	int fd;
	bool regular;  /* may be read again from its beginning */
	uint64_t size; /* 0: not known */
};

static enum err_code source_open(struct source *s, const char *path, struct err *e)
{
	struct stat st;

	*s = (struct source){.path = path};
	s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	/* stdin may stand in the middle of a file. */
	s->regular = S_ISREG(st.st_mode) && strcmp(path, "-") != 0;
	s->size = s->regular ? (uint64_t)st.st_size : 0;
	return ERR_OK;
}

static enum err_code push(struct cli *cli, struct store_writer *writer, const struct source *s, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *piece = talloc_size(scratch, PIECE);
	struct progress progress;
	enum err_code code;
	uint64_t at = 0;

	ASSERT(piece);
	progress_init(&progress, cli);
	for (;;) {
		ssize_t got = read(s->fd, piece, PIECE);

		if (got < 0 && errno == EINTR)
			continue;
		code =
		    got < 0 ? ERR_SYS(e, err_from_errno(errno), "%s", s->path) : cli_check_time(cli, "the object", e);
		if (code == ERR_OK && got > 0)
			code = store_writer_add(writer, piece, (size_t)got, e);
		if (code != ERR_OK || got == 0)
			break;
		at += (uint64_t)got;
		progress_bytes(&progress, "stored", at, s->size);
	}
	progress_end(&progress);
	return code;
}

/* Chunks that are in the store are not sent, whoever brought them: a put that was interrupted goes on where it was when
 * it is given again. */
static enum err_code put(struct cli *cli, const struct source *s, struct store_stored *stored, struct err *e)
{
	const char **words = cli->args->words;
	struct rpc_client *gateway;
	enum err_code code = ERR_OK;

	TRY(cli_gateway(cli, &gateway, e));
	for (int try = 0; try < PUT_TRIES; try++) {
		struct store_writer *writer = store_writer_new(cli->ctx, gateway, cli->account, words[0]);

		code = push(cli, writer, s, e);
		if (code != ERR_OK)
			return code;
		code = store_writer_commit(writer, words[1], words[2], stored, e);
		store_writer_free(writer);
		if ((code != ERR_CONFLICT && code != ERR_PRECONDITION) || !s->regular || lseek(s->fd, 0, SEEK_SET) != 0)
			break;
	}
	return code;
}

static void print_stored(const char *key, const struct store_stored *stored)
{
	SCRATCH_CTX(scratch);
	struct json_writer *w = json_writer_new(scratch, stdout);

	json_open_object(w, NULL);
	json_add_text(w, "key", key);
	json_add_number(w, "size", (int64_t)stored->size);
	json_add_text(w, "sha256", digest_text(&stored->sha256).text);
	json_add_number(w, "stored_bytes", (int64_t)stored->stored_bytes);
	json_close(w);
}

enum err_code cmd_object_put(struct cli *cli, const struct args *args, struct err *e)
{
	struct store_stored stored;
	struct source source;
	enum err_code code;

	TRY(bucket_check(cli, args->words[1], e));
	TRY(source_open(&source, args->words[3], e));
	code = cli_check_account(cli, e);
	if (code == ERR_OK)
		code = put(cli, &source, &stored, e);
	close(source.fd);
	TRY(code);
	if (cli->json)
		print_stored(args->words[2], &stored);
	else
		printf("%s %s, %s new in the store\n", digest_text(&stored.sha256).text,
		       show_bytes(cli->ctx, (int64_t)stored.size), show_bytes(cli->ctx, (int64_t)stored.stored_bytes));
	return ERR_OK;
}

/* ---- rm ---- */

enum err_code cmd_object_rm(struct cli *cli, const struct args *args, struct err *e)
{
	struct object_delete_request request = {
	    .store = args->words[0], .bucket = args->words[1], .key = args->words[2]};
	struct object_delete_reply reply;
	struct rpc_client *gateway;
	struct proto_call call;

	TRY(bucket_check(cli, args->words[1], e));
	TRY(cli_gateway(cli, &gateway, e));
	call = cli_call(cli);
	TRY(call_object_delete(gateway, &call, cli->ctx, &request, &reply, e));
	if (cli->json)
		return output_named("key", args->words[2], "existed", reply.existed);
	printf("%s\n", reply.existed ? "removed" : "it was not there");
	return ERR_OK;
}
