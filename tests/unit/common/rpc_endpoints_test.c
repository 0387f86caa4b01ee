#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/rpc_endpoints.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

static const char *const addresses[] = {"ipc:///nowhere/a", "ipc:///nowhere/b", "ipc:///nowhere/c"};

static struct rpc_endpoints *set_of(TALLOC_CTX *ctx, size_t count)
{
	struct rpc_endpoints *set;
	struct err e;

	assert_int_equal(rpc_endpoints_new(ctx, addresses, count, &set, &e), ERR_OK);
	return set;
}

static struct rpc_endpoint *choose(struct rpc_endpoints *set)
{
	uint64_t tried = 0;
	int64_t not_before_ms;
	struct rpc_endpoint *ep = rpc_endpoints_choose(set, &tried, &not_before_ms);

	assert_non_null(ep);
	return ep;
}

static size_t index_of(const struct rpc_endpoint *ep)
{
	return (size_t)(rpc_endpoint_address(ep)[strlen("ipc:///nowhere/")] - 'a');
}

/* By name, so that a test can speak of one of them. */
static struct rpc_endpoint *endpoint(struct rpc_endpoints *set, size_t which)
{
	for (;;) {
		struct rpc_endpoint *ep = choose(set);

		rpc_endpoint_release(ep);
		if (index_of(ep) == which)
			return ep;
	}
}

static void calls_spread_evenly_and_to_where_fewest_run(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set = set_of(ctx, 3);
	size_t counts[3] = {0};

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct rpc_endpoint *ep = choose(set);

		counts[index_of(ep)]++;
		rpc_endpoint_release(ep);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(counts[i], 100);
	for (int i = 0; i < 6; i++) /* nobody finishes: two each */
		counts[index_of(choose(set))]++;
	for (int i = 0; i < 3; i++)
		assert_int_equal(counts[i], 102);
}

static void one_that_failed_is_left_out_until_it_worked(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set = set_of(ctx, 3);
	struct rpc_endpoint *a = endpoint(set, 0);

	(void)state;
	assert_int_equal(rpc_endpoint_failed(a), 1);
	assert_int_equal(rpc_endpoints_out(set), 1);
	for (int i = 0; i < 20; i++)
		assert_int_not_equal(index_of(choose(set)), 0);
	assert_int_equal(rpc_endpoint_worked(a), 1);
	assert_int_equal(rpc_endpoint_worked(a), 0);
	assert_int_equal(rpc_endpoints_out(set), 0);
	assert_int_equal(index_of(choose(set)), 0); /* it has the fewest */
}

static void when_all_are_out_each_is_tried_once_a_round(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set = set_of(ctx, 3);
	struct rpc_endpoint *all[] = {endpoint(set, 0), endpoint(set, 1), endpoint(set, 2)};
	uint64_t tried = 0;
	int64_t not_before_ms = 1;
	bool seen[3] = {false};

	(void)state;
	for (int i = 0; i < 3; i++)
		rpc_endpoint_failed(all[i]);
	for (int i = 0; i < 3; i++) {
		struct rpc_endpoint *ep = rpc_endpoints_choose(set, &tried, &not_before_ms);

		assert_non_null(ep);
		assert_false(seen[index_of(ep)]);
		seen[index_of(ep)] = true;
	}
	assert_null(rpc_endpoints_choose(set, &tried, &not_before_ms));
	assert_int_equal(not_before_ms, 0);
	tried = 0;
	assert_non_null(rpc_endpoints_choose(set, &tried, &not_before_ms));
}

static void one_that_asks_for_patience_gets_it(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set = set_of(ctx, 3);
	struct rpc_endpoint *a = endpoint(set, 0), *b = endpoint(set, 1), *c = endpoint(set, 2);
	int64_t began = clock_monotonic_ms(), not_before_ms;
	uint64_t tried = 0;

	(void)state;
	rpc_endpoint_busy(a, 100);
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(index_of(choose(set)), 0);
	rpc_endpoint_busy(b, 5000);
	rpc_endpoint_failed(c); /* one that is out is no better than one that will soon be free */
	assert_null(rpc_endpoints_choose(set, &tried, &not_before_ms));
	assert_in_range(not_before_ms - began, 100, 400);
	while (clock_monotonic_ms() < not_before_ms)
		usleep(1000);
	assert_ptr_equal(rpc_endpoints_choose(set, &tried, &not_before_ms), a);
}

static void pings_are_due_at_once_and_then_less_and_less_often(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set = set_of(ctx, 2);
	struct rpc_endpoint *a = endpoint(set, 0);
	int64_t next_ms;

	(void)state;
	assert_null(rpc_endpoints_due(set, &next_ms));
	assert_int_equal(next_ms, INT64_MAX);
	assert_int_equal(rpc_endpoint_failed(a), 1);
	assert_ptr_equal(rpc_endpoints_due(set, &next_ms), a);
	rpc_endpoint_release(a);
	assert_int_equal(rpc_endpoint_failed(a), 2); /* the ping failed, too */
	assert_null(rpc_endpoints_due(set, &next_ms));
	assert_in_range(next_ms - clock_monotonic_ms(), 1, 125 + 1000);
	for (int i = 0; i < 100; i++) /* a crowd that fails now says nothing new */
		assert_int_equal(rpc_endpoint_failed(a), 2);
	rpc_endpoint_worked(a);
	assert_null(rpc_endpoints_due(set, &next_ms));
	assert_int_equal(next_ms, INT64_MAX);
}

static void idle_sockets_are_used_again_and_bounded(void **state)
{
	static const char *const never_refused[] = {"inproc://nobody"};
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set;
	struct rpc_endpoint *a;
	struct transport_socket *sockets[RPC_ENDPOINT_IDLE_MAX + 5], *again;
	struct err e;

	(void)state;
	assert_int_equal(rpc_endpoints_new(ctx, never_refused, 1, &set, &e), ERR_OK);
	a = choose(set);
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		assert_int_equal(rpc_endpoint_take_socket(a, &sockets[i], &e), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		rpc_endpoint_give_socket(a, sockets[i]); /* the last few are closed: the leak check would tell */
	assert_int_equal(rpc_endpoint_take_socket(a, &again, &e), ERR_OK);
	assert_ptr_equal(again, sockets[RPC_ENDPOINT_IDLE_MAX - 1]);
	rpc_endpoint_give_socket(a, again);
}

static void await_refusal(const struct transport_socket *socket)
{
	for (int i = 0; !transport_is_refused(socket); i++) {
		assert_true(i < 1000);
		usleep(1000);
	}
}

static size_t count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void sockets_that_nobody_answers_are_not_kept(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoint *a = choose(set_of(ctx, 1));
	struct transport_socket *socket;
	size_t before;
	struct err e;

	(void)state;
	assert_int_equal(rpc_endpoint_take_socket(a, &socket, &e), ERR_OK);
	await_refusal(socket);
	before = count_descriptors();
	rpc_endpoint_give_socket(a, socket);
	assert_true(count_descriptors() < before);
	assert_int_equal(rpc_endpoint_take_socket(a, &socket, &e), ERR_OK); /* which asks anew */
	rpc_endpoint_give_socket(a, socket);
}

static void a_set_needs_an_address_and_not_too_many(void **state)
{
	SCRATCH_CTX(ctx);
	struct rpc_endpoints *set;
	struct err e;

	(void)state;
	assert_int_equal(rpc_endpoints_new(ctx, addresses, 0, &set, &e), ERR_INVALID);
	assert_int_equal(rpc_endpoints_new(ctx, addresses, RPC_ENDPOINTS_MAX + 1, &set, &e), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(calls_spread_evenly_and_to_where_fewest_run),
	    cmocka_unit_test(one_that_failed_is_left_out_until_it_worked),
	    cmocka_unit_test(when_all_are_out_each_is_tried_once_a_round),
	    cmocka_unit_test(one_that_asks_for_patience_gets_it),
	    cmocka_unit_test(pings_are_due_at_once_and_then_less_and_less_often),
	    cmocka_unit_test(idle_sockets_are_used_again_and_bounded),
	    cmocka_unit_test(sockets_that_nobody_answers_are_not_kept),
	    cmocka_unit_test(a_set_needs_an_address_and_not_too_many),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
