#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/common/rpc_calls.h"

static void nobody_there_is_unavailable_soon(void **state)
{
	const char *const endpoints[] = {ipc_a, "tcp://127.0.0.1:1"};
	SCRATCH_CTX(ctx);
	struct rpc_client_options options = {
	    .name = "catalog",
	    .endpoints = endpoints,
	    .endpoint_count = 2,
	    .secret = {.current = PEER_SECRET},
	    .connect_wait_ms = 700,
	};
	struct rpc_request request = {.method = "noop", .deadline_ms = PEER_WAIT_MS};
	int64_t began = clock_monotonic_ms();
	struct rpc_client *client;
	struct rpc_reply reply;
	struct err e;

	(void)state;
	assert_int_equal(rpc_client_new(ctx, &options, &client, &e), ERR_OK);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_UNAVAILABLE);
	assert_true(clock_monotonic_ms() - began >= 700);
	assert_true(clock_monotonic_ms() - began < 50000);
	assert_non_null(strstr(e.text, "catalog cannot be reached"));
	request.deadline_ms = 100;
	began = clock_monotonic_ms();
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_UNAVAILABLE);
	assert_true(clock_monotonic_ms() - began < 5000);
}

static void a_service_that_starts_late_is_waited_for(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	pid_t pid = fork(), server;

	(void)state;
	if (pid == 0) {
		usleep(600 * 1000);
		execl("/proc/self/exe", "peer", "serve", ipc_a, (char *)NULL);
		_exit(127);
	}
	server = (pid_t)whoami(client);
	assert_int_equal(server, pid);
	peer_kill(pid);
}

static void a_service_that_restarts_is_found_again(void **state)
{
	const char *const endpoints[] = {tcp_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	pid_t pid = peer_spawn(tcp_a);

	(void)state;
	assert_int_equal(whoami(client), pid);
	for (int i = 0; i < 3; i++) {
		peer_kill(pid);
		pid = peer_spawn(tcp_a);
		assert_int_equal(whoami(client), pid);
	}
	peer_kill(pid);
}

/* Asks until both processes have answered. */
static bool both_answer(struct rpc_client *client, pid_t a, pid_t b)
{
	int64_t until = clock_monotonic_ms() + PEER_WAIT_MS;
	bool seen_a = false, seen_b = false;

	while (!(seen_a && seen_b) && clock_monotonic_ms() < until) {
		int64_t pid = whoami(client);

		seen_a |= pid == a;
		seen_b |= pid == b;
	}
	return seen_a && seen_b;
}

static void a_frozen_replica_costs_the_first_timeout_and_no_more(void **state)
{
	enum { CALLS = 20, ATTEMPT_MS = 1500 };
	const char *const endpoints[] = {tcp_a, ipc_b};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 2);
	pid_t a = peer_spawn(tcp_a), b = peer_spawn(ipc_b);
	struct rpc_request request = {.method = "noop", .deadline_ms = PEER_WAIT_MS, .attempt_ms = ATTEMPT_MS};
	int64_t began;
	int slow = 0;

	(void)state;
	assert_true(both_answer(client, a, b));
	kill(a, SIGSTOP);
	began = clock_monotonic_ms();
	for (int i = 0; i < CALLS; i++) {
		int64_t call_began = clock_monotonic_ms();
		struct rpc_reply reply;
		struct err e;

		assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_OK);
		assert_int_equal(peer_number(reply.body, "pid"), b);
		slow += clock_monotonic_ms() - call_began >= ATTEMPT_MS;
	}
	assert_int_equal(slow, 1); /* it was provoked, and once */
	assert_true(clock_monotonic_ms() - began < 3 * ATTEMPT_MS);
	kill(a, SIGCONT);
	assert_true(both_answer(client, a, b));
	peer_kill(a);
	peer_kill(b);
}

static void a_slow_request_is_no_reason_to_take_an_endpoint_out(void **state)
{
	const char *const endpoints[] = {ipc_a, ipc_b};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 2);
	cJSON *body = cJSON_Parse("{\"ms\":1500}");
	struct rpc_request request = {.method = "sleep", .body = body, .deadline_ms = PEER_WAIT_MS, .attempt_ms = 300};
	struct peer a = {0}, b = {0};
	struct rpc_reply reply;
	struct err e;

	(void)state;
	peer_start(&a, ipc_a);
	peer_start(&b, ipc_b);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_OK);
	assert_int_equal(atomic_load(&a.log.runs) + atomic_load(&b.log.runs), 1); /* the copies joined it */
	cJSON_Delete(body);
	peer_stop(&a);
	peer_stop(&b);
}

struct mutation {
	struct rpc_client *client;
	char body[256];
	enum err_code code;
};

static void *run_mutation(void *arg)
{
	struct mutation *m = arg;
	SCRATCH_CTX(ctx);
	struct rpc_reply reply;
	struct err e;

	m->code = call(m->client, ctx, "mutate", m->body, &reply, &e);
	return NULL;
}

static bool wait_for_file(const char *name)
{
	for (int i = 0; i < PEER_WAIT_MS / 5; i++) {
		if (peer_file_size(dir.path, name) > 0)
			return true;
		usleep(5000);
	}
	return false;
}

/* Kills, of the two, the one that runs the mutation; returns the other. */
static pid_t kill_the_one_at_work(pid_t a, pid_t b)
{
	char of_a[32];
	bool a_works;

	snprintf(of_a, sizeof(of_a), "pid-%jd", (intmax_t)a);
	assert_true(wait_for_file("runs"));
	usleep(20 * 1000); /* from "runs" to "pid-N" */
	a_works = peer_file_size(dir.path, of_a) > 0;
	peer_kill(a_works ? a : b);
	return a_works ? b : a;
}

static void a_server_killed_in_a_mutation_leaves_one_effect(void **state)
{
	const char *const endpoints[] = {ipc_a, tcp_b};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 2);
	struct mutation m = {.client = client};
	pid_t a = peer_spawn(ipc_a), b = peer_spawn(tcp_b), left;
	pthread_t thread;

	(void)state;
	assert_true(both_answer(client, a, b));
	snprintf(m.body, sizeof(m.body), "{\"dir\":\"%s\",\"key\":\"k\",\"ms\":400}", dir.path);
	assert_int_equal(pthread_create(&thread, NULL, run_mutation, &m), 0);
	left = kill_the_one_at_work(a, b);
	pthread_join(thread, NULL);
	assert_int_equal(m.code, ERR_OK);
	assert_int_equal(peer_file_size(dir.path, "effects"), 1);
	assert_int_equal(peer_file_size(dir.path, "runs"), 2); /* it did begin twice */
	peer_kill(left);
}

/* Of several endpoints one is chosen at random to begin with, so a new client often meets the dead one first. */
static void a_dead_replica_costs_a_new_client_next_to_nothing(void **state)
{
	enum { CLIENTS = 12 };
	const char *const sets[][2] = {{ipc_a, ipc_b}, {ipc_a, tcp_b}};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sets); s++) {
		pid_t alive = peer_spawn(sets[s][0]), dead = peer_spawn(sets[s][1]);
		TALLOC_CTX *before = talloc_new(NULL);
		int64_t worst = 0;

		assert_true(both_answer(client_for(before, sets[s], 2), alive, dead));
		talloc_free(before);
		peer_kill(dead);
		for (int i = 0; i < CLIENTS; i++) {
			TALLOC_CTX *ctx = talloc_new(NULL);
			struct rpc_client *client = client_for(ctx, sets[s], 2);
			int64_t began = clock_monotonic_ms();

			assert_int_equal(whoami(client), alive);
			talloc_free(ctx);
			worst = MAX(worst, clock_monotonic_ms() - began);
		}
		assert_true(worst < 200);
		peer_kill(alive);
	}
}

static void a_client_that_is_freed_while_an_endpoint_is_out_ends_soon(void **state)
{
	const char *const endpoints[] = {ipc_a, ipc_b};
	TALLOC_CTX *ctx = talloc_new(NULL);
	struct rpc_client *client = client_for(ctx, endpoints, 2);
	pid_t a = peer_spawn(ipc_a);
	int64_t began;

	(void)state;
	for (int i = 0; i < 4; i++) /* b is tried, found missing, and pinged from then on */
		assert_int_equal(whoami(client), a);
	began = clock_monotonic_ms();
	talloc_free(ctx);
	assert_true(clock_monotonic_ms() - began < 1000);
	peer_kill(a);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_addresses, remove_addresses)
	const struct CMUnitTest tests[] = {
	    TEST(nobody_there_is_unavailable_soon),
	    TEST(a_service_that_starts_late_is_waited_for),
	    TEST(a_service_that_restarts_is_found_again),
	    TEST(a_frozen_replica_costs_the_first_timeout_and_no_more),
	    TEST(a_slow_request_is_no_reason_to_take_an_endpoint_out),
	    TEST(a_server_killed_in_a_mutation_leaves_one_effect),
	    TEST(a_dead_replica_costs_a_new_client_next_to_nothing),
	    TEST(a_client_that_is_freed_while_an_endpoint_is_out_ends_soon),
	};

	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return peer_serve(argc - 2, argv + 2);
	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
