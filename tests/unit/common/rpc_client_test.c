#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/common/rpc_calls.h"

static void a_request_arrives_whole_and_its_reply_too(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	cJSON *body = cJSON_Parse("{\"a\":[1,2,{\"b\":\"\\u00e4\"}]}");
	struct rpc_request request = {
	    .method = "echo",
	    .account = "acme",
	    .body = body,
	    .payload = "raw\0bytes",
	    .payload_len = 9,
	    .deadline_ms = PEER_WAIT_MS,
	    .trace_id = "0123456789abcdef0123456789abcdef",
	};
	struct rpc_reply reply;
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, ipc_a);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_OK);
	assert_true(cJSON_Compare(cJSON_GetObjectItem(reply.body, "body"), body, true));
	assert_string_equal(peer_text(reply.body, "account"), "acme");
	assert_string_equal(peer_text(reply.body, "principal"), "test/1");
	assert_string_equal(peer_text(reply.body, "trace"), request.trace_id);
	assert_int_equal(strlen(peer_text(reply.body, "id")), 32);
	assert_int_equal(reply.payload_len, 9);
	assert_memory_equal(reply.payload, "raw\0bytes", 9);
	cJSON_Delete(body);
	peer_stop(&p);
}

static void four_mebibytes_go_both_ways(void **state)
{
	const char *const endpoints[] = {tcp_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	uint8_t *bytes = talloc_array(ctx, uint8_t, RPC_PAYLOAD_MAX);
	struct rpc_request request = {.method = "echo", .payload = bytes, .deadline_ms = PEER_WAIT_MS};
	struct rpc_reply reply;
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, tcp_a);
	random_bytes(bytes, RPC_PAYLOAD_MAX);
	request.payload_len = RPC_PAYLOAD_MAX;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_OK);
		assert_int_equal(reply.payload_len, RPC_PAYLOAD_MAX);
		assert_memory_equal(reply.payload, bytes, RPC_PAYLOAD_MAX);
	}
	peer_stop(&p);
}

static void what_is_too_large_is_refused_before_it_is_sent(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	char *text = talloc_array(ctx, char, RPC_HEADER_MAX + 1);
	struct rpc_request request = {.method = "noop", .payload = text, .deadline_ms = PEER_WAIT_MS};
	struct rpc_reply reply;
	struct peer p = {0};
	cJSON *body = cJSON_CreateObject();
	struct err e;

	(void)state;
	peer_start(&p, ipc_a);
	memset(text, 'x', RPC_HEADER_MAX);
	text[RPC_HEADER_MAX] = '\0';
	request.payload_len = RPC_PAYLOAD_MAX + 1;
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_TOO_LARGE);
	request.payload_len = 0;
	request.body = body;
	cJSON_AddStringToObject(body, "text", text);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_TOO_LARGE);
	assert_int_equal(atomic_load(&p.log.runs), 0);
	/* The header alone may fill its limit but for the other fields. */
	text[RPC_HEADER_MAX - 1024] = '\0';
	cJSON_ReplaceItemInObject(body, "text", cJSON_CreateString(text));
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_OK);
	assert_int_equal(atomic_load(&p.log.runs), 1);
	cJSON_Delete(body);
	peer_stop(&p);
}

static void a_reply_that_is_too_large_becomes_an_error(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	struct rpc_reply reply;
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, ipc_a);
	assert_int_equal(call(client, ctx, "big", "{\"bytes\":4194305}", &reply, &e), ERR_TOO_LARGE);
	assert_int_equal(call(client, ctx, "big", "{\"bytes\":4194304}", &reply, &e), ERR_OK);
	assert_int_equal(reply.payload_len, RPC_PAYLOAD_MAX);
	peer_stop(&p);
}

static void errors_come_back_as_they_were(void **state)
{
	static const struct {
		const char *body;
		enum err_code code;
		unsigned retry_ms;
	} cases[] = {
	    {"{\"code\":4}", ERR_NOT_FOUND, 0},
	    {"{\"code\":13}", ERR_CORRUPT, 0},
	    {"{\"code\":10,\"retry_ms\":700}", ERR_EXHAUSTED, 700},
	    {"{\"code\":14}", ERR_UNAVAILABLE, 0},
	};
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	struct rpc_reply reply;
	struct peer p = {0};

	(void)state;
	peer_start(&p, ipc_a);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = {0};

		assert_int_equal(call(client, ctx, "fail", cases[i].body, &reply, &e), cases[i].code);
		assert_int_equal(e.code, cases[i].code);
		assert_int_equal(e.retry_ms, cases[i].retry_ms);
		assert_non_null(strstr(e.text, "asked to fail"));
	}
	assert_int_equal(atomic_load(&p.log.runs), ARRAY_SIZE(cases));
	peer_stop(&p);
}

static void unavailable_with_a_retry_after_is_waited_out_within_the_deadline(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	cJSON *body = cJSON_Parse("{\"code\":14,\"retry_ms\":100}");
	struct rpc_request request = {.method = "fail", .body = body, .deadline_ms = 500};
	int64_t began = clock_monotonic_ms(), took;
	struct rpc_reply reply;
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, ipc_a);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_UNAVAILABLE);
	took = clock_monotonic_ms() - began;
	assert_true(took >= 250 && took < 1500);
	assert_true(atomic_load(&p.log.runs) >= 2); /* it was run again: such answers are not kept */
	assert_int_equal(e.retry_ms, 100);
	cJSON_Delete(body);
	peer_stop(&p);
}

static void a_deadline_that_passes_is_said_so(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	cJSON *body = cJSON_Parse("{\"ms\":2000}");
	struct rpc_request request = {.method = "sleep", .body = body, .deadline_ms = 200};
	int64_t began = clock_monotonic_ms();
	struct rpc_reply reply;
	struct peer p = {0};
	struct err e;

	(void)state;
	peer_start(&p, ipc_a);
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_DEADLINE);
	assert_true(clock_monotonic_ms() - began < 1900);
	request.method = "deadline"; /* the handler itself notices */
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_DEADLINE);
	request.deadline_ms = 0;
	assert_int_equal(rpc_client_call(client, &request, ctx, &reply, &e), ERR_DEADLINE);
	cJSON_Delete(body);
	peer_stop(&p);
}

/* Many threads ------------------------------------------------------------------------------------------------------
 */

struct storm {
	struct rpc_client *client;
	int number, calls;
	size_t payload;
	atomic_int *failed;
};

static bool storm_call(struct storm *s, int i)
{
	SCRATCH_CTX(ctx);
	char json[64];
	cJSON *body;
	struct rpc_request request = {.method = "echo", .account = "a", .deadline_ms = 60 * 1000, .attempt_ms = 20000};
	struct rpc_reply reply;
	struct err e = {0};
	bool fine;

	snprintf(json, sizeof(json), "{\"n\":%d}", s->number * 100000 + i);
	body = cJSON_Parse(json);
	request.body = body;
	request.payload = talloc_zero_array(ctx, char, s->payload + 1);
	request.payload_len = s->payload;
	fine = rpc_client_call(s->client, &request, ctx, &reply, &e) == ERR_OK &&
	       cJSON_Compare(cJSON_GetObjectItem(reply.body, "body"), body, true) && reply.payload_len == s->payload;
	if (!fine)
		print_error("call %d of %d: %s\n", i, s->number, e.text);
	cJSON_Delete(body);
	return fine;
}

static void *storm_thread(void *arg)
{
	struct storm *s = arg;

	for (int i = 0; i < s->calls; i++)
		if (!storm_call(s, i))
			atomic_fetch_add(s->failed, 1);
	return NULL;
}

static void run_storm(struct rpc_client *client, int threads, int calls, size_t payload)
{
	struct storm storms[64];
	pthread_t thread[64];
	atomic_int failed = 0;

	for (int i = 0; i < threads; i++) {
		storms[i] = (struct storm){client, i, calls, payload, &failed};
		assert_int_equal(pthread_create(&thread[i], NULL, storm_thread, &storms[i]), 0);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&failed), 0);
}

static void sixty_four_threads_get_their_own_replies(void **state)
{
	const char *const endpoints[] = {ipc_a, tcp_b};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 2);
	struct peer a = {.options = {.threads = 8}}, b = {.options = {.threads = 2}};

	(void)state;
	peer_start(&a, ipc_a);
	peer_start(&b, tcp_b);
	run_storm(client, 64, 40, 100);
	peer_stop(&a);
	peer_stop(&b);
}

static void read_metric(const struct metric *m, void *arg)
{
	struct metric_wanted {
		const char *name;
		int64_t value;
	} *wanted = arg;

	if (strcmp(m->name, wanted->name) == 0)
		wanted->value = metric_read(m);
}

static int64_t metric_value(const char *name)
{
	struct {
		const char *name;
		int64_t value;
	} wanted = {name, 0};

	metrics_each(read_metric, &wanted);
	return wanted.value;
}

static void large_replies_are_not_lost_on_busy_pipes(void **state)
{
	const char *const endpoints[] = {tcp_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	struct peer p = {.options = {.threads = 4}};
	int64_t again = metric_value("stowage_rpc_calls_again_total");

	(void)state;
	peer_start(&p, tcp_a);
	assert_int_equal(whoami(client), getpid());
	run_storm(client, 8, 6, RPC_PAYLOAD_MAX);
	assert_int_equal(metric_value("stowage_rpc_calls_again_total"), again); /* none had to be asked twice */
	peer_stop(&p);
}

static void bad_requests_are_refused_here(void **state)
{
	const char *const endpoints[] = {ipc_a};
	SCRATCH_CTX(ctx);
	struct rpc_client *client = client_for(ctx, endpoints, 1);
	const struct rpc_request cases[] = {
	    {.deadline_ms = 1000},
	    {.method = "", .deadline_ms = 1000},
	    {.method = "two words", .deadline_ms = 1000},
	    {.method = "noop", .account = "new\nline", .deadline_ms = 1000},
	    {.method = "a-method-whose-name-is-longer-than-any-that-a-server-would-listen-to", .deadline_ms = 1000},
	};
	struct rpc_client_options options = {.endpoints = endpoints, .endpoint_count = 1};
	struct rpc_client *none;
	struct rpc_reply reply;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(rpc_client_call(client, &cases[i], ctx, &reply, &e), ERR_INVALID);
	assert_int_equal(rpc_client_new(ctx, &options, &none, &e), ERR_INVALID); /* no secret */
	options.secret.current = "too short";
	assert_int_equal(rpc_client_new(ctx, &options, &none, &e), ERR_INVALID);
	options.secret.current = PEER_SECRET;
	options.endpoint_count = 0;
	assert_int_equal(rpc_client_new(ctx, &options, &none, &e), ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_addresses, remove_addresses)
	const struct CMUnitTest tests[] = {
	    TEST(a_request_arrives_whole_and_its_reply_too),
	    TEST(four_mebibytes_go_both_ways),
	    TEST(what_is_too_large_is_refused_before_it_is_sent),
	    TEST(a_reply_that_is_too_large_becomes_an_error),
	    TEST(errors_come_back_as_they_were),
	    TEST(unavailable_with_a_retry_after_is_waited_out_within_the_deadline),
	    TEST(a_deadline_that_passes_is_said_so),
	    TEST(sixty_four_threads_get_their_own_replies),
	    TEST(large_replies_are_not_lost_on_busy_pipes),
	    TEST(bad_requests_are_refused_here),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
