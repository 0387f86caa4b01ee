#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/common/rpc_frames.h"

#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>

/* What comes again ----------------------------------------------------------------------------------------------------
 */

static void a_copy_joins_the_running_request_and_both_are_answered(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL), *later = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted held = {.id = "one", .method = "held"};
	struct transport_socket *a = connect_to(address), *b = connect_to(address), *c = connect_to(address);
	struct transport_message m = seal(good, &held);
	int64_t joined = metric_value("stowage_rpc_joined_total");
	int64_t resent = metric_value("stowage_rpc_resent_total");
	struct peer p = {0};
	struct err e;

	(void)state;
	atomic_store(&p.log.hold, true);
	peer_start(&p, address);
	send_on(a, copy_of(m.bytes, m.len));
	send_on(b, copy_of(m.bytes, m.len)); /* as nanomsg sends it again: the same bytes */
	send_on(c, seal(later, &held));      /* as a client does: sealed anew */
	assert_true(metric_becomes("stowage_rpc_joined_total", joined + 2));
	atomic_store(&p.log.hold, false);
	assert_int_equal(reply_on(a, good, "one", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	assert_int_equal(reply_on(b, good, "one", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	assert_int_equal(reply_on(c, good, "one", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	send_on(a, m); /* finished by now: the kept reply, for the same bytes and for new ones */
	assert_int_equal(reply_on(a, good, "one", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	assert_int_equal(ask(later, &held, PEER_WAIT_MS, &e), ERR_OK);
	assert_int_equal(metric_value("stowage_rpc_resent_total"), resent + 2);
	assert_int_equal(atomic_load(&p.log.runs), 1);
	transport_close(a);
	transport_close(b);
	transport_close(c);
	peer_stop(&p);
}

static void the_same_id_from_another_account_is_another_request(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted requests[] = {
	    {.id = "one", .method = "noop"},
	    {.id = "one", .method = "noop", .account = "other"},
	    {.id = "one", .method = "echo"},
	};
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, address);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		assert_int_equal(ask(good, &requests[i], PEER_WAIT_MS, &e), ERR_OK);
	assert_int_equal(atomic_load(&p.log.runs), ARRAY_SIZE(requests));
	peer_stop(&p);
}

static void an_answer_to_come_back_later_is_not_kept(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted later = {.id = "l", .method = "fail", .body = "{\"code\":10}"};
	const struct wanted never = {.id = "n", .method = "fail", .body = "{\"code\":4}"};
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, address);
	assert_int_equal(ask(good, &later, PEER_WAIT_MS, &e), ERR_EXHAUSTED);
	assert_int_equal(ask(good, &later, PEER_WAIT_MS, &e), ERR_EXHAUSTED);
	assert_int_equal(atomic_load(&p.log.runs), 2);
	assert_int_equal(ask(good, &never, PEER_WAIT_MS, &e), ERR_NOT_FOUND);
	assert_int_equal(ask(good, &never, PEER_WAIT_MS, &e), ERR_NOT_FOUND);
	assert_int_equal(atomic_load(&p.log.runs), 3);
	peer_stop(&p);
}

/*
 * An ordinary REQ socket, as other people's programs use it, in a process of its own: one that sent a message again may
 * abort when it is closed, or leak. arguments: resend interval, id, body, endpoints. Exits 0 when the reply came and
 * opens.
 */
static int plain_requester(int argc, char **argv)
{
	TALLOC_CTX *ctx = talloc_new(NULL);
	struct frame_ring *ring = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted mutate = {.id = argv[1], .method = "mutate", .body = argv[2]};
	int sock = nn_socket(AF_SP, NN_REQ), again_ms = (int)strtol(argv[0], NULL, 10), wait_ms = PEER_WAIT_MS, got;
	struct transport_message m = seal(ring, &mutate);
	static uint8_t reply[4096];
	struct frame frame;

	nn_setsockopt(sock, NN_REQ, NN_REQ_RESEND_IVL, &again_ms, sizeof(again_ms));
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVTIMEO, &wait_ms, sizeof(wait_ms));
	for (int i = 3; i < argc; i++)
		if (nn_connect(sock, argv[i]) < 0)
			_exit(2);
	for (int i = 0; nn_get_statistic(sock, NN_STAT_CURRENT_CONNECTIONS) < (uint64_t)argc - 3; i++, usleep(1000))
		if (i == PEER_WAIT_MS)
			_exit(3);
	if (nn_send(sock, m.bytes, m.len, 0) != (int)m.len)
		_exit(4);
	got = nn_recv(sock, reply, sizeof(reply), 0);
	if (got <= 0 || frame_open(ring, argv[1], reply, (size_t)got, &frame) != FRAME_FINE)
		_exit(5);
	_exit(0);
}

static pid_t start_requester(const char *again_ms, const char *body, const char *a, const char *b)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "requester", "request", again_ms, "m", body, a, b, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int exit_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The fact itself: an ordinary REQ socket sends again on its own, here to the same server because of its timer. */
static void what_nanomsg_sends_again_runs_once(void **state)
{
	int64_t joined = metric_value("stowage_rpc_joined_total");
	struct peer p = {0};
	char body[128];

	(void)state;
	snprintf(body, sizeof(body), "{\"dir\":\"%s\",\"key\":\"k\",\"ms\":400}", dir.path);
	peer_start(&p, address);
	assert_int_equal(exit_of(start_requester("60", body, address, NULL)), 0);
	assert_true(metric_value("stowage_rpc_joined_total") > joined); /* it was provoked */
	assert_int_equal(peer_file_size(dir.path, "runs"), 1);
	assert_int_equal(peer_file_size(dir.path, "effects"), 1);
	peer_stop(&p);
}

/* And to another replica, at once, when the first is killed with the request in its hands, whatever its timer says. */
static void what_nanomsg_sends_to_another_replica_has_its_effect_once(void **state)
{
	char body[128], of_a[32];
	pid_t a = peer_spawn(address), b = peer_spawn(other_address), requester;
	bool a_works;

	(void)state;
	snprintf(body, sizeof(body), "{\"dir\":\"%s\",\"key\":\"k\",\"ms\":300}", dir.path);
	snprintf(of_a, sizeof(of_a), "pid-%jd", (intmax_t)a);
	requester = start_requester("3600000", body, address, other_address);
	for (int i = 0; peer_file_size(dir.path, "runs") == 0 && i < PEER_WAIT_MS; i++)
		usleep(1000);
	usleep(20 * 1000);
	a_works = peer_file_size(dir.path, of_a) > 0;
	peer_kill(a_works ? a : b);
	assert_int_equal(exit_of(requester), 0);
	assert_int_equal(peer_file_size(dir.path, "runs"), 2); /* it was provoked */
	assert_int_equal(peer_file_size(dir.path, "effects"), 1);
	peer_kill(a_works ? b : a);
}

static int send_raw(int sock, uint32_t number, struct transport_message *m)
{
	_Alignas(size_t) uint8_t control[64] = {0};
	uint8_t id[4] = {0x80, 0, 0, (uint8_t)number};
	struct nn_cmsghdr first = {.cmsg_level = PROTO_SP, .cmsg_type = SP_HDR};
	size_t len = sizeof(id);
	struct nn_iovec part = {.iov_base = m->bytes, .iov_len = m->len};
	struct nn_msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
	int sent;

	first.cmsg_len = header.msg_controllen = NN_CMSG_SPACE(sizeof(len) + sizeof(id));
	memcpy(control, &first, sizeof(first));
	memcpy(control + sizeof(first), &len, sizeof(len));
	memcpy(control + sizeof(first) + sizeof(len), id, sizeof(id));
	sent = nn_sendmsg(sock, &header, 0);
	transport_message_release(m);
	return sent;
}

/* The fact itself: replies to one connection that has not taken the last one yet vanish. Whoever misses one asks again
 * under the same id and gets it. */
static void a_reply_lost_on_a_busy_pipe_is_there_when_asked_again(void **state)
{
	enum { REQUESTS = 12 };
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	int sock = nn_socket(AF_SP_RAW, NN_REQ), wait_ms = 500, max = (int)RPC_FRAME_MAX, arrived = 0;
	struct peer p = {.options = {.threads = 4}};
	char id[16];
	const struct wanted big = {.id = id, .method = "big", .body = "{\"bytes\":4000000}"};

	(void)state;
	peer_start(&p, address);
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVTIMEO, &wait_ms, sizeof(wait_ms));
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVMAXSIZE, &max, sizeof(max));
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_SNDTIMEO, &(int){PEER_WAIT_MS}, sizeof(int));
	assert_true(nn_connect(sock, address) >= 0);
	for (int i = 0; i < REQUESTS; i++) {
		struct transport_message m;

		snprintf(id, sizeof(id), "id-%d", i);
		m = seal(good, &big);
		assert_true(send_raw(sock, (uint32_t)i, &m) > 0);
	}
	for (void *bytes = NULL; nn_recv(sock, &bytes, NN_MSG, 0) > 0; arrived++)
		nn_freemsg(bytes);
	assert_true(arrived < REQUESTS); /* it was provoked */
	nn_close(sock);
	for (int i = 0; i < REQUESTS; i++) {
		struct err e;

		snprintf(id, sizeof(id), "id-%d", i);
		assert_int_equal(ask(good, &big, PEER_WAIT_MS, &e), ERR_OK);
	}
	peer_stop(&p);
}

/* Load and ending -----------------------------------------------------------------------------------------------------
 */

static void more_than_the_queue_holds_is_told_to_come_back(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	struct transport_socket *s[3];
	static const char *const ids[] = {"0", "1", "2"};
	const struct wanted over = {.id = "over", .method = "noop"};
	const struct wanted ping = {.id = "ping", .method = "ping"};
	struct peer p = {.options = {.threads = 1, .queue_max = 2}};
	struct err e;

	(void)state;
	atomic_store(&p.log.hold, true);
	peer_start(&p, address);
	for (int i = 0; i < 3; i++) {
		const struct wanted held = {.id = ids[i], .method = "held"};

		s[i] = connect_to(address);
		send_on(s[i], seal(good, &held));
		assert_true(metric_becomes("stowage_rpc_busy", i + 1));
		for (int n = 0; i == 0 && atomic_load(&p.log.runs) == 0 && n < PEER_WAIT_MS; n++)
			usleep(1000); /* the first is out of the queue */
	}
	assert_int_equal(ask(good, &over, PEER_WAIT_MS, &e), ERR_UNAVAILABLE);
	assert_true(e.retry_ms > 0);
	assert_int_equal(ask(good, &ping, PEER_WAIT_MS, &e), ERR_OK);
	atomic_store(&p.log.hold, false);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(reply_on(s[i], good, ids[i], ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
		transport_close(s[i]);
	}
	assert_int_equal(ask(good, &over, PEER_WAIT_MS, &e), ERR_OK); /* the same id runs now */
	peer_stop(&p);
}

static void a_request_that_waited_too_long_is_not_run(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted held = {.id = "h", .method = "held"};
	const struct wanted late = {.id = "l", .method = "noop", .deadline_ms = 50};
	struct transport_socket *a = connect_to(address), *b = connect_to(address);
	struct peer p = {.options = {.threads = 1}};
	struct err e;

	(void)state;
	atomic_store(&p.log.hold, true);
	peer_start(&p, address);
	send_on(a, seal(good, &held));
	assert_true(metric_becomes("stowage_rpc_busy", 1));
	send_on(b, seal(good, &late));
	assert_true(metric_becomes("stowage_rpc_busy", 2));
	usleep(80 * 1000);
	atomic_store(&p.log.hold, false);
	assert_int_equal(reply_on(b, good, "l", ctx, NULL, &e, PEER_WAIT_MS), ERR_DEADLINE);
	assert_non_null(strstr(e.text, "while it waited")); /* said by the server, not by our own patience */
	assert_int_equal(reply_on(a, good, "h", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	assert_int_equal(atomic_load(&p.log.runs), 1);
	transport_close(a);
	transport_close(b);
	peer_stop(&p);
}

static void draining_finishes_what_runs_and_refuses_the_rest(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted held = {.id = "h", .method = "held"}, queued = {.id = "q", .method = "noop"};
	const struct wanted new = {.id = "n", .method = "noop"}, ping = {.id = "p", .method = "ping"};
	struct transport_socket *a = connect_to(address), *b = connect_to(address);
	struct peer p = {.options = {.threads = 1}};
	struct err e;

	(void)state;
	atomic_store(&p.log.hold, true);
	peer_start(&p, address);
	send_on(a, seal(good, &held));
	for (int i = 0; atomic_load(&p.log.runs) == 0 && i < PEER_WAIT_MS; i++)
		usleep(1000);
	send_on(b, seal(good, &queued));
	assert_true(metric_becomes("stowage_rpc_busy", 2));
	uv_async_send(&p.drain);
	usleep(50 * 1000);
	assert_int_equal(ask(good, &new, PEER_WAIT_MS, &e), ERR_UNAVAILABLE);
	assert_true(e.retry_ms > 0);
	assert_int_equal(ask(good, &ping, PEER_WAIT_MS, &e), ERR_OK);
	assert_false(atomic_load(&p.drained));
	atomic_store(&p.log.hold, false);
	assert_int_equal(reply_on(a, good, "h", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	assert_int_equal(reply_on(b, good, "q", ctx, NULL, &e, PEER_WAIT_MS), ERR_UNAVAILABLE);
	for (int i = 0; !atomic_load(&p.drained) && i < PEER_WAIT_MS; i++)
		usleep(1000);
	assert_true(atomic_load(&p.drained));
	assert_int_equal(atomic_load(&p.log.runs), 1);
	transport_close(a);
	transport_close(b);
	peer_stop(&p);
}

/* How long a server drains that has nothing to do, and may have given an answer just now. */
static int64_t drain_ms(bool answers)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted ping = {.id = "p", .method = "ping"};
	struct peer p = {0};
	int64_t began, took;
	struct err e;

	peer_start(&p, address);
	if (answers)
		assert_int_equal(ask(good, &ping, PEER_WAIT_MS, &e), ERR_OK);
	began = clock_monotonic_ms();
	uv_async_send(&p.drain);
	for (int i = 0; !atomic_load(&p.drained) && i < PEER_WAIT_MS; i++)
		usleep(1000);
	took = clock_monotonic_ms() - began;
	assert_true(atomic_load(&p.drained));
	peer_stop(&p);
	return took;
}

static void an_idle_server_drains_at_once_and_one_that_answered_when_the_answer_left(void **state)
{
	int64_t quickest = INT64_MAX;

	(void)state;
	for (int i = 0; i < 5; i++) /* this machine may have much to do */
		quickest = MIN(quickest, drain_ms(false));
	assert_in_range(quickest, 0, 100);
	assert_in_range(drain_ms(true), 100, PEER_WAIT_MS);
}

static void freeing_waits_for_the_handler_and_drops_what_is_queued(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted sleeping = {.id = "s", .method = "sleep", .body = "{\"ms\":100}"};
	const struct wanted queued = {.id = "q", .method = "noop"};
	struct transport_socket *a = connect_to(address), *b = connect_to(address);
	struct peer p = {.options = {.threads = 1}};

	(void)state;
	peer_start(&p, address);
	send_on(a, seal(good, &sleeping));
	assert_true(metric_becomes("stowage_rpc_busy", 1));
	send_on(b, seal(good, &queued));
	assert_true(metric_becomes("stowage_rpc_busy", 2));
	peer_stop(&p);
	assert_int_equal(atomic_load(&p.log.runs), 1);
	transport_close(a);
	transport_close(b);
}

static void a_server_that_cannot_start_says_why(void **state)
{
	static const struct {
		const char *endpoint, *secret;
		size_t count, threads;
		enum err_code created, started;
	} cases[] = {
	    {address, "short", 1, 1, ERR_INVALID, ERR_OK},
	    {address, PEER_SECRET, 0, 1, ERR_INVALID, ERR_OK},
	    {address, PEER_SECRET, 1, RPC_SERVER_THREADS_MAX + 1, ERR_INVALID, ERR_OK},
	    {"tcp://127.0.0.1:notaport", PEER_SECRET, 1, 1, ERR_OK, ERR_UNAVAILABLE},
	    {"carrier-pigeon://x", PEER_SECRET, 1, 1, ERR_OK, ERR_UNAVAILABLE},
	};
	struct peer first = {0};
	uv_loop_t loop;

	(void)state;
	peer_start(&first, address);
	uv_loop_init(&loop);
	for (size_t i = 0; i < ARRAY_SIZE(cases) + 1; i++) {
		size_t at = MIN(i, ARRAY_SIZE(cases) - 1);
		const char *endpoint = i == ARRAY_SIZE(cases) ? address : cases[at].endpoint; /* taken already */
		struct rpc_server_options options = {
		    .endpoints = &endpoint,
		    .endpoint_count = cases[at].count,
		    .threads = cases[at].threads,
		    .secret = {.current = cases[at].secret},
		    .dispatch = peer_dispatch,
		};
		struct rpc_server *server = NULL;
		struct err e;

		assert_int_equal(rpc_server_new(&loop, &options, &server, &e), cases[at].created);
		if (cases[at].created == ERR_OK) {
			assert_int_equal(rpc_server_start(server, &e), cases[at].started);
			assert_non_null(strstr(e.text, endpoint));
		}
		rpc_server_free(server);
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
	peer_stop(&first);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_addresses, remove_addresses)
	const struct CMUnitTest tests[] = {
	    TEST(a_copy_joins_the_running_request_and_both_are_answered),
	    TEST(the_same_id_from_another_account_is_another_request),
	    TEST(an_answer_to_come_back_later_is_not_kept),
	    TEST(what_nanomsg_sends_again_runs_once),
	    TEST(what_nanomsg_sends_to_another_replica_has_its_effect_once),
	    TEST(a_reply_lost_on_a_busy_pipe_is_there_when_asked_again),
	    TEST(more_than_the_queue_holds_is_told_to_come_back),
	    TEST(a_request_that_waited_too_long_is_not_run),
	    TEST(draining_finishes_what_runs_and_refuses_the_rest),
	    TEST(an_idle_server_drains_at_once_and_one_that_answered_when_the_answer_left),
	    TEST(freeing_waits_for_the_handler_and_drops_what_is_queued),
	    TEST(a_server_that_cannot_start_says_why),
	};

	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return peer_serve(argc - 2, argv + 2);
	if (argc > 5 && strcmp(argv[1], "request") == 0)
		return plain_requester(argc - 2, argv + 2);
	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
