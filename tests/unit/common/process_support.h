/*
 * process_support: a small service, and what starts it, looks at it and ends it.
 *
 * The test program is also the service that it tests: called with "--service" first, it hands the rest of its command
 * line to process_main. The service runs in a temporary directory with the configuration tester.yaml, and writes to the
 * files out and err there.
 */
#ifndef TESTS_PROCESS_SUPPORT_H
#define TESTS_PROCESS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/process.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "0123456789abcdef-secret"

/* The service ---------------------------------------------------------------------------------------------------- */

struct settings {
	struct process_config process;
	const char *start, *needs;
};

struct state {
	struct process *process;
	const struct settings *settings;
};

static struct metric ticks = METRIC_COUNTER("tester_ticks_total", "Turns of the background work.");

static inline void tick(struct process *p UNUSED, void *state UNUSED)
{
	metric_add(&ticks, 1);
}

static inline enum err_code test_start(struct process *process, void *arg, struct err *e)
{
	struct state *state = arg;
	struct rpc_client *client;

	state->process = process;
	state->settings = process_configuration(process);
	if (strcmp(state->settings->start, "fail") == 0)
		return ERR(e, ERR_FORBIDDEN, "the test says no");
	if (*state->settings->needs)
		TRY(process_client(process, state->settings->needs, &client, e));
	process_every(process, "ticker", 3600000, tick);
	return ERR_OK;
}

static inline void test_drain(void *arg)
{
	struct state *state = arg;

	LOG_INFO("drain was called", LOG_NUMBER("draining", process_draining(state->process)));
}

static inline void test_stop(void *arg UNUSED)
{
	LOG_INFO("stop was called");
}

static inline enum err_code test_dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e)
{
	struct state *state = call->service;
	const cJSON *ms = cJSON_GetObjectItem(body, "ms");

	if (strcmp(call->method, "sleep") == 0) {
		usleep((useconds_t)(1000 * cJSON_GetNumberValue(ms)));
		*reply = cJSON_CreateObject();
		return ERR_OK;
	}
	if (strcmp(call->method, "wake") == 0) {
		process_wake(state->process, "ticker");
		*reply = cJSON_CreateObject();
		return ERR_OK;
	}
	if (strcmp(call->method, "lounge") == 0) { /* ends when draining starts */
		*reply = cJSON_CreateObject();
		cJSON_AddBoolToObject(*reply, "drained", process_sleep(state->process, 60000));
		return ERR_OK;
	}
	return ERR(e, ERR_NOT_FOUND, "no method %s", call->method);
}

static const struct config_option own_options[] = {
    {"catalog.start", CONFIG_TEXT, offsetof(struct settings, start), "", .help = "What becomes of the start."},
    {"catalog.needs", CONFIG_TEXT, offsetof(struct settings, needs), "", .help = "A client to make at start."},
    CONFIG_END,
};

static const struct db_migration migrations[] = {{1, "only", "CREATE TABLE process_test.t (x integer)"}};

static inline int serve(int argc, char **argv)
{
	static const struct service service = {
	    .name = "tester",
	    .section = "catalog",
	    .options = own_options,
	    .config_size = sizeof(struct settings),
	    .schema = "process_test",
	    .migrations = migrations,
	    .migration_count = 1,
	    .dispatch = test_dispatch,
	    .state_size = sizeof(struct state),
	    .start = test_start,
	    .drain = test_drain,
	    .stop = test_stop,
	};

	return process_main(&service, argc, argv);
}

/* The test's side -------------------------------------------------------------------------------------------------- */

static char directory[] = "/tmp/stowage-process-XXXXXX";

struct service_run {
	pid_t pid;
	int http_port;
};

static inline void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline char *read_text(TALLOC_CTX *ctx, const char *path)
{
	char *text = talloc_zero_size(ctx, 64 * KIB);
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	text[fread(text, 1, 64 * KIB - 1, f)] = '\0';
	fclose(f);
	return text;
}

static inline int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* At most three arguments after --service; output goes to files out and err. */
static inline pid_t spawn(const char *const *arguments, bool as_first_process)
{
	long flags = SIGCHLD | (as_first_process ? CLONE_NEWPID : 0);
	pid_t pid;

	write_text("out", "");
	write_text("err", "");
	pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);

	if (pid != 0)
		return pid;
	if (as_first_process) /* the leak checker finds no threads where /proc is that of another namespace */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
	if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr))
		_exit(99);
	execl("/proc/self/exe", "tester", "--service", arguments[0], arguments[1], arguments[2], NULL);
	_exit(99);
}

/* The exit status, or -1 if it did not end by then. */
static inline int wait_end(pid_t pid, int64_t wait_ms)
{
	int64_t until_ms = clock_monotonic_ms() + wait_ms;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_monotonic_ms() >= until_ms) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		usleep(10000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int run(const char *const *arguments)
{
	return wait_end(spawn(arguments, false), 20000);
}

/* The status line's number; the body goes to body (64 KiB), if given. 0: no answer. */
static inline int http_get(int port, const char *request, char *body)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 10};
	char answer[64 * KIB] = "";
	size_t len = 0;
	ssize_t got;
	int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		while ((got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
			len += (size_t)got;
	close(fd);
	sscanf(answer, "HTTP/1.1 %d", &status);
	if (body)
		snprintf(body, 64 * KIB, "%s", strstr(answer, "\r\n\r\n") ? strstr(answer, "\r\n\r\n") + 4 : "");
	return status;
}

static inline int get(const struct service_run *s, const char *path, char *body)
{
	char request[256];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	return http_get(s->http_port, request, body);
}

/* What the service wrote, for whoever reads about a failure. */
static inline bool failed_waiting(const char *what)
{
	SCRATCH_CTX(ctx);

	print_error("waited in vain for %s; stderr of the service:\n%s\n", what, read_text(ctx, "err"));
	return false;
}

static inline bool await_status(const struct service_run *s, const char *path, int status)
{
	for (int i = 0; i < 200; i++) {
		if (get(s, path, NULL) == status)
			return true;
		usleep(50000);
	}
	return failed_waiting(path);
}

/* Writes tester.yaml: a working configuration, with lines added to the section catalog. */
static inline void configure(struct service_run *s, const char *more)
{
	SCRATCH_CTX(ctx);

	s->http_port = free_port();
	write_text("tester.yaml", talloc_asprintf(ctx,
	                                          "cluster_secret: " SECRET "\n"
	                                          "database: {url: '${STOWAGE_TEST_DB}'}\n"
	                                          "catalog:\n"
	                                          "  listen: ipc://%s/tester.ipc\n"
	                                          "  http_listen: 127.0.0.1:%d\n"
	                                          "%s",
	                                          directory, s->http_port, more));
}

static const char *const with_config[] = {"--config", "tester.yaml", NULL};

static inline struct service_run start_as(const char *more, bool as_first_process)
{
	struct service_run s;

	configure(&s, more);
	s.pid = spawn(with_config, as_first_process);
	assert_true(s.pid > 0);
	return s;
}

static inline struct service_run start(const char *more)
{
	struct service_run s = start_as(more, false);

	assert_true(await_status(&s, "/readyz", 200));
	return s;
}

static inline bool logged(const char *text)
{
	SCRATCH_CTX(ctx);

	return strstr(read_text(ctx, "err"), text);
}

static inline bool await_logged(const char *text)
{
	for (int i = 0; i < 200; i++) {
		if (logged(text))
			return true;
		usleep(50000);
	}
	return failed_waiting(text);
}

static inline int end(const struct service_run *s, int64_t wait_ms)
{
	int status;

	kill(s->pid, SIGTERM);
	status = wait_end(s->pid, wait_ms);
	if (status != 0)
		failed_waiting("status 0");
	return status;
}

static inline void control(const char *verb)
{
	const char *program = getenv("STOWAGE_TEST_DB_CTL");
	char command[512];

	if (!program)
		skip();
	snprintf(command, sizeof(command), "timeout 60 %s %s", program, verb);
	assert_int_equal(system(command), 0);
}

/* One call on a client of its own, on a thread of its own. */
struct call {
	const char *method;
	int ms;
	pthread_t thread;
	enum err_code code;
	bool drained;
};

static inline void *make_call(void *arg)
{
	SCRATCH_CTX(ctx);
	struct call *call = arg;
	const char *endpoint = talloc_asprintf(ctx, "ipc://%s/tester.ipc", directory);
	struct rpc_client_options options = {.name = "tester",
	                                     .endpoints = &endpoint,
	                                     .endpoint_count = 1,
	                                     .secret = {.current = SECRET},
	                                     .principal = "process_test"};
	struct rpc_client *client;
	struct rpc_reply reply = {0};
	cJSON *body = cJSON_CreateObject();

	cJSON_AddNumberToObject(body, "ms", call->ms);
	call->code = rpc_client_new(ctx, &options, &client, NULL);
	if (call->code == ERR_OK)
		call->code = rpc_client_call(client,
		                             &(struct rpc_request){.method = call->method,
		                                                   .body = body,
		                                                   .deadline_ms = call->ms + 5000,
		                                                   .attempt_ms = call->ms + 4000},
		                             ctx, &reply, NULL);
	call->drained = call->code == ERR_OK && cJSON_IsTrue(cJSON_GetObjectItem(reply.body, "drained"));
	cJSON_Delete(body);
	return NULL;
}

static inline void begin_call(struct call *call)
{
	assert_int_equal(pthread_create(&call->thread, NULL, make_call, call), 0);
}

#endif
