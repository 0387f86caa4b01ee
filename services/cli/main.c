#include "common/log.h"
#include "services/cli/args.h"
#include "services/cli/cli.h"
#include "services/cli/file.h"
#include "services/cli/help.h"
#include "services/cli/output.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

/* Before the command line is understood, an argument "--json" anywhere is the best guess. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

static int usage(const struct args *args, bool json)
{
	struct err e = {0};

	ERR(&e, ERR_INVALID, "%s", args->wrong);
	if (json) {
		output_error(true, &e);
	} else {
		fprintf(stderr, "stowage: %s\n", e.text);
		help_usage(stderr, &vocabulary, args->command ? args->command->path : args->topic);
	}
	return CLI_USAGE;
}

static int run(TALLOC_CTX *ctx, const struct args *args)
{
	struct err e = {0};
	struct cli cli;
	enum err_code code;

	cli_init(&cli, ctx, args);
	code = args->command->run(&cli, args, &e);
	if (code == ERR_OK)
		code = output_finish(&e);
	if (code == ERR_OK || file_reader_is_gone(stdout))
		return CLI_DONE;
	fflush(stdout);
	output_error(cli.json, &e);
	if (cli.misused)
		return CLI_USAGE;
	/* A service that says "unavailable" of something else was reached. */
	if (cli.reached || strcmp(e.file, "peer") == 0)
		return CLI_FAILED;
	return err_exit(code);
}

int main(int argc, char **argv)
{
	SCRATCH_CTX(ctx);
	struct args args;

	/* For names in archives, and for the width of what is shown. Numbers and times stay the C locale's. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	/* What the libraries would tell an operator of a service is no news to a person at a terminal. */
	log_setup("stowage", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	switch (args_parse(ctx, argc, (const char *const *)argv, &vocabulary, &args)) {
	case ARGS_HELP:
		help_print(stdout, &vocabulary, args.topic);
		return CLI_DONE;
	case ARGS_VERSION:
		printf("stowage %s\n", STOWAGE_VERSION);
		return CLI_DONE;
	case ARGS_WRONG:
		return usage(&args, wants_json(argc, argv));
	case ARGS_RUN:
		break;
	}
	return run(ctx, &args);
}
