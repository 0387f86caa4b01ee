#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/common/rpc_frames.h"

#define DROPPED(reason) "stowage_rpc_dropped_" reason "_total"

/* Sends the bytes; nothing comes back, one more is counted, and the server still serves. */
static void is_dropped(struct frame_ring *good, struct transport_message m, const char *metric)
{
	const struct wanted noop = {.id = "after", .method = "ping"};
	struct transport_socket *s = connect_to(address);
	int64_t before = metric_value(metric);
	struct transport_message reply;
	struct err e;

	send_on(s, m);
	assert_true(metric_becomes(metric, before + 1));
	assert_int_equal(transport_receive(s, &reply, 20, &e), ERR_DEADLINE);
	transport_close(s);
	assert_int_equal(ask(good, &noop, PEER_WAIT_MS, &e), ERR_OK);
}

static void what_is_no_sealed_request_is_dropped_and_counted(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL), *bad = ring_of(ctx, "not the same secret", NULL);
	const struct wanted noop = {.id = "x", .method = "noop"};
	const struct wanted nameless = {.id = "", .method = "noop"}, spaced = {.id = "a b", .method = "noop"};
	const struct wanted bodiless = {.id = "x", .method = "noop", .body = "[1]"};
	const struct wanted broken = {.id = "x", .method = "noop", .body = "{\"a\":"};
	uint8_t garbage[4096];
	struct transport_message m;
	struct peer p = {0};

	(void)state;
	peer_start(&p, address);
	random_bytes(garbage, sizeof(garbage));
	is_dropped(good, copy_of(garbage, 1), DROPPED("malformed"));
	is_dropped(good, copy_of(garbage, sizeof(garbage)), DROPPED("malformed"));
	memcpy(garbage, "STW1", 4);
	is_dropped(good, copy_of(garbage, FRAME_OVERHEAD - 1), DROPPED("malformed"));
	memset(garbage + 36, 0, 4);
	is_dropped(good, copy_of(garbage, sizeof(garbage)), DROPPED("unopened"));
	is_dropped(good, seal(bad, &noop), DROPPED("unopened"));
	m = seal(good, &noop);
	m.bytes[m.len - 1] ^= 1;
	is_dropped(good, m, DROPPED("unopened"));
	m = seal(good, &noop);
	is_dropped(good, copy_of(m.bytes, m.len - 20), DROPPED("unopened"));
	transport_message_release(&m);
	is_dropped(good, seal(good, &nameless), DROPPED("malformed"));
	is_dropped(good, seal(good, &spaced), DROPPED("malformed"));
	is_dropped(good, seal(good, &bodiless), DROPPED("malformed"));
	is_dropped(good, seal(good, &broken), DROPPED("malformed"));
	assert_int_equal(atomic_load(&p.log.runs), 0);
	peer_stop(&p);
}

static void large_garbage_is_dropped_too(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	uint8_t *bytes = talloc_zero_array(ctx, uint8_t, RPC_FRAME_MAX + 1);
	struct peer p = {0};

	(void)state;
	peer_start(&p, address);
	is_dropped(good, copy_of(bytes, 1000000), DROPPED("malformed"));
	memcpy(bytes, "STW1", 4);
	is_dropped(good, copy_of(bytes, 1000000), DROPPED("unopened"));
	is_dropped(good, copy_of(bytes, RPC_FRAME_MAX + 1), DROPPED("oversize"));
	peer_stop(&p);
}

static void frames_from_another_time_are_dropped(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted fine[] = {{.id = "a", .method = "noop", .age_ms = 9000},
	                              {.id = "b", .method = "noop", .age_ms = -9000}};
	const struct wanted late[] = {{.id = "c", .method = "noop", .age_ms = 11000},
	                              {.id = "d", .method = "noop", .age_ms = -11000},
	                              {.id = "e", .method = "ping", .age_ms = 11000}};
	struct peer p = {.options = {.window_ms = 10000}};
	struct err e;

	(void)state;
	peer_start(&p, address);
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		assert_int_equal(ask(good, &fine[i], PEER_WAIT_MS, &e), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		is_dropped(good, seal(good, &late[i]), DROPPED("expired"));
	assert_int_equal(atomic_load(&p.log.runs), 2);
	peer_stop(&p);
}

static void a_recorded_frame_runs_nothing(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted big = {.id = "big", .method = "big", .body = "{\"bytes\":1000000}"};
	const struct wanted ping = {.id = "p", .method = "ping"};
	struct transport_message once = seal(good, &big);
	struct transport_socket *s = connect_to(address);
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, address);
	send_on(s, copy_of(once.bytes, once.len));
	assert_int_equal(reply_on(s, good, "big", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	is_dropped(good, once, DROPPED("replayed")); /* a reply as large as that is not kept */
	assert_int_equal(atomic_load(&p.log.runs), 1);
	once = seal(good, &ping);
	send_on(s, copy_of(once.bytes, once.len));
	assert_int_equal(reply_on(s, good, "p", ctx, NULL, &e, PEER_WAIT_MS), ERR_OK);
	is_dropped(good, once, DROPPED("replayed"));
	transport_close(s);
	peer_stop(&p);
}

static void the_previous_secret_is_accepted(void **state)
{
	SCRATCH_CTX(ctx);
	const struct wanted noop = {.id = "x", .method = "noop"}, noop2 = {.id = "y", .method = "noop"};
	struct frame_ring *new_ring = ring_of(ctx, "the secret of tomorrow", PEER_SECRET);
	struct frame_ring *old_ring = ring_of(ctx, PEER_SECRET, "the secret of tomorrow");
	struct peer p = {.options = {.secret = {.current = "the secret of tomorrow", .previous = PEER_SECRET}}};
	struct err e;

	(void)state;
	peer_start(&p, address);
	assert_int_equal(ask(old_ring, &noop, PEER_WAIT_MS, &e), ERR_OK);
	assert_int_equal(ask(new_ring, &noop2, PEER_WAIT_MS, &e), ERR_OK);
	peer_stop(&p);
}

/* Bytes that are not even nanomsg's, and a header that never ends. */
static void strangers_on_the_port_do_no_harm(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
	    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
	    {"\0SP\0\0\x30\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16}, /* a message of 2^64-1 bytes */
	    {"\0SP\0\0\x30\0\0\0\0\0\0\0\0\0\0", 16},                 /* an empty one */
	    {"\0SP\0\0\x30\0\0\0\0\0\0\0\0\0\4\0\0\0\1", 20},         /* one whose hops do not end */
	    {"\0SP\0\0\x30\0\0\0\0\0\0\0\0\0\3\x80\0\0", 19},
	    {"\0SP\0\0\x50\0\0", 8}, /* another protocol */
	    {"", 0},
	};
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct peer p = {0};

	(void)state;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer_start(&p, address);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[16];
		const struct wanted noop = {.id = id, .method = "noop"};
		CLEANUP(fd_cleanup) int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct err e;

		snprintf(id, sizeof(id), "id-%zu", i);
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(fd, cases[i].bytes, cases[i].len, MSG_NOSIGNAL), cases[i].len);
		assert_int_equal(ask(good, &noop, PEER_WAIT_MS, &e), ERR_OK);
	}
	peer_stop(&p);
}

/* A request that says many hops has more routing header than we keep room for. */
static void a_message_with_too_many_hops_is_not_answered(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *good = ring_of(ctx, PEER_SECRET, NULL);
	const struct wanted noop = {.id = "x", .method = "noop"};
	uint8_t bytes[16 + 400] = "\0SP\0\0\x30\0\0\0\0\0\0\0\0\1\x90";
	CLEANUP(fd_cleanup) int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct peer p = {0};
	struct err e;

	(void)state;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bytes[16 + 396] = 0x80;
	peer_start(&p, address);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
	assert_int_equal(ask(good, &noop, PEER_WAIT_MS, &e), ERR_OK);
	peer_stop(&p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_addresses, remove_addresses)
	const struct CMUnitTest tests[] = {
	    TEST(what_is_no_sealed_request_is_dropped_and_counted),
	    TEST(large_garbage_is_dropped_too),
	    TEST(frames_from_another_time_are_dropped),
	    TEST(a_recorded_frame_runs_nothing),
	    TEST(the_previous_secret_is_accepted),
	    TEST(strangers_on_the_port_do_no_harm),
	    TEST(a_message_with_too_many_hops_is_not_answered),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
