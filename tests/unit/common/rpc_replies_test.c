#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rpc_replies.h"

#include <stdio.h>
#include <string.h>

static struct transport_message message_of(const void *bytes, size_t len)
{
	struct transport_message m;
	struct err e;

	assert_int_equal(transport_message_new(len, &m, &e), ERR_OK);
	memcpy(m.bytes, bytes, len);
	return m;
}

static struct transport_route route_to(uint8_t number)
{
	struct transport_route route = {.len = 1};

	route.control[0] = number;
	return route;
}

static struct rpc_replies *replies_of(TALLOC_CTX *ctx, size_t bytes, size_t count)
{
	struct rpc_replies_limits limits = {.bytes = bytes, .count = count, .window_ms = 1000};

	return rpc_replies_new(ctx, &limits);
}

static enum rpc_replies_verdict enter(struct rpc_replies *r, const char *key, bool first_time, uint8_t from,
                                      int64_t now_ms)
{
	struct transport_route route = route_to(from);
	struct transport_message kept = {0};
	enum rpc_replies_verdict verdict = rpc_replies_enter(r, key, first_time, &route, now_ms, &kept);

	assert_int_equal(kept.bytes != NULL, verdict == RPC_REPLIES_KEPT);
	transport_message_release(&kept);
	return verdict;
}

static struct rpc_routes finish(struct rpc_replies *r, const char *key, size_t len, bool keep, int64_t now_ms)
{
	SCRATCH_CTX(ctx);
	struct transport_message m = message_of(talloc_zero_size(ctx, len), len);
	struct rpc_routes routes;

	rpc_replies_finish(r, key, &m, keep, now_ms, &routes);
	transport_message_release(&m);
	return routes;
}

static void a_request_runs_once_and_its_copies_join_it(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_replies *r = replies_of(ctx, 1000, 10);
	struct rpc_routes routes;

	(void)state;
	assert_int_equal(enter(r, "a", true, 1, 0), RPC_REPLIES_RUN);
	assert_int_equal(enter(r, "a", true, 2, 0), RPC_REPLIES_JOINED);
	assert_int_equal(enter(r, "a", false, 3, 0), RPC_REPLIES_JOINED);
	assert_int_equal(enter(r, "b", true, 4, 0), RPC_REPLIES_RUN);
	routes = finish(r, "a", 10, true, 0);
	assert_int_equal(routes.count, 3);
	for (uint8_t i = 0; i < 3; i++)
		assert_int_equal(routes.route[i].control[0], i + 1);
	assert_int_equal(enter(r, "a", true, 5, 0), RPC_REPLIES_KEPT);
	assert_int_equal(enter(r, "a", false, 5, 0), RPC_REPLIES_KEPT);
	assert_int_equal(finish(r, "b", 10, true, 0).count, 1);
}

static void the_kept_reply_is_the_one_that_was_sent(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_replies *r = replies_of(ctx, 1000, 10);
	struct transport_message sealed = message_of("the reply", 9), kept = {0};
	struct transport_route route = route_to(1);
	struct rpc_routes routes;

	(void)state;
	assert_int_equal(enter(r, "a", true, 1, 0), RPC_REPLIES_RUN);
	rpc_replies_finish(r, "a", &sealed, true, 0, &routes);
	assert_int_equal(rpc_replies_enter(r, "a", true, &route, 0, &kept), RPC_REPLIES_KEPT);
	assert_int_equal(kept.len, 9);
	assert_memory_equal(kept.bytes, "the reply", 9);
	transport_message_release(&kept);
	transport_message_release(&sealed);
}

static void a_frame_seen_before_is_gone_when_its_reply_is(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_replies *r = replies_of(ctx, 1000, 10);

	(void)state;
	assert_int_equal(enter(r, "a", false, 1, 0), RPC_REPLIES_GONE);
	assert_int_equal(enter(r, "a", true, 1, 0), RPC_REPLIES_RUN);
	finish(r, "a", 10, false, 0);
	assert_int_equal(enter(r, "a", false, 1, 0), RPC_REPLIES_GONE);
	assert_int_equal(enter(r, "a", true, 1, 0), RPC_REPLIES_RUN); /* sealed anew: it may run */
	finish(r, "a", 10, true, 0);
	assert_int_equal(enter(r, "a", true, 1, 999), RPC_REPLIES_KEPT);
	assert_int_equal(enter(r, "a", true, 1, 1000), RPC_REPLIES_RUN); /* the window is over */
	finish(r, "a", 10, true, 1000);
}

static void replies_are_kept_within_bytes_and_number(void **state)
{
	static const struct {
		size_t bytes, count, each, fit;
	} cases[] = {
	    {1000, 100, 100, 10},
	    {1000, 3, 100, 3},
	    {1000, 100, 1000, 1},
	    {1000, 100, 1001, 0},
	    {1000, 0, 1, 0},
	    {1000, 100, 334, 2},
	    {8 * MIB, 9, RPC_REPLIES_EACH_MAX, 9},
	    {8 * MIB, 9, RPC_REPLIES_EACH_MAX + 1, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct rpc_replies *r = replies_of(ctx, cases[i].bytes, cases[i].count);
		char key[16];

		for (int n = 0; n < 20; n++) {
			snprintf(key, sizeof(key), "%d", n);
			assert_int_equal(enter(r, key, true, 1, n), RPC_REPLIES_RUN);
			finish(r, key, cases[i].each, true, n);
			assert_true(rpc_replies_kept_bytes(r) <= cases[i].bytes);
		}
		assert_int_equal(rpc_replies_kept(r), cases[i].fit);
		if (cases[i].fit > 0) { /* the newest is what is kept */
			assert_int_equal(enter(r, "19", true, 1, 20), RPC_REPLIES_KEPT);
			assert_int_equal(enter(r, "0", false, 1, 20), RPC_REPLIES_GONE);
		}
	}
}

static void of_too_many_copies_the_newest_are_answered(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_replies *r = replies_of(ctx, 1000, 10);
	struct rpc_routes routes;
	bool newest = false;

	(void)state;
	assert_int_equal(enter(r, "a", true, 0, 0), RPC_REPLIES_RUN);
	for (uint8_t i = 1; i <= 100; i++)
		assert_int_equal(enter(r, "a", true, i, 0), RPC_REPLIES_JOINED);
	routes = finish(r, "a", 10, true, 0);
	assert_int_equal(routes.count, RPC_REPLIES_JOINED_MAX + 1);
	for (size_t i = 0; i < routes.count; i++) {
		assert_true(routes.route[i].control[0] > 100 - routes.count);
		newest |= routes.route[i].control[0] == 100;
	}
	assert_true(newest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_runs_once_and_its_copies_join_it),
	    cmocka_unit_test(the_kept_reply_is_the_one_that_was_sent),
	    cmocka_unit_test(a_frame_seen_before_is_gone_when_its_reply_is),
	    cmocka_unit_test(replies_are_kept_within_bytes_and_number),
	    cmocka_unit_test(of_too_many_copies_the_newest_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
