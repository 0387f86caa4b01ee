/*
 * cli: what every command works with: whom to ask, for which account, for how long, and where the answer goes.
 *
 * Connections are made at first use. A command returns the error that ended it; main prints it and makes the exit
 * status of it. Memory on cli->ctx lives until the process ends: commands that handle many things use contexts of their
 * own.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "proto/messages.h"
#include "services/cli/args.h"

#include <stdio.h>

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NO_SERVICE = 3 };

struct cli_settings;

struct cli {
	TALLOC_CTX *ctx;
	const struct args *args;
	const char *account;
	bool json;
	bool reached;        /* some service has answered, although the command failed */
	bool misused;        /* what failed is the command line or the configuration, not a request: CLI_USAGE */
	bool progress;       /* is wanted, on stderr */
	int64_t deadline_ms; /* clock_monotonic_ms() of --timeout; 0: none */
	int64_t started_ms;
	size_t width; /* of the terminal; 0: no terminal */
	struct cli_settings *settings;
	struct rpc_client *catalog, *gateway, *archive; /* NULL before the first use */
};

/* From the global options. Does not read the configuration yet. */
void cli_init(struct cli *cli, TALLOC_CTX *ctx, const struct args *args);

/* ERR_INVALID for what only the command itself can see is wrong usage: options that do not go together, say. */
enum err_code cli_misuse(struct cli *cli, struct err *e, const char *fmt, ...) PRINTF(3, 4);

/* ERR_UNAVAILABLE when nobody answers: nobody is there, all are frozen, or they have another cluster_secret, of which a
 * service says nothing to whom it does not know. The first use of each finds that out, before anything is asked. */
enum err_code cli_catalog(struct cli *cli, struct rpc_client **client, struct err *e) MUST_CHECK;
enum err_code cli_gateway(struct cli *cli, struct rpc_client **client, struct err *e) MUST_CHECK;
enum err_code cli_archive(struct cli *cli, struct rpc_client **client, struct err *e) MUST_CHECK;

/* A client for a single endpoint: `status` asks every replica. */
enum err_code cli_single(struct cli *cli, TALLOC_CTX *ctx, const char *name, const char *endpoint,
                         struct rpc_client **client, struct err *e) MUST_CHECK;

struct cli_endpoints {
	const char *const *items;
	size_t count;
};
/* which: "catalog", "gateway", "archive". */
enum err_code cli_endpoints(struct cli *cli, const char *which, struct cli_endpoints *endpoints,
                            struct err *e) MUST_CHECK;

/* For a call: the account, and the deadline where --timeout sets one. */
struct proto_call cli_call(const struct cli *cli);

/* How long one request may ask the server to wait: at most most_ms, less when --timeout ends before. ERR_DEADLINE, with
 * what in the text, when the time is over. */
enum err_code cli_wait_ms(const struct cli *cli, int64_t most_ms, const char *what, int64_t *wait_ms,
                          struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND when the account that --account names does not exist: services that keep no accounts answer with empty
 * lists for it. Costs a request, and nothing for the account that always exists; what else fails is no error. */
enum err_code cli_check_account(struct cli *cli, struct err *e) MUST_CHECK;

/* ERR_DEADLINE when --timeout ends, what in the text. */
enum err_code cli_check_time(const struct cli *cli, const char *what, struct err *e) MUST_CHECK;

int64_t cli_elapsed_ms(const struct cli *cli);

#endif
