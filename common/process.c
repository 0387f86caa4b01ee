#include "common/process.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/process_internal.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARTBEAT_MS 1000

static struct metric busy = METRIC_GAUGE("stowage_requests_busy", "Requests that run or wait for a thread.");

const void *process_configuration(const struct process *p)
{
	return p->config;
}

struct db_pool *process_db(const struct process *p)
{
	return p->db;
}

const char *process_instance(const struct process *p)
{
	return p->instance;
}

TALLOC_CTX *process_ctx(struct process *p)
{
	return p->service_ctx;
}

/* Ending -------------------------------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *arg UNUSED)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void close_own_handles(struct process *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->signals); i++)
		close_handle((uv_handle_t *)&p->signals[i], NULL);
	close_handle((uv_handle_t *)&p->heartbeat, NULL);
	close_handle((uv_handle_t *)&p->grace, NULL);
}

/* When both have drained, nothing is left that could keep the loop. */
static void finish_when_drained(struct process *p)
{
	if (!p->requests_drained || !p->service_drained)
		return;
	http_status_stop(p->http);
	p->http = NULL;
	rpc_server_free(p->server);
	p->server = NULL;
	close_own_handles(p);
}

static void on_requests_drained(void *arg)
{
	struct process *p = arg;

	p->requests_drained = true;
	finish_when_drained(p);
}

static void drain_service(uv_work_t *work)
{
	struct process *p = work->data;

	if (p->service->drain)
		p->service->drain(p->state);
	process_tasks_join(p->tasks);
}

static void on_service_drained(uv_work_t *work, int status UNUSED)
{
	struct process *p = work->data;

	p->service_drained = true;
	finish_when_drained(p);
}

static void drain(struct process *p)
{
	atomic_store(&p->phase, PROCESS_DRAINING);
	p->requests_drained = !p->server;
	if (p->server)
		rpc_server_drain(p->server, on_requests_drained, p);
	ASSERT(uv_queue_work(&p->loop, &p->work, drain_service, on_service_drained) == 0);
}

static void on_grace_over(uv_timer_t *timer)
{
	struct process *p = timer->data;

	LOG_ERROR("grace period is over, ending with work unfinished",
	          LOG_NUMBER("requests", p->server ? rpc_server_busy(p->server) : 0));
	_exit(1);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct process *p = handle->data;

	if (process_draining(p)) {
		LOG_WARN("second signal, ending at once", LOG_TEXT("signal", strsignal(number)));
		_exit(1);
	}
	LOG_INFO("draining", LOG_TEXT("signal", strsignal(number)), LOG_NUMBER("grace_ms", p->config->grace_ms));
	process_tasks_drain(p->tasks);
	uv_timer_start(&p->grace, on_grace_over, (uint64_t)p->config->grace_ms, 0);
	/* A start that is still going on looks at process_draining() itself. */
	if (atomic_load(&p->phase) == PROCESS_SERVING)
		drain(p);
}

/* Starting ------------------------------------------------------------------------------------------------------ */

/* Without freeing anything: the service may have threads that are at work. */
static NORETURN void end_failed_start(const struct process *p)
{
	if (process_draining(p)) {
		LOG_INFO("ended while starting");
		_exit(0);
	}
	LOG_ERROR("cannot start", LOG_ERR(&p->start_failure));
	_exit(1);
}

static enum err_code start_server(struct process *p, struct err *e)
{
	const struct process_config *c = p->config;
	struct rpc_server_options options = {
	    .name = p->service->name,
	    .endpoints = c->listen.items,
	    .endpoint_count = c->listen.count,
	    .secret = {.current = c->cluster_secret, .previous = c->cluster_secret_previous},
	    .threads = (size_t)c->threads,
	    .queue_max = (size_t)c->queue_max,
	    .dispatch = p->service->dispatch,
	    .service = p->state,
	};

	if (!p->service->dispatch)
		return ERR_OK;
	TRY(rpc_server_new(&p->loop, &options, &p->server, e));
	return rpc_server_start(p->server, e);
}

static void start_service(uv_work_t *work)
{
	struct process *p = work->data;

	p->start_code = process_start_service(p, &p->start_failure);
}

static void on_service_started(uv_work_t *work, int status UNUSED)
{
	struct process *p = work->data;
	const struct config_list *listen = &p->config->listen;

	if (p->start_code == ERR_OK && !process_draining(p))
		p->start_code = start_server(p, &p->start_failure);
	if (p->start_code != ERR_OK)
		end_failed_start(p);
	atomic_store(&p->phase, PROCESS_SERVING);
	if (process_draining(p)) {
		drain(p);
		return;
	}
	LOG_INFO("serving", LOG_TEXT("version", STOWAGE_VERSION), LOG_TEXT("instance", p->instance),
	         LOG_TEXT("listen", listen->count ? listen->items[0] : "nothing"),
	         LOG_TEXT("http", p->config->http_listen));
}

static void on_heartbeat(uv_timer_t *timer)
{
	struct process *p = timer->data;

	atomic_store(&p->turned_ms, clock_monotonic_ms());
	if (p->server)
		metric_set(&busy, (int64_t)rpc_server_busy(p->server));
}

static void set_up_loop(struct process *p)
{
	static const int numbers[] = {SIGTERM, SIGINT};

	ASSERT(uv_loop_init(&p->loop) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(p->signals); i++) {
		ASSERT(uv_signal_init(&p->loop, &p->signals[i]) == 0);
		p->signals[i].data = p;
		ASSERT(uv_signal_start(&p->signals[i], on_signal, numbers[i]) == 0);
	}
	uv_timer_init(&p->loop, &p->heartbeat);
	uv_timer_init(&p->loop, &p->grace);
	p->heartbeat.data = p->grace.data = p->work.data = p;
	atomic_store(&p->turned_ms, clock_monotonic_ms());
	uv_timer_start(&p->heartbeat, on_heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
}

static void open_pool(struct process *p)
{
	struct db_options options = {
	    .url = p->config->database_url,
	    .application = p->instance,
	    .connections = (size_t)p->config->database_connections,
	    .statement_ms = p->config->database_statement_ms,
	};

	if (p->service->schema)
		p->db = db_pool_new(p->ctx, &options);
}

static enum err_code check(const struct service *service, const struct process_config *c, struct err *e)
{
	TRY(process_check(c, e));
	if (service->schema && (!c->database_url || !*c->database_url))
		return ERR(e, ERR_INVALID, "database.url is required");
	if (service->dispatch && c->listen.count == 0)
		return ERR(e, ERR_INVALID, "%s.listen is required", service->section);
	if (!service->dispatch && c->listen.count > 0)
		return ERR(e, ERR_INVALID, "%s.listen: this service takes no requests", service->section);
	return ERR_OK;
}

static char *name_instance(TALLOC_CTX *ctx, const struct service *service)
{
	char host[65] = "", *name;
	uint32_t number;

	gethostname(host, sizeof(host) - 1);
	random_bytes(&number, sizeof(number));
	name = talloc_asprintf(ctx, "%s/%s/%d-%08x", service->name, host, (int)getpid(), (unsigned)number);
	ASSERT(name);
	return name;
}

static struct process *process_new(TALLOC_CTX *ctx, const struct service *service, struct process_config *config)
{
	struct process *p = talloc_zero(ctx, struct process);

	ASSERT(p);
	p->service = service;
	p->ctx = p;
	p->config = config;
	p->service_ctx = talloc_new(p);
	p->state = talloc_zero_size(p->service_ctx, MAX(service->state_size, (size_t)1));
	ASSERT(p->service_ctx && p->state);
	p->instance = name_instance(p, service);
	p->started_wall_ms = clock_wall_ms();
	p->tasks = process_tasks_new(p);
	p->clients = process_clients_new(p);
	atomic_store(&p->phase, PROCESS_STARTING);
	return p;
}

static void set_up_logging(const struct service *service, const struct process_config *c)
{
	enum log_level level = LOG_LEVEL_INFO;
	enum log_format format = LOG_FORMAT_TEXT;

	log_level_from_name(c->log_level, &level);
	log_format_from_name(c->log_format, &format);
	log_setup(service->name, level, format);
}

static int run(TALLOC_CTX *ctx, const struct service *service, struct process_config *config)
{
	struct process *p;
	struct err e;

	set_up_logging(service, config);
	p = process_new(ctx, service, config);
	set_up_loop(p);
	open_pool(p);
	if (process_start_http(p, &e) != ERR_OK) {
		LOG_ERROR("cannot start", LOG_ERR(&e));
		_exit(1);
	}
	ASSERT(uv_queue_work(&p->loop, &p->work, start_service, on_service_started) == 0);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	if (service->stop)
		service->stop(p->state);
	ASSERT(uv_loop_close(&p->loop) == 0);
	LOG_INFO("ended");
	return 0;
}

/* The command line ---------------------------------------------------------------------------------------------- */

static enum err_code load(TALLOC_CTX *ctx, const struct service *service, const struct process_command *command,
                          const struct config_option *options, struct process_config **out, struct err *e)
{
	ASSERT(service->config_size >= sizeof(struct process_config));
	*out = talloc_zero_size(ctx, service->config_size);
	ASSERT(*out);
	TRY(config_load(ctx, command->files, command->file_count, options, *out, e));
	return check(service, *out, e);
}

static int print_config(const struct config_option *options, const struct process_config *config)
{
	CLEANUP(buf_release) struct buf text;

	buf_init(&text, 4 * MIB);
	config_print(options, config, &text);
	if (buf_failed(&text) || fputs(text.bytes, stdout) == EOF || fflush(stdout) != 0)
		return 1;
	return 0;
}

/* Only what goes wrong is logged: stdout is for the result. */
static int check_and_end(TALLOC_CTX *ctx, const struct service *service, const struct process_config *config)
{
	struct db_options options = {.url = config->database_url, .application = service->name, .connections = 2};

	log_setup(service->name, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return service->check(config, service->schema ? db_pool_new(ctx, &options) : NULL);
}

int process_main(const struct service *service, int argc, char **argv)
{
	SCRATCH_CTX(ctx);
	const struct config_option *options = process_options(ctx, service->section, service->options);
	struct process_command command;
	struct process_config *config;
	struct err e;

	/* libarchive calls names outside ASCII damaged where the locale says they are. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "C.utf8");
	signal(SIGPIPE, SIG_IGN);
	if (!process_parse_command(ctx, service, argc, argv, &command))
		return 2;
	if (command.verb == COMMAND_HELP) {
		process_print_help(service, options);
		return 0;
	}
	if (command.verb == COMMAND_VERSION) {
		printf("%s %s\n", service->name, STOWAGE_VERSION);
		return 0;
	}
	if (load(ctx, service, &command, options, &config, &e) != ERR_OK) {
		fprintf(stderr, "%s: %s\n", service->name, e.text);
		return 1;
	}
	if (command.verb == COMMAND_PRINT)
		return print_config(options, config);
	if (command.verb == COMMAND_CHECK)
		return check_and_end(ctx, service, config);
	return run(ctx, service, config);
}
