#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rpc_workers.h"

#include <stdatomic.h>
#include <unistd.h>

#define WAIT_MS 20000

struct piece {
	struct rpc_work work;
	atomic_int done;
};

struct shop {
	atomic_int done, at_work, most_at_work;
	atomic_bool hold;
};

static void do_piece(struct rpc_work *work, void *arg)
{
	struct piece *piece = (struct piece *)work;
	struct shop *shop = arg;
	int at_work = atomic_fetch_add(&shop->at_work, 1) + 1, most = atomic_load(&shop->most_at_work);

	while (at_work > most && !atomic_compare_exchange_weak(&shop->most_at_work, &most, at_work))
		;
	for (int i = 0; atomic_load(&shop->hold) && i < WAIT_MS; i++)
		usleep(1000);
	atomic_fetch_add(&piece->done, 1);
	atomic_fetch_sub(&shop->at_work, 1);
	atomic_fetch_add(&shop->done, 1);
}

static struct rpc_workers *workers_of(TALLOC_CTX *ctx, struct shop *shop, size_t threads, size_t queue_max)
{
	struct rpc_workers_options options = {
	    .name = "a rather long name",
	    .threads = threads,
	    .queue_max = queue_max,
	    .body = do_piece,
	    .arg = shop,
	};
	struct rpc_workers *w;
	struct err e;

	assert_int_equal(rpc_workers_start(ctx, &options, &w, &e), ERR_OK);
	return w;
}

static bool becomes(atomic_int *value, int wanted)
{
	for (int i = 0; atomic_load(value) != wanted && i < WAIT_MS; i++)
		usleep(1000);
	return atomic_load(value) == wanted;
}

static void each_piece_is_done_once(void **state)
{
	SCRATCH_CTX(ctx);
	static struct piece pieces[5000];
	struct shop shop = {0};
	struct rpc_workers *w = workers_of(ctx, &shop, 4, 100);
	struct rpc_work_list left = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		while (!rpc_workers_push(w, &pieces[i].work))
			usleep(100);
	assert_true(becomes(&shop.done, ARRAY_SIZE(pieces)));
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		assert_int_equal(atomic_load(&pieces[i].done), 1);
	rpc_workers_stop(w, &left);
	assert_null(left.first);
}

static void all_threads_work_and_the_queue_has_its_end(void **state)
{
	SCRATCH_CTX(ctx);
	struct piece pieces[7] = {0};
	struct shop shop = {.hold = true};
	struct rpc_workers *w = workers_of(ctx, &shop, 3, 3);
	struct rpc_work_list left = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(rpc_workers_push(w, &pieces[i].work));
		assert_true(becomes(&shop.at_work, i + 1));
	}
	for (int i = 3; i < 6; i++)
		assert_true(rpc_workers_push(w, &pieces[i].work));
	assert_false(rpc_workers_push(w, &pieces[6].work));
	atomic_store(&shop.hold, false);
	assert_true(becomes(&shop.done, 6));
	assert_int_equal(atomic_load(&shop.most_at_work), 3);
	rpc_workers_stop(w, &left);
}

static void stopping_hands_back_what_nobody_began(void **state)
{
	SCRATCH_CTX(ctx);
	struct piece pieces[4] = {0};
	struct shop shop = {.hold = true};
	struct rpc_workers *w = workers_of(ctx, &shop, 1, 10);
	struct rpc_work_list left = {0};
	size_t count = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(rpc_workers_push(w, &pieces[i].work));
	assert_true(becomes(&shop.at_work, 1));
	atomic_store(&shop.hold, false);
	rpc_workers_stop(w, &left);
	while (rpc_work_take(&left))
		count++;
	assert_int_equal(count + (size_t)atomic_load(&shop.done), 4);
	for (int i = 0; i < 4; i++)
		assert_true(atomic_load(&pieces[i].done) <= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_piece_is_done_once),
	    cmocka_unit_test(all_threads_work_and_the_queue_has_its_end),
	    cmocka_unit_test(stopping_hands_back_what_nobody_began),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
