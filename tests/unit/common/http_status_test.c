#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/http_status.h"
#include "common/metrics.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct subject {
	_Atomic bool alive, ready;
	_Atomic int asked, slow_ms;
};

static struct metric measured = METRIC_GAUGE("test_measured", "Set when asked.");

static bool is_alive(void *arg)
{
	return atomic_load(&((struct subject *)arg)->alive);
}

static enum err_code is_ready(void *arg, struct err *e)
{
	struct subject *s = arg;

	atomic_fetch_add(&s->asked, 1);
	usleep((useconds_t)(1000 * atomic_load(&s->slow_ms)));
	return atomic_load(&s->ready) ? ERR_OK : ERR(e, ERR_UNAVAILABLE, "the database is away");
}

static void measure(void *arg)
{
	(void)arg;
	metric_set(&measured, 7);
}

static struct http_status *serve(TALLOC_CTX *ctx, struct subject *subject)
{
	struct http_status_options options = {
	    .listen = "127.0.0.1:0", .alive = is_alive, .ready = is_ready, .measure = measure, .arg = subject};
	struct http_status *s;
	struct err e;

	atomic_store(&subject->alive, true);
	atomic_store(&subject->ready, true);
	if (http_status_start(ctx, &options, &s, &e) != ERR_OK)
		fail_msg("%s", e.text);
	assert_int_not_equal(http_status_port(s), 0);
	return s;
}

static int connect_to(const struct http_status *s)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(http_status_port(s)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 15};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends and reads until the server closes; the status, or 0 for none. */
static int ask(const struct http_status *s, const char *request, size_t len, char *answer, size_t size)
{
	int fd = connect_to(s), status = 0;
	size_t used = 0;
	ssize_t got = 0;

	if (send(fd, request, len, MSG_NOSIGNAL) >= 0)
		while (used < size - 1 && (got = recv(fd, answer + used, size - 1 - used, 0)) > 0)
			used += (size_t)got;
	answer[used] = '\0';
	close(fd);
	sscanf(answer, "HTTP/1.%*d %d", &status);
	return status;
}

static int get(const struct http_status *s, const char *path, char *answer, size_t size)
{
	char request[256];
	int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);

	return ask(s, request, (size_t)len, answer, size);
}

static void answers_follow_the_service(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject);
	char answer[8192];

	(void)state;
	assert_int_equal(get(s, "/healthz", answer, sizeof(answer)), 200);
	assert_int_equal(get(s, "/readyz", answer, sizeof(answer)), 200);
	assert_int_equal(get(s, "/metrics", answer, sizeof(answer)), 200);
	assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4"));
	assert_non_null(strstr(answer, "\ntest_measured 7\n"));
	assert_int_equal(get(s, "/healthz/", answer, sizeof(answer)), 404);
	assert_int_equal(get(s, "/../metrics", answer, sizeof(answer)), 404);
	atomic_store(&subject.alive, false);
	assert_int_equal(get(s, "/healthz", answer, sizeof(answer)), 503);
	http_status_stop(s);
}

static void what_ready_found_is_good_for_a_second(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject);
	char answer[8192];

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(get(s, "/readyz", answer, sizeof(answer)), 200);
	assert_in_range(atomic_load(&subject.asked), 1, 3);
	atomic_store(&subject.ready, false);
	usleep(1100000);
	assert_int_equal(get(s, "/readyz", answer, sizeof(answer)), 503);
	assert_non_null(strstr(answer, "\r\n\r\nunavailable: the database is away\n"));
}

static void not_ready_is_asked_again_at_once(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject);
	char answer[8192];

	(void)state;
	atomic_store(&subject.ready, false);
	for (int i = 0; i < 5; i++)
		assert_int_equal(get(s, "/readyz", answer, sizeof(answer)), 503);
	atomic_store(&subject.ready, true);
	usleep(100000);
	assert_int_equal(get(s, "/readyz", answer, sizeof(answer)), 200);
}

struct asker {
	struct http_status *s;
	pthread_t thread;
	int status;
};

static void *ask_ready(void *arg)
{
	struct asker *a = arg;
	char answer[1024];

	a->status = get(a->s, "/readyz", answer, sizeof(answer));
	return NULL;
}

static void a_slow_ready_holds_up_nothing_else(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {.slow_ms = 1500};
	struct asker askers[4];
	char answer[8192];
	int64_t start_ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		askers[i].s = i ? askers[0].s : serve(ctx, &subject);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_ready, &askers[i]), 0);
	usleep(200000);
	start_ms = clock_monotonic_ms();
	assert_int_equal(get(askers[0].s, "/healthz", answer, sizeof(answer)), 200);
	assert_true(clock_monotonic_ms() - start_ms < 1000);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].status, 200);
	}
	assert_int_equal(atomic_load(&subject.asked), 1);
}

static void other_methods_and_garbage_are_refused(void **state)
{
	static const struct {
		const char *request;
		int status; /* 0: any refusal, or none at all */
	} cases[] = {
	    {"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd", 405},
	    {"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405},
	    {"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
	    {"nonsense\r\n\r\n", 0},
	    {"\r\n\r\n\r\n\r\n", 0},
	    {"GET /healthz HTTP/9.9\r\n\r\n", 0},
	    {"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 0},
	};
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject);
	char answer[8192], *large = talloc_zero_size(ctx, 100 * KIB);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = ask(s, cases[i].request, strlen(cases[i].request), answer, sizeof(answer));

		if (cases[i].status)
			assert_int_equal(status, cases[i].status);
		else
			assert_int_not_equal(status, 200);
	}
	memset(large, 'a', 100 * KIB);
	memcpy(large, "GET /", 5);
	assert_int_not_equal(ask(s, large, 100 * KIB, answer, sizeof(answer)), 200);
	assert_int_equal(get(s, "/healthz", answer, sizeof(answer)), 200);
}

static void silent_connections_are_few_and_end(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject);
	char answer[8192];
	int silent[40];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = connect_to(s);
	sleep(7); /* each is closed after five seconds, which the server notices when the next one comes */
	get(s, "/healthz", answer, sizeof(answer));
	usleep(100000);
	assert_int_equal(get(s, "/healthz", answer, sizeof(answer)), 200);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
}

static void addresses_are_checked(void **state)
{
	static const struct {
		const char *listen;
		enum err_code code;
	} cases[] = {
	    {"127.0.0.1:0", ERR_OK},
	    {":0", ERR_OK},
	    {"localhost:0", ERR_OK},
	    {"", ERR_INVALID},
	    {"8080", ERR_INVALID},
	    {"localhost:", ERR_INVALID},
	    {"localhost:http", ERR_INVALID},
	    {"::1:80", ERR_INVALID},
	    {"no.such.host.invalid:80", ERR_INVALID},
	    {"127.0.0.1:99999", ERR_INVALID},
	    {"192.0.2.1:80", ERR_UNAVAILABLE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct http_status_options options = {.listen = cases[i].listen, .alive = is_alive, .ready = is_ready};
		struct http_status *s = NULL;
		struct err e = {.text = ""};
		enum err_code code = http_status_start(ctx, &options, &s, &e);

		if (code != cases[i].code)
			fail_msg("%s: %s %s", cases[i].listen, err_name(code), e.text);
		http_status_stop(s);
	}
}

static void a_port_that_is_taken_is_unavailable(void **state)
{
	SCRATCH_CTX(ctx);
	struct subject subject = {0};
	struct http_status *s = serve(ctx, &subject), *second;
	struct http_status_options options = {.alive = is_alive, .ready = is_ready};
	struct err e;

	(void)state;
	options.listen = talloc_asprintf(ctx, "127.0.0.1:%u", http_status_port(s));
	assert_int_equal(http_status_start(ctx, &options, &second, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, options.listen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_follow_the_service),
	    cmocka_unit_test(what_ready_found_is_good_for_a_second),
	    cmocka_unit_test(not_ready_is_asked_again_at_once),
	    cmocka_unit_test(a_slow_ready_holds_up_nothing_else),
	    cmocka_unit_test(other_methods_and_garbage_are_refused),
	    cmocka_unit_test(silent_connections_are_few_and_end),
	    cmocka_unit_test(addresses_are_checked),
	    cmocka_unit_test(a_port_that_is_taken_is_unavailable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
