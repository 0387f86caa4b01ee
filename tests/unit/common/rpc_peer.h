/*
 * rpc_peer: real servers for the tests of rpc: one in this process, on a thread, or several in processes of their own
 * that can be stopped and killed.
 *
 * A test program that uses processes starts with
 *
 *     if (argc > 1 && strcmp(argv[1], "serve") == 0)
 *             return peer_serve(argc - 2, argv + 2);
 *
 * because a process is this program run again: nanomsg does not survive a fork.
 */
#ifndef TESTS_UNIT_COMMON_RPC_PEER_H
#define TESTS_UNIT_COMMON_RPC_PEER_H

#include "common/clock.h"
#include "common/metrics.h"
#include "common/rpc_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER_SECRET "correct horse battery staple"
#define PEER_WAIT_MS 20000 /* the most that any wait of these tests takes */

/* What handlers did, for tests in the same process. */
struct peer_log {
	atomic_int runs;
	atomic_bool hold; /* "held" waits until this is false */
};

static inline int64_t peer_number(const cJSON *body, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, name);

	return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

static inline const char *peer_text(const cJSON *body, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, name));

	return text ? text : "";
}

static inline void peer_append(const char *dir, const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ASSERT(fd >= 0 && write(fd, "x", 1) == 1);
	close(fd);
}

static inline long peer_file_size(const char *dir, const char *name)
{
	char path[512];
	FILE *file;
	long size;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "r");
	if (!file)
		return 0;
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	fclose(file);
	return size;
}

/* An idempotent mutation: the effect ("effects" grows by a byte) happens for a key at most once, whoever does it;
 * "runs" says how often the handler began, "pid-N" that process N did. Then it takes its time before it answers. */
static inline enum err_code peer_mutate(const cJSON *body, struct err *e)
{
	const char *dir = peer_text(body, "dir");
	char path[512], me[64];
	int fd;

	snprintf(path, sizeof(path), "%s/key-%s", dir, peer_text(body, "key"));
	snprintf(me, sizeof(me), "pid-%jd", (intmax_t)getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return ERR_SYS(e, ERR_INTERNAL, "cannot create %s", path);
	if (fd >= 0) {
		close(fd);
		peer_append(dir, "effects");
	}
	peer_append(dir, "runs");
	peer_append(dir, me);
	usleep((useconds_t)peer_number(body, "ms") * 1000);
	return ERR_OK;
}

static inline void peer_add_metric(const struct metric *m, void *arg)
{
	cJSON_AddNumberToObject(arg, m->name, (double)metric_read(m));
}

static inline enum err_code peer_fail(const cJSON *body, struct err *e)
{
	enum err_code code = ERR_INTERNAL;

	ASSERT(err_from_wire(peer_number(body, "code"), &code));
	err_set(e, code, 0, __FILE__, __LINE__, "asked to fail with %s", err_name(code));
	e->retry_ms = (unsigned)peer_number(body, "retry_ms");
	return code;
}

static inline void peer_fill_payload(struct rpc_call *call, size_t len)
{
	uint8_t *bytes = talloc_array(call->ctx, uint8_t, len);

	ASSERT(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
	call->reply_payload = bytes;
	call->reply_payload_len = len;
}

static inline enum err_code peer_dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e)
{
	struct peer_log *log = call->service;

	atomic_fetch_add(&log->runs, 1);
	*reply = cJSON_CreateObject();
	cJSON_AddNumberToObject(*reply, "pid", getpid());
	if (strcmp(call->method, "noop") == 0)
		return ERR_OK;
	if (strcmp(call->method, "echo") == 0) {
		cJSON_AddItemToObject(*reply, "body", cJSON_Duplicate(body, true));
		cJSON_AddStringToObject(*reply, "account", call->account);
		cJSON_AddStringToObject(*reply, "principal", call->principal);
		cJSON_AddStringToObject(*reply, "trace", call->trace_id);
		cJSON_AddStringToObject(*reply, "id", call->request_id);
		call->reply_payload = call->payload;
		call->reply_payload_len = call->payload_len;
	} else if (strcmp(call->method, "sleep") == 0) {
		usleep((useconds_t)peer_number(body, "ms") * 1000);
	} else if (strcmp(call->method, "held") == 0) {
		for (int i = 0; atomic_load(&log->hold) && i < PEER_WAIT_MS; i++)
			usleep(1000);
	} else if (strcmp(call->method, "mutate") == 0) {
		return peer_mutate(body, e);
	} else if (strcmp(call->method, "big") == 0) {
		peer_fill_payload(call, (size_t)peer_number(body, "bytes"));
	} else if (strcmp(call->method, "fail") == 0) {
		return peer_fail(body, e);
	} else if (strcmp(call->method, "metrics") == 0) {
		metrics_each(peer_add_metric, *reply);
	} else if (strcmp(call->method, "deadline") == 0) {
		usleep((useconds_t)peer_number(body, "ms") * 1000);
		return rpc_check_deadline(call, e);
	} else {
		return ERR(e, ERR_UNSUPPORTED, "no method %s", call->method);
	}
	return ERR_OK;
}

/* In this process -------------------------------------------------------------------------------------------------- */

struct peer {
	struct peer_log log;
	struct rpc_server_options options;
	const char *endpoint;
	uv_loop_t loop;
	uv_async_t drain, end;
	struct rpc_server *server;
	pthread_t thread;
	atomic_bool drained;
};

static inline void peer_note_drained(void *arg)
{
	struct peer *p = arg;

	atomic_store(&p->drained, true);
}

static inline void peer_on_drain(uv_async_t *handle)
{
	struct peer *p = handle->data;

	rpc_server_drain(p->server, peer_note_drained, p);
}

static inline void peer_on_end(uv_async_t *handle)
{
	struct peer *p = handle->data;

	rpc_server_free(p->server);
	uv_close((uv_handle_t *)&p->drain, NULL);
	uv_close((uv_handle_t *)&p->end, NULL);
}

static inline void *peer_loop(void *arg)
{
	struct peer *p = arg;

	uv_run(&p->loop, UV_RUN_DEFAULT);
	return NULL;
}

static inline void peer_setup(struct peer *p, const char *endpoint)
{
	struct err e = {0};

	p->endpoint = endpoint;
	p->options.name = p->options.name ? p->options.name : "peer";
	p->options.endpoints = &p->endpoint;
	p->options.endpoint_count = 1;
	p->options.dispatch = peer_dispatch;
	p->options.service = &p->log;
	if (!p->options.secret.current)
		p->options.secret.current = PEER_SECRET;
	ASSERT(uv_loop_init(&p->loop) == 0);
	if (rpc_server_new(&p->loop, &p->options, &p->server, &e) != ERR_OK ||
	    rpc_server_start(p->server, &e) != ERR_OK) {
		fprintf(stderr, "peer: %s\n", e.text);
		abort();
	}
}

/* options other than endpoint, dispatch and service are as the caller left them; zeroed is fine. */
static inline void peer_start(struct peer *p, const char *endpoint)
{
	peer_setup(p, endpoint);
	ASSERT(uv_async_init(&p->loop, &p->drain, peer_on_drain) == 0);
	ASSERT(uv_async_init(&p->loop, &p->end, peer_on_end) == 0);
	p->drain.data = p->end.data = p;
	ASSERT(pthread_create(&p->thread, NULL, peer_loop, p) == 0);
}

static inline void peer_stop(struct peer *p)
{
	uv_async_send(&p->end);
	pthread_join(p->thread, NULL);
	ASSERT(uv_loop_close(&p->loop) == 0);
}

/* In a process of its own ------------------------------------------------------------------------------------------ */

/* Serves until it is killed. arguments: endpoint */
static inline int peer_serve(int argc, char **argv)
{
	static struct peer p;

	if (argc != 1)
		return 2;
	alarm(120); /* a test that dies leaves nobody behind for long */
	peer_setup(&p, argv[0]);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	return 0;
}

static inline pid_t peer_spawn(const char *endpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "peer", "serve", endpoint, (char *)NULL);
		_exit(127);
	}
	ASSERT(pid > 0);
	return pid;
}

static inline void peer_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A port nobody listens on: the system does not hand it out again soon. */
static inline int peer_free_port(void)
{
	CLEANUP(fd_cleanup) int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t len = sizeof(any);

	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0);
	ASSERT(getsockname(fd, (struct sockaddr *)&any, &len) == 0);
	return ntohs(any.sin_port);
}

/* A directory of the test's own, removed by peer_remove_dir. */
struct peer_dir {
	char path[64];
};

static inline struct peer_dir peer_make_dir(void)
{
	struct peer_dir dir = {"/tmp/stowage-rpc-test-XXXXXX"};

	ASSERT(mkdtemp(dir.path));
	return dir;
}

static inline void peer_remove_dir(const struct peer_dir *dir)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir->path, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

#endif
