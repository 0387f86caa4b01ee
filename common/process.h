/*
 * process: how every service starts, serves and ends.
 *
 * process_main reads the command line (--config FILE, repeatable; --help; --version; --print-config; --check), loads
 * the configuration, sets up logging, serves /healthz, /readyz and /metrics on its HTTP port, opens the database pool
 * and applies the service's migrations, calls service->start, starts the RPC server on its endpoints, and runs the
 * libuv loop until SIGTERM or SIGINT. A database that is not there yet is waited for, for a minute: containers start in
 * any order. Without --config the file is $STOWAGE_CONFIG, else /etc/stowage/stowage.yaml if it exists.
 *
 * Then it drains: no new requests, those running are finished within the grace period, service->drain hands back what
 * the service itself holds, background work ends, and the process exits 0. A grace period that was not long enough, or
 * a second signal, ends it at once with 1. A start that fails says why in one line on stderr and exits 1.
 *
 * Threads: start, drain and background work run on threads of their own, so they may block while the loop turns; stop
 * runs on the main thread when nothing else runs any more. SIGPIPE is ignored and LC_CTYPE is UTF-8.
 *
 * Options that every service has stand in process_options and in struct process_config, which must be the first member
 * of the service's own configuration struct.
 */
#ifndef COMMON_PROCESS_H
#define COMMON_PROCESS_H

#include "common/config.h"
#include "common/db.h"
#include "common/rpc.h"

struct process;

struct process_config {
	const char *cluster_secret, *cluster_secret_previous;
	const char *database_url;
	int64_t database_connections;
	int64_t database_statement_ms; /* the longest that one statement may take; 0: no limit */
	const char *log_level, *log_format;
	struct config_list catalog_endpoints, gateway_endpoints, archive_endpoints; /* where the others listen */
	/* From the service's own section: <section>.listen, .http_listen, .threads, .grace, .queue_max; and
	 * <section>.database_url, which wins over database.url and lands in database_url. */
	struct config_list listen;
	const char *http_listen; /* "127.0.0.1:8080"; empty: no HTTP */
	int64_t threads;         /* that run handlers */
	int64_t grace_ms;        /* from SIGTERM to the end */
	int64_t queue_max;       /* requests waiting for a thread; beyond: `unavailable` with a retry-after */
};

struct service {
	const char *name;                    /* "object-store-gateway" */
	const char *section;                 /* of the configuration file: "object_store_gateway" */
	const struct config_option *options; /* the service's own; may be NULL */
	size_t config_size;
	const char *schema; /* NULL: no database */
	const struct db_migration *migrations;
	size_t migration_count;
	rpc_dispatch dispatch; /* NULL: serves no requests (then listen must be empty) */
	size_t state_size;     /* of the struct that `rpc_call.service` points to, zeroed */

	/* All optional. start runs before the first request, and may block; the process ends if it fails, without drain
	 * or stop. drain runs from a thread that may block, when SIGTERM came and process_draining() is true; stop
	 * after the last request, drain and background work. ready tells /readyz whether dependencies are reachable
	 * (the database is looked after already), and may block. */
	enum err_code (*start)(struct process *process, void *state, struct err *e);
	void (*drain)(void *state);
	void (*stop)(void *state);
	enum err_code (*ready)(void *state, struct err *e);

	/* Optional. --check: tries out what a configuration that is not in use yet names, prints one line of JSON on
	 * stdout, and returns the exit status: 0, or 1 if something is not as it should be. db has not connected yet,
	 * and need not be able to. */
	int (*check)(const void *config, struct db_pool *db);
};

/* All options of a service: those above, then its own (may be NULL). section NULL: only what is outside any section,
 * for programs that serve nothing. The table hangs on ctx. */
const struct config_option *process_options(TALLOC_CTX *ctx, const char *section, const struct config_option *own);

/* What the table cannot say: the secret's length, the words for log level and format. */
enum err_code process_check(const struct process_config *c, struct err *e) MUST_CHECK;

/* Returns the exit status: 0 drained, 1 a failure while starting or serving, 2 wrong usage. */
int process_main(const struct service *service, int argc, char **argv);

/* For service code: what process_main has set up. */
const void *process_configuration(const struct process *p); /* struct of config_size */
struct db_pool *process_db(const struct process *p);
const char *process_instance(const struct process *p); /* "catalog/host/pid-random": the lease owner's name */
TALLOC_CTX *process_ctx(struct process *p);            /* lives until after stop */

/* A client for another service, from the configured endpoints. which: "catalog", "gateway", "archive". Made once, then
 * shared by all threads; ERR_INVALID when no endpoint is configured. */
enum err_code process_client(struct process *p, const char *which, struct rpc_client **out, struct err *e) MUST_CHECK;

/* Background work: body is called on a thread of its own at once, then every period_ms (and when process_wake says so)
 * until draining starts; it must return soon after process_draining() turns true. name is copied; process_wake for
 * a name that nobody has does nothing. */
typedef void (*process_task)(struct process *p, void *state);
void process_every(struct process *p, const char *name, int64_t period_ms, process_task body);
void process_wake(struct process *p, const char *name);
bool process_draining(const struct process *p);

/* Sleeps at most ms, returns early (true) when draining starts. For threads of the service's own. */
bool process_sleep(const struct process *p, int64_t ms);

#endif
