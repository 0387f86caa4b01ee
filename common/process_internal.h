/*
 * process_internal: what the files of common/process share among themselves. Nobody else includes it.
 *
 *   process.c          the main thread: command line, the loop, signals, the order of starting and ending
 *   process_start.c    what blocks while starting: database, migrations, the service's own start
 *   process_options.c  options and command line
 *   process_tasks.c    draining as other threads see it, background work
 *   process_client.c   clients for other services
 *   process_status.c   what /healthz, /readyz and /metrics ask
 */
#ifndef COMMON_PROCESS_INTERNAL_H
#define COMMON_PROCESS_INTERNAL_H

#include "common/http_status.h"
#include "common/process.h"
#include "common/rpc_server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

enum process_phase { PROCESS_STARTING, PROCESS_SERVING, PROCESS_DRAINING };

struct process {
	const struct service *service;
	TALLOC_CTX *ctx;         /* the main thread's */
	TALLOC_CTX *service_ctx; /* the service's */
	struct process_config *config;
	void *state;
	char *instance;
	struct db_pool *db;
	struct process_tasks *tasks;     /* locked inside */
	struct process_clients *clients; /* locked inside */
	int64_t started_wall_ms;

	_Atomic enum process_phase phase;
	_Atomic int64_t turned_ms; /* when the loop turned last */

	/* The loop's thread only. */
	uv_loop_t loop;
	uv_signal_t signals[2];
	uv_timer_t heartbeat, grace;
	uv_work_t work; /* the start, then the drain */
	struct rpc_server *server;
	struct http_status *http;
	bool requests_drained, service_drained;

	/* Written by the start's thread, read when that is done. */
	enum err_code start_code;
	struct err start_failure;
};

struct process_command {
	enum { COMMAND_RUN, COMMAND_HELP, COMMAND_VERSION, COMMAND_PRINT, COMMAND_CHECK } verb;
	const char **files;
	size_t file_count;
};

/* False: wrong usage, and stderr says what. The files hang on ctx. */
bool process_parse_command(TALLOC_CTX *ctx, const struct service *service, int argc, char **argv,
                           struct process_command *command);
void process_print_help(const struct service *service, const struct config_option *options);

/* On a thread that may block. */
enum err_code process_start_service(struct process *p, struct err *e) MUST_CHECK;

struct process_tasks *process_tasks_new(struct process *p);
void process_tasks_drain(struct process_tasks *tasks); /* draining from now on; everybody who sleeps wakes */
void process_tasks_join(struct process_tasks *tasks);  /* waits for the background threads */

struct process_clients *process_clients_new(struct process *p);

enum err_code process_start_http(struct process *p, struct err *e) MUST_CHECK;

#endif
