#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/transport.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 100000
#define WAIT_MS 20000

/* A server that gives back what it gets, except "quiet", which it keeps. */
struct echo {
	uv_loop_t loop;
	uv_async_t end;
	struct transport_listener *listener;
	pthread_t thread;
	atomic_int received, closed;
};

static char tcp[64], tcp_all[64], tcp6[64], name[64], ipc[64];

static int find_addresses(void **state)
{
	CLEANUP(fd_cleanup) int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t len = sizeof(any);
	int port;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	port = ntohs(any.sin_port);
	snprintf(tcp, sizeof(tcp), "tcp://127.0.0.1:%d", port);
	snprintf(tcp_all, sizeof(tcp_all), "tcp://*:%d", port);
	snprintf(tcp6, sizeof(tcp6), "tcp://[::1]:%d", port);
	snprintf(name, sizeof(name), "tcp://localhost:%d", port);
	snprintf(ipc, sizeof(ipc), "ipc:///tmp/stowage-transport-test-%d", getpid());
	return 0;
}

static int remove_socket(void **state)
{
	(void)state;
	unlink(ipc + strlen("ipc://"));
	return 0;
}

static void give_back(struct transport_message *m, const struct transport_route *route, void *arg)
{
	struct echo *echo = arg;

	atomic_fetch_add(&echo->received, 1);
	if (m->len == 5 && memcmp(m->bytes, "quiet", 5) == 0)
		transport_message_release(m);
	else
		assert_true(transport_answer(echo->listener, route, m));
}

static void note_closed(void *arg)
{
	struct echo *echo = arg;

	atomic_fetch_add(&echo->closed, 1);
}

static void on_end(uv_async_t *handle)
{
	struct echo *echo = handle->data;

	transport_listener_free(echo->listener, note_closed, echo);
	uv_close((uv_handle_t *)handle, NULL);
}

static void *run_loop(void *arg)
{
	struct echo *echo = arg;

	uv_run(&echo->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void echo_start(struct echo *echo, const char *const *addresses, size_t count)
{
	struct err e = {0};

	*echo = (struct echo){0};
	assert_int_equal(uv_loop_init(&echo->loop), 0);
	assert_int_equal(uv_async_init(&echo->loop, &echo->end, on_end), 0);
	echo->end.data = echo;
	assert_int_equal(
	    transport_listen(&echo->loop, addresses, count, MESSAGE_MAX, give_back, echo, &echo->listener, &e), ERR_OK);
	assert_int_equal(pthread_create(&echo->thread, NULL, run_loop, echo), 0);
}

static void echo_stop(struct echo *echo)
{
	uv_async_send(&echo->end);
	pthread_join(echo->thread, NULL);
	assert_int_equal(atomic_load(&echo->closed), 1);
	assert_int_equal(uv_loop_close(&echo->loop), 0);
}

static struct transport_message message_of(const void *bytes, size_t len)
{
	struct transport_message m;
	struct err e;

	assert_int_equal(transport_message_new(len, &m, &e), ERR_OK);
	memcpy(m.bytes, bytes, len);
	return m;
}

static struct transport_socket *socket_to(const char *address)
{
	struct transport_socket *s;
	struct err e;

	assert_int_equal(transport_connect(address, MESSAGE_MAX, &s, &e), ERR_OK);
	return s;
}

static void goes_there_and_back(struct transport_socket *s, const void *bytes, size_t len)
{
	struct transport_message m = message_of(bytes, len);
	struct err e;

	assert_int_equal(transport_send(s, &m, WAIT_MS, &e), ERR_OK);
	assert_null(m.bytes);
	assert_int_equal(transport_receive(s, &m, WAIT_MS, &e), ERR_OK);
	assert_int_equal(m.len, len);
	assert_memory_equal(m.bytes, bytes, len);
	transport_message_release(&m);
}

static void the_library_passes_its_test(void **state)
{
	struct err e;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(transport_selftest(&e), ERR_OK);
}

static void messages_of_all_sizes_go_there_and_back(void **state)
{
	static const size_t sizes[] = {1, 4, 31, 32, 33, 1024, 65536, MESSAGE_MAX};
	const char *const addresses[] = {tcp, ipc};
	static uint8_t bytes[MESSAGE_MAX];
	struct echo echo;

	(void)state;
	random_bytes(bytes, sizeof(bytes));
	echo_start(&echo, addresses, 2);
	for (size_t a = 0; a < ARRAY_SIZE(addresses); a++) {
		struct transport_socket *s = socket_to(addresses[a]);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			goes_there_and_back(s, bytes, sizes[i]);
		transport_close(s);
	}
	echo_stop(&echo);
}

static bool have_ipv6(void)
{
	CLEANUP(fd_cleanup) int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	return fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
}

/* glibc looks names up on a thread of its own, which the thread sanitizer does not survive. */
#ifdef __SANITIZE_THREAD__
#define LOOK_UP_NAMES false
#else
#define LOOK_UP_NAMES true
#endif

/* A socket for both families aborts in nanomsg when it is given a literal IPv4 address. */
static void a_star_is_reached_by_name_and_by_either_family(void **state)
{
	const char *const addresses[] = {tcp_all};
	struct echo echo;

	(void)state;
	echo_start(&echo, addresses, 1);
	for (int i = 0; i < 3; i++) {
		const char *const ways[] = {tcp, name, tcp6};
		struct transport_socket *s;

		if ((i == 1 && !LOOK_UP_NAMES) || (i == 2 && !have_ipv6()))
			continue;
		s = socket_to(ways[i]);
		goes_there_and_back(s, "x", 1);
		transport_close(s);
	}
	echo_stop(&echo);
}

static void addresses_that_are_none_are_refused(void **state)
{
	char long_address[200] = "ipc:///";
	const char *const cases[] = {
	    "", "x", "tcp://", "tcp://x", "tcp://x:99999999", "smoke://signal", "tcp://eth0;127.0.0.1:80", long_address,
	};

	(void)state;
	memset(long_address + 7, 'x', sizeof(long_address) - 8);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct transport_socket *s = NULL;
		struct err e = {0};

		assert_int_equal(transport_connect(cases[i], MESSAGE_MAX, &s, &e), ERR_INVALID);
		assert_non_null(strstr(e.text, cases[i]));
	}
}

static void nobody_there_is_said_in_time(void **state)
{
	const char *const cases[] = {tcp, ipc};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct transport_socket *s = socket_to(cases[i]);
		struct transport_message m = message_of("x", 1);
		int64_t began = clock_monotonic_ms();
		struct err e;

		assert_int_equal(transport_send(s, &m, 150, &e), ERR_UNAVAILABLE);
		assert_in_range(clock_monotonic_ms() - began, 150, 1500);
		assert_non_null(m.bytes); /* still ours */
		transport_message_release(&m);
		transport_close(s);
	}
}

static bool is_refused_soon(const struct transport_socket *s)
{
	for (int i = 0; i < 1000; i++) {
		if (transport_is_refused(s))
			return true;
		usleep(1000);
	}
	return false;
}

static void a_refused_connection_is_told_from_one_that_is_being_made(void **state)
{
	const char *const ways[] = {tcp, ipc};
	CLEANUP(fd_cleanup) int silent = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct transport_socket *s;
	char address[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct echo echo;

		s = socket_to(ways[i]);
		assert_true(is_refused_soon(s));
		echo_start(&echo, &ways[i], 1);
		goes_there_and_back(s, "x", 1); /* it went on trying */
		assert_false(transport_is_refused(s));
		echo_stop(&echo);
		assert_true(is_refused_soon(s));
		transport_close(s);
	}
	/* Somebody accepts, and takes time to say who it is. */
	assert_int_equal(bind(silent, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(silent, 1), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&at, &len), 0);
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", ntohs(at.sin_port));
	s = socket_to(address);
	for (int i = 0; i < 100; i++) {
		assert_false(transport_is_refused(s));
		usleep(1000);
	}
	transport_close(s);
}

static void no_reply_is_said_in_time_and_may_still_come(void **state)
{
	const char *const addresses[] = {tcp};
	struct transport_socket *s = socket_to(tcp);
	struct transport_message m = message_of("quiet", 5);
	int64_t began;
	struct echo echo;
	struct err e;

	(void)state;
	echo_start(&echo, addresses, 1);
	assert_int_equal(transport_send(s, &m, WAIT_MS, &e), ERR_OK);
	began = clock_monotonic_ms();
	assert_int_equal(transport_receive(s, &m, 150, &e), ERR_DEADLINE);
	assert_in_range(clock_monotonic_ms() - began, 150, 1500);
	m = message_of("x", 1);
	assert_int_equal(transport_send(s, &m, WAIT_MS, &e), ERR_OK);
	assert_int_equal(transport_receive(s, &m, WAIT_MS, &e), ERR_OK);
	transport_message_release(&m);
	transport_close(s);
	echo_stop(&echo);
}

static void a_connection_that_breaks_is_noticed_long_before_the_wait_is_over(void **state)
{
	const char *const ways[] = {tcp, ipc};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct transport_socket *s = socket_to(ways[i]);
		struct transport_message m = message_of("quiet", 5);
		int64_t began;
		struct echo echo;
		struct err e;

		echo_start(&echo, &ways[i], 1);
		assert_int_equal(transport_send(s, &m, WAIT_MS, &e), ERR_OK);
		for (int n = 0; atomic_load(&echo.received) == 0 && n < WAIT_MS; n++)
			usleep(1000);
		echo_stop(&echo);
		began = clock_monotonic_ms();
		assert_int_equal(transport_receive(s, &m, WAIT_MS, &e), ERR_UNAVAILABLE);
		assert_true(clock_monotonic_ms() - began < 2000);
		echo_start(&echo, &ways[i], 1); /* somebody else at the same address: the socket finds them */
		goes_there_and_back(s, "x", 1);
		transport_close(s);
		echo_stop(&echo);
	}
}

/* The fact itself: neither side hears of a message that is too long; the connection breaks, and is made again. */
static void a_message_over_the_limit_breaks_the_connection_and_nothing_else(void **state)
{
	const char *const addresses[] = {tcp};
	static uint8_t bytes[2 * MESSAGE_MAX];
	struct transport_socket *s = socket_to(tcp);
	struct transport_message m = message_of(bytes, sizeof(bytes));
	struct echo echo;
	struct err e;

	(void)state;
	echo_start(&echo, addresses, 1);
	assert_int_equal(transport_send(s, &m, WAIT_MS, &e), ERR_OK);
	assert_int_equal(transport_receive(s, &m, WAIT_MS, &e), ERR_UNAVAILABLE);
	assert_int_equal(atomic_load(&echo.received), 0);
	goes_there_and_back(s, bytes, MESSAGE_MAX);
	transport_close(s);
	echo_stop(&echo);
}

static void an_address_in_use_cannot_be_listened_on(void **state)
{
	const char *const addresses[] = {tcp}, *const other[] = {ipc, tcp};
	struct transport_listener *none = NULL;
	struct err e = {0};
	struct echo echo;
	uv_loop_t loop;

	(void)state;
	echo_start(&echo, addresses, 1);
	uv_loop_init(&loop);
	assert_int_equal(transport_listen(&loop, other, 2, MESSAGE_MAX, give_back, &echo, &none, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, tcp));
	assert_null(none);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	echo_stop(&echo);
}

struct caller {
	int calls;
	atomic_int *wrong;
};

static void *call_often(void *arg)
{
	struct caller *c = arg;
	struct transport_socket *s;
	struct err e;

	ASSERT(transport_connect(tcp, MESSAGE_MAX, &s, &e) == ERR_OK);
	for (int i = 0; i < c->calls; i++) {
		struct transport_message m = {0};
		uint64_t sent, got = 0;

		random_bytes(&sent, sizeof(sent));
		ASSERT(transport_message_new(sizeof(sent), &m, &e) == ERR_OK);
		memcpy(m.bytes, &sent, sizeof(sent));
		if (transport_send(s, &m, WAIT_MS, &e) != ERR_OK || transport_receive(s, &m, WAIT_MS, &e) != ERR_OK)
			atomic_fetch_add(c->wrong, 1);
		else
			memcpy(&got, m.bytes, sizeof(got));
		if (got != sent)
			atomic_fetch_add(c->wrong, 1);
		transport_message_release(&m);
	}
	transport_close(s);
	return NULL;
}

static void each_socket_gets_its_own_answers(void **state)
{
	enum { CALLERS = 32 };
	const char *const addresses[] = {tcp};
	pthread_t threads[CALLERS];
	atomic_int wrong = 0;
	struct caller caller = {200, &wrong};
	struct echo echo;

	(void)state;
	echo_start(&echo, addresses, 1);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &caller), 0);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_int_equal(atomic_load(&echo.received), CALLERS * caller.calls);
	echo_stop(&echo);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, find_addresses, remove_socket)
	const struct CMUnitTest tests[] = {
	    TEST(the_library_passes_its_test),
	    TEST(messages_of_all_sizes_go_there_and_back),
	    TEST(a_star_is_reached_by_name_and_by_either_family),
	    TEST(addresses_that_are_none_are_refused),
	    TEST(nobody_there_is_said_in_time),
	    TEST(a_refused_connection_is_told_from_one_that_is_being_made),
	    TEST(no_reply_is_said_in_time_and_may_still_come),
	    TEST(a_connection_that_breaks_is_noticed_long_before_the_wait_is_over),
	    TEST(a_message_over_the_limit_breaks_the_connection_and_nothing_else),
	    TEST(an_address_in_use_cannot_be_listened_on),
	    TEST(each_socket_gets_its_own_answers),
	};

	alarm(200);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
