/*
 * rpc_call: sends one message to a service and prints its reply, for tests.
 *
 *   rpc_call --config FILE... --service catalog|gateway|archive [--endpoint URL] [--account A] [--payload FILE]
 *            [--out FILE] [--timeout MS] METHOD <BODY.json >REPLY.json
 *
 * The body is read from standard input, nothing being {}. --payload FILE goes beside it, and the reply's payload is
 * written to --out. --endpoint talks to this one replica instead of the configured ones. Exit status 0 for a reply; an
 * error is printed as {"code": ..., "message": ...} on standard error, and its code decides the status.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/process.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_FILES_MAX 8

struct command {
	const char *files[CONFIG_FILES_MAX];
	size_t file_count;
	const char *service, *endpoint, *account, *payload, *out, *method;
	int64_t timeout_ms;
};

static enum err_code read_all(int fd, struct buf *into, struct err *e)
{
	for (;;) {
		char *room = buf_reserve(into, 64 * KIB);
		ssize_t got;

		if (!room)
			return ERR(e, ERR_TOO_LARGE, "more than %zu bytes to send", into->max);
		got = read(fd, room, 64 * KIB);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, ERR_INTERNAL, "read");
		if (got == 0)
			return ERR_OK;
		buf_commit(into, (size_t)got);
	}
}

static enum err_code read_file(const char *path, struct buf *into, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	return read_all(fd, into, e);
}

static enum err_code write_file(const char *path, const void *bytes, size_t len, struct err *e)
{
	FILE *file = fopen(path, "wb");
	bool written = file && fwrite(bytes, 1, len, file) == len;

	if (file && fclose(file) != 0)
		written = false;
	return written ? ERR_OK : ERR_SYS(e, ERR_INTERNAL, "%s", path);
}

static enum err_code read_body(cJSON **body, struct err *e)
{
	CLEANUP(buf_release) struct buf text;

	buf_init(&text, RPC_HEADER_MAX);
	TRY(read_all(STDIN_FILENO, &text, e));
	if (text.len == 0)
		buf_add_text(&text, "{}");
	return json_parse(text.bytes, text.len, text.max, "the body", body, e);
}

static enum err_code make_client(TALLOC_CTX *ctx, const struct command *c, struct rpc_client **client, struct err *e)
{
	struct process_config config = {0};
	struct config_list endpoints;

	TRY(config_load(ctx, c->files, c->file_count, process_options(ctx, NULL, NULL), &config, e));
	TRY(process_check(&config, e));
	endpoints = strcmp(c->service, "catalog") == 0   ? config.catalog_endpoints
	            : strcmp(c->service, "gateway") == 0 ? config.gateway_endpoints
	                                                 : config.archive_endpoints;
	if (c->endpoint)
		endpoints = (struct config_list){.items = talloc_memdup(ctx, &c->endpoint, sizeof(c->endpoint)), 1};
	return rpc_client_new(ctx,
	                      &(struct rpc_client_options){
				  .name = c->service,
				  .endpoints = endpoints.items,
				  .endpoint_count = endpoints.count,
				  .secret = {config.cluster_secret, config.cluster_secret_previous},
				  .principal = "test/rpc_call",
			      },
	                      client, e);
}

static enum err_code run(TALLOC_CTX *ctx, const struct command *c, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *body = NULL;
	CLEANUP(buf_release) struct buf payload;
	CLEANUP(free_cleanup) char *text = NULL;
	struct rpc_client *client;
	struct rpc_reply reply = {0};

	buf_init(&payload, 16 * MIB);
	TRY(read_body(&body, e));
	if (c->payload)
		TRY(read_file(c->payload, &payload, e));
	TRY(make_client(ctx, c, &client, e));
	TRY(rpc_client_call(client,
	                    &(struct rpc_request){
				.method = c->method,
				.account = c->account,
				.body = body,
				.payload = payload.bytes,
				.payload_len = payload.len,
				.deadline_ms = c->timeout_ms,
				.attempt_ms = c->timeout_ms,
			    },
	                    ctx, &reply, e));
	if (c->out)
		TRY(write_file(c->out, reply.payload, reply.payload_len, e));
	text = reply.body ? cJSON_PrintUnformatted(reply.body) : strdup("{}");
	puts(text);
	return ERR_OK;
}

static void print_error(const struct err *e)
{
	cJSON *error = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(error, "code", err_name(e->code));
	cJSON_AddStringToObject(error, "message", e->text);
	text = cJSON_PrintUnformatted(error);
	fprintf(stderr, "%s\n", text);
	free(text);
	cJSON_Delete(error);
}

static bool take_option(struct command *c, int option)
{
	switch (option) {
	case 'c':
		if (c->file_count == CONFIG_FILES_MAX)
			return false;
		c->files[c->file_count++] = optarg;
		return true;
	case 's':
		c->service = optarg;
		return true;
	case 'e':
		c->endpoint = optarg;
		return true;
	case 'a':
		c->account = optarg;
		return true;
	case 'p':
		c->payload = optarg;
		return true;
	case 'o':
		c->out = optarg;
		return true;
	case 't':
		c->timeout_ms = strtoll(optarg, NULL, 10);
		return c->timeout_ms > 0;
	default:
		return false;
	}
}

static bool parse(int argc, char **argv, struct command *c)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},   {"service", required_argument, NULL, 's'},
	    {"endpoint", required_argument, NULL, 'e'}, {"account", required_argument, NULL, 'a'},
	    {"payload", required_argument, NULL, 'p'},  {"out", required_argument, NULL, 'o'},
	    {"timeout", required_argument, NULL, 't'},  {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take_option(c, option))
			return false;
	if (optind != argc - 1 || !c->service)
		return false;
	c->method = argv[optind];
	return strcmp(c->service, "catalog") == 0 || strcmp(c->service, "gateway") == 0 ||
	       strcmp(c->service, "archive") == 0;
}

int main(int argc, char **argv)
{
	struct command command = {.timeout_ms = 60000};
	SCRATCH_CTX(ctx);
	struct err e;

	if (!parse(argc, argv, &command)) {
		fprintf(stderr, "usage: rpc_call --config FILE --service catalog|gateway|archive [--endpoint URL] "
		                "[--account A] [--payload FILE] [--out FILE] [--timeout MS] METHOD <BODY\n");
		return 2;
	}
	if (run(ctx, &command, &e) != ERR_OK) {
		print_error(&e);
		return err_exit(e.code);
	}
	return 0;
}
