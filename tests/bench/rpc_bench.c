/*
 * rpc_bench: round trips of an empty sealed message, beside bare nanomsg REQ/REP of the same size in the same run.
 *
 * Prints `name value unit` lines, then `ratio name value`: sealed to bare, in round trips and in the 99th percentile.
 *
 *     rpc_bench [seconds for each measurement; default 0.6]
 */
#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/rpc_server.h"

#include <arpa/inet.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "a secret for the bench alone"
#define THREADS_MAX 8
#define SAMPLES_MAX 400000
#define REQUEST_BYTES 280 /* what an empty request and its reply are, sealed */
#define REPLY_BYTES 89
#define PORTS_FROM 10000 /* below what outgoing connections are given */
#define PORTS 10000
#define PORT_TRIES 200

enum kind { BARE, PING, NOOP };

static const char *const kind_names[] = {"bare", "ping", "noop"};

/* Servers, each in a process of its own: nanomsg does not survive a fork, so this program is run again. ---------------
 */

static int serve_bare(const char *endpoint)
{
	int sock = nn_socket(AF_SP, NN_REP), one = 1;
	char request[4096], reply[REPLY_BYTES] = {0};

	nn_setsockopt(sock, NN_TCP, NN_TCP_NODELAY, &one, sizeof(one));
	if (nn_bind(sock, endpoint) < 0) {
		fprintf(stderr, "rpc_bench: cannot listen on %s: %s\n", endpoint, nn_strerror(nn_errno()));
		return 1;
	}
	while (nn_recv(sock, request, sizeof(request), 0) >= 0)
		nn_send(sock, reply, sizeof(reply), 0);
	return 0;
}

static enum err_code answer_nothing(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e)
{
	(void)call;
	(void)body;
	(void)e;
	*reply = NULL;
	return ERR_OK;
}

static int serve_sealed(const char *endpoint)
{
	struct rpc_server_options options = {
	    .name = "bench",
	    .endpoints = &endpoint,
	    .endpoint_count = 1,
	    .secret = {.current = SECRET},
	    .dispatch = answer_nothing,
	};
	struct rpc_server *server;
	struct err e;
	uv_loop_t loop;

	log_setup("bench", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	uv_loop_init(&loop);
	if (rpc_server_new(&loop, &options, &server, &e) != ERR_OK || rpc_server_start(server, &e) != ERR_OK) {
		fprintf(stderr, "rpc_bench: %s\n", e.text);
		return 1;
	}
	return uv_run(&loop, UV_RUN_DEFAULT);
}

static pid_t start_server(enum kind kind, const char *endpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/proc/self/exe", "rpc_bench", "serve", kind == BARE ? "bare" : "sealed", endpoint, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Clients ---------------------------------------------------------------------------------------------------------- */

struct load {
	enum kind kind;
	const char *endpoint;
	struct rpc_client *client; /* not for BARE */
	int64_t until_us;
	atomic_int failed;
	atomic_size_t samples;
	uint32_t *took_us; /* SAMPLES_MAX */
};

static bool one_bare(int sock)
{
	char request[REQUEST_BYTES] = {0}, reply[REPLY_BYTES];

	return nn_send(sock, request, sizeof(request), 0) == (int)sizeof(request) &&
	       nn_recv(sock, reply, sizeof(reply), 0) == (int)sizeof(reply);
}

static bool one_sealed(struct load *load)
{
	SCRATCH_CTX(ctx);
	struct rpc_request request = {.method = kind_names[load->kind], .account = "bench", .deadline_ms = 5000};
	struct rpc_reply reply;

	return rpc_client_call(load->client, &request, ctx, &reply, NULL) == ERR_OK;
}

static void run_load(struct load *load, int sock)
{
	int64_t now = clock_monotonic_us();

	while (now < load->until_us) {
		int64_t began = now;
		size_t at;

		if (!(load->kind == BARE ? one_bare(sock) : one_sealed(load)))
			atomic_fetch_add(&load->failed, 1);
		now = clock_monotonic_us();
		at = atomic_fetch_add(&load->samples, 1);
		if (at < SAMPLES_MAX)
			load->took_us[at] = (uint32_t)(now - began);
	}
}

/* The first call makes the connection, and is not part of the figures. */
static void *load_thread(void *arg)
{
	struct load *load = arg;
	int sock = -1, one = 1, wait_ms = 5000;
	bool connected;

	if (load->kind == BARE) {
		sock = nn_socket(AF_SP, NN_REQ);
		nn_setsockopt(sock, NN_TCP, NN_TCP_NODELAY, &one, sizeof(one));
		nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVTIMEO, &wait_ms, sizeof(wait_ms));
		nn_connect(sock, load->endpoint);
		connected = one_bare(sock);
	} else {
		connected = one_sealed(load);
	}
	if (connected)
		run_load(load, sock);
	else
		atomic_fetch_add(&load->failed, 1);
	if (sock >= 0)
		nn_close(sock);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct figures {
	double rate;
	uint32_t p50, p99;
};

static struct figures measure(struct load *load, int threads, double seconds)
{
	pthread_t thread[THREADS_MAX];
	int64_t began = clock_monotonic_us();
	struct figures figures;
	size_t count;

	load->until_us = began + (int64_t)(seconds * 1e6);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, load_thread, load);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	count = MIN(atomic_load(&load->samples), (size_t)SAMPLES_MAX);
	qsort(load->took_us, count, sizeof(load->took_us[0]), by_value);
	figures.rate = (double)atomic_load(&load->samples) / ((double)(clock_monotonic_us() - began) / 1e6);
	figures.p50 = load->took_us[count / 2];
	figures.p99 = load->took_us[count * 99 / 100];
	return figures;
}

static struct figures measure_kind(enum kind kind, const char *endpoint, int threads, double seconds)
{
	SCRATCH_CTX(ctx);
	struct load load = {.kind = kind, .endpoint = endpoint};
	struct rpc_client_options options = {
	    .name = "bench", .endpoints = &endpoint, .endpoint_count = 1, .secret = {.current = SECRET}};
	pid_t server = start_server(kind, endpoint);
	struct figures figures;
	struct err e;

	load.took_us = talloc_array(ctx, uint32_t, SAMPLES_MAX);
	if (kind != BARE && rpc_client_new(ctx, &options, &load.client, &e) != ERR_OK) {
		fprintf(stderr, "rpc_bench: %s\n", e.text);
		exit(1);
	}
	figures = measure(&load, threads, seconds);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	if (atomic_load(&load.failed) > 0 || atomic_load(&load.samples) == 0) {
		fprintf(stderr, "rpc_bench: %s: %d calls failed, %zu were answered\n", endpoint,
		        atomic_load(&load.failed), atomic_load(&load.samples));
		exit(1);
	}
	return figures;
}

static void compare(const char *transport, const char *endpoint, int threads, double seconds)
{
	struct figures bare = {0};

	for (enum kind kind = BARE; kind <= NOOP; kind++) {
		struct figures f = measure_kind(kind, endpoint, threads, seconds);
		char name[64];

		snprintf(name, sizeof(name), "rpc_%s_%s_%d", kind_names[kind], transport, threads);
		printf("%s_rate %.0f round_trips/s\n", name, f.rate);
		printf("%s_p50 %u us\n", name, f.p50);
		printf("%s_p99 %u us\n", name, f.p99);
		if (kind == BARE) {
			bare = f;
			continue;
		}
		printf("ratio %s_rate_to_bare %.2f\n", name, f.rate / bare.rate);
		printf("ratio %s_p99_to_bare %.2f\n", name, (double)f.p99 / bare.p99);
	}
}

static bool port_is_free(int port)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CLEANUP(fd_cleanup) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	       bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static int choose_port(void)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		int port = PORTS_FROM + (int)random_below(PORTS);

		if (port_is_free(port))
			return port;
	}
	fprintf(stderr, "rpc_bench: no free port from %d to %d\n", PORTS_FROM, PORTS_FROM + PORTS - 1);
	exit(1);
}

int main(int argc, char **argv)
{
	static const int threads[] = {1, 8};
	double seconds = argc == 2 ? strtod(argv[1], NULL) : 0.6;
	char ipc[64], tcp[64];

	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return strcmp(argv[2], "bare") == 0 ? serve_bare(argv[3]) : serve_sealed(argv[3]);
	if (!(seconds > 0 && seconds <= 60)) {
		fprintf(stderr, "usage: rpc_bench [seconds]\n");
		return 2;
	}
	alarm(300);
	snprintf(ipc, sizeof(ipc), "ipc:///tmp/stowage-rpc-bench-%d", getpid());
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		compare("ipc", ipc, threads[i], seconds);
		snprintf(tcp, sizeof(tcp), "tcp://127.0.0.1:%d", choose_port());
		compare("tcp", tcp, threads[i], seconds);
	}
	unlink(ipc + strlen("ipc://"));
	return 0;
}
