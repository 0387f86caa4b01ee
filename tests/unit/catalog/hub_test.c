#include "tests/unit/catalog/fixture.h"

#include <pthread.h>

static void what_was_announced_before_the_wait_ends_it_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = hub_seen(f->c.hub);
	int64_t start_ms = clock_monotonic_ms();

	hub_announce(f->c.hub);
	assert_true(hub_wait(f->c.hub, seen, start_ms + 5000));
	assert_true(clock_monotonic_ms() - start_ms < 4000);
}

static void a_wait_ends_with_its_time_and_looks_again_now_and_then(void **state)
{
	struct fixture *f = *state;
	int64_t start_ms = clock_monotonic_ms();

	assert_false(hub_wait(f->c.hub, hub_seen(f->c.hub), start_ms + 50));
	assert_true(clock_monotonic_ms() - start_ms >= 50);
	assert_true(hub_wait(f->c.hub, hub_seen(f->c.hub), start_ms + 60000));
	assert_true(clock_monotonic_ms() - start_ms < 30000);
}

static void requests_that_wait_never_take_all_threads(void **state)
{
	struct fixture *f = *state;
	struct hub *hub = hub_new(f->ctx, 8, NULL, NULL);
	int64_t now_ms = clock_monotonic_ms(), until_ms[8];

	for (size_t i = 0; i < 8; i++)
		until_ms[i] = hub_hold(hub, 30000) - now_ms;
	for (size_t i = 0; i < 4; i++)
		assert_true(until_ms[i] >= 30000);
	for (size_t i = 4; i < 6; i++)
		assert_in_range(until_ms[i], 200, 1000);
	for (size_t i = 6; i < 8; i++)
		assert_in_range(until_ms[i], 0, 150);
	for (size_t i = 0; i < 8; i++)
		hub_let_go(hub);
	assert_true(hub_hold(hub, 30000) - now_ms >= 30000);
	hub_let_go(hub);
}

static void a_closed_hub_holds_nobody(void **state)
{
	struct fixture *f = *state;
	struct hub *hub = hub_new(f->ctx, 8, NULL, NULL);
	int64_t start_ms = clock_monotonic_ms();

	hub_close(hub);
	assert_false(hub_wait(hub, hub_seen(hub), start_ms + 30000));
	assert_true(clock_monotonic_ms() - start_ms < 4000);
}

struct listener {
	struct fixture *f;
	struct hub *hub;
	pthread_t thread;
	enum err_code code;
};

static void *listen_to_others(void *arg)
{
	struct listener *l = arg;
	struct err e;

	l->code = hub_listen(l->hub, l->f->pool, &e);
	return NULL;
}

static void announcements_reach_other_replicas(void **state)
{
	struct fixture *f = *state;
	struct hub *other = hub_new(f->ctx, 8, NULL, NULL);
	struct listener l = {.f = f, .hub = other};
	uint64_t seen = hub_seen(other);

	assert_int_equal(pthread_create(&l.thread, NULL, listen_to_others, &l), 0);
	/* It tells those who wait when it begins, for what they may have missed. */
	for (int i = 0; i < 100 && hub_seen(other) == seen; i++)
		(void)hub_wait(other, seen, clock_monotonic_ms() + 100);
	seen = hub_seen(other);
	assert_false(hub_send(f->c.hub, f->pool));
	for (int i = 0; i < 5; i++)
		hub_announce(f->c.hub);
	assert_true(hub_send(f->c.hub, f->pool));
	assert_false(hub_send(f->c.hub, f->pool));
	for (int i = 0; i < 100 && hub_seen(other) == seen; i++)
		(void)hub_wait(other, seen, clock_monotonic_ms() + 100);
	assert_int_not_equal(hub_seen(other), seen);
	hub_close(other);
	pthread_join(l.thread, NULL);
	assert_int_equal(l.code, ERR_OK);
}

FIXTURE_MAIN(FIXTURE_TEST(what_was_announced_before_the_wait_ends_it_at_once),
             FIXTURE_TEST(a_wait_ends_with_its_time_and_looks_again_now_and_then),
             FIXTURE_TEST(requests_that_wait_never_take_all_threads), FIXTURE_TEST(a_closed_hub_holds_nobody),
             FIXTURE_TEST(announcements_reach_other_replicas))
