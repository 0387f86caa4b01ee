#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/transfer_work.h"
#include "tests/unit/object-store-gateway/chunk_support.h"

#include <pthread.h>

#define CHUNKS 150 /* more than two batches */

/* ---- a store whose chunks are in an old back end, and that writes to a new one ---- */

struct case_state {
	struct fixture *f;
	int64_t source, target;
};

static struct case_state two_back_ends(void)
{
	struct case_state c = {.f = fixture_new(BACKEND_FAULTY_MEM)};
	struct driver_conn *conn;
	struct backend *old;
	struct err e = {0};

	if (!c.f)
		skip();
	for (uint64_t i = 0; i < CHUNKS; i++) {
		char text[32];

		must_put(c.f, text, (size_t)snprintf(text, sizeof(text), "chunk %d", (int)i));
	}
	old = c.f->store.current;
	c.source = old->id;
	/* The new one beside it, in the same store: what a start with another configuration does. */
	fixture_must(driver_db.open(c.f, &(struct driver_setup){"object_store", NULL, c.f->pool}, &conn, &e), &e);
	fixture_must(backends_adopt(&c.f->store, &driver_db, conn, NULL, &e), &e);
	c.target = c.f->store.current->id;
	assert_int_not_equal(c.source, c.target);
	return c;
}

static bool always(void *arg, int64_t ms)
{
	(void)arg;
	return usleep((useconds_t)ms * 1000) == 0;
}

static struct transfer transfer_of(const struct case_state *c)
{
	return (struct transfer){.id = 1, .source = c->source, .target = c->target};
}

/* All batches from a position on. */
static void run_pass_from(const struct case_state *c, struct transfer *t, int64_t *moved, size_t *failed)
{
	struct transfer_batch *batch;
	struct err e = {0};

	*moved = 0;
	*failed = 0;
	do {
		SCRATCH_CTX(ctx);

		if (transfer_batch_run(&c->f->store, ctx, t, always, NULL, &batch, &e) != ERR_OK)
			fail_msg("batch: %s", e.text);
		*moved += batch->moved;
		*failed += batch->failure_count;
		t->position = batch->last;
		if (batch->count == 0)
			return;
	} while (true);
}

static void run_pass(const struct case_state *c, struct transfer *t, int64_t *moved, size_t *failed)
{
	t->position = 0;
	run_pass_from(c, t, moved, failed);
}

static int64_t live_in(const struct case_state *c, int64_t backend)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM objects.chunk WHERE backend = %lld AND state = 'live'",
	         (long long)backend);
	return fixture_number(c->f, sql);
}

static void all_readable(const struct case_state *c)
{
	for (int i = 0; i < CHUNKS; i++) {
		char text[32];

		must_get(c->f, text, (size_t)snprintf(text, sizeof(text), "chunk %d", i));
	}
}

/* ---- tests ---- */

static void everything_moves_and_stays_readable(void **state)
{
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	int64_t moved, removed;
	size_t failed;

	(void)state;
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS);
	assert_int_equal(failed, 0);
	assert_int_equal(live_in(&c, c.source), 0);
	assert_int_equal(live_in(&c, c.target), CHUNKS);
	all_readable(&c);
	assert_int_equal(rows_in(c.f, "deleting"), CHUNKS);
	/* New ones go to the new one, and what moved is known. */
	must_put(c.f, "chunk 1", 7);
	must_put(c.f, "another", 7);
	assert_int_equal(live_in(&c, c.target), CHUNKS + 1);
	assert_int_equal(sweep(c.f, &removed), ERR_OK);
	fixture_free(c.f);
}

static void copies_in_the_source_may_be_kept(void **state)
{
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	int64_t moved;
	size_t failed;

	(void)state;
	t.keep_source = true;
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS);
	assert_int_equal(rows_in(c.f, "spare"), CHUNKS);
	assert_int_equal(rows_in(c.f, "deleting"), 0);
	all_readable(&c);
	fixture_free(c.f);
}

static void a_damaged_chunk_stays_and_is_named(void **state)
{
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	int64_t moved;
	size_t failed;

	(void)state;
	spoil(c.f, FAULT_GET_FLIPS, EACH_READ);
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS - 1);
	assert_int_equal(failed, 1);
	assert_int_equal(live_in(&c, c.source), 1);
	assert_int_equal(fixture_number(c.f, "SELECT count(*) FROM objects.chunk WHERE damaged"), 1);
	/* It was the reading: the next pass finds it well. */
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, 1);
	assert_int_equal(failed, 0);
	all_readable(&c);
	fixture_free(c.f);
}

static void what_passes_is_tried_again(void **state)
{
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	int64_t moved;
	size_t failed;

	(void)state;
	spoil(c.f, FAULT_GET_FAILS, 3);
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS);
	assert_int_equal(failed, 0);
	fixture_free(c.f);
}

static bool not_any_more(void *arg, int64_t ms)
{
	int *calls = arg;

	(void)ms;
	return __atomic_sub_fetch(calls, 1, __ATOMIC_SEQ_CST) > 0;
}

static void it_ends_where_it_is_told_to_and_goes_on_later(void **state)
{
	SCRATCH_CTX(ctx);
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	struct transfer_batch *batch;
	struct err e = {0};
	int calls = 20;
	int64_t moved;
	size_t failed;

	(void)state;
	assert_int_equal(transfer_batch_run(&c.f->store, ctx, &t, not_any_more, &calls, &batch, &e), ERR_OK);
	assert_true(batch->interrupted);
	assert_in_range(batch->moved, 10, 25);
	assert_int_equal(live_in(&c, c.target), batch->moved);
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS - batch->moved);
	all_readable(&c);
	fixture_free(c.f);
}

static void the_rate_is_kept(void **state)
{
	SCRATCH_CTX(ctx);
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	struct transfer_batch *batch;
	struct err e = {0};
	int64_t began = clock_monotonic_ms();

	(void)state;
	/* 64 chunks of 7 or 8 bytes, at 1,000 bytes a second: the last one begins after half a second. */
	t.rate = 1000;
	assert_int_equal(transfer_batch_run(&c.f->store, ctx, &t, always, NULL, &batch, &e), ERR_OK);
	assert_int_equal(batch->moved, TRANSFER_BATCH);
	assert_true(clock_monotonic_ms() - began >= 440);
	fixture_free(c.f);
}

/* Whoever asks how far it is should not have to wait for a batch of large chunks at a low rate. */
static void a_slow_batch_ends_early(void **state)
{
	SCRATCH_CTX(ctx);
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	struct transfer_batch *batch;
	struct err e = {0};
	int64_t moved;
	size_t failed;

	(void)state;
	/* 64 chunks of 7 or 8 bytes: 12 seconds. */
	t.rate = 40;
	assert_int_equal(transfer_batch_run(&c.f->store, ctx, &t, always, NULL, &batch, &e), ERR_OK);
	assert_in_range(batch->count, 15, 45);
	assert_int_equal(batch->moved, batch->count);
	assert_false(batch->interrupted);
	t.rate = 0;
	t.position = batch->last;
	run_pass_from(&c, &t, &moved, &failed);
	assert_int_equal(moved, CHUNKS - batch->moved);
	assert_int_equal(live_in(&c, c.source), 0);
	all_readable(&c);
	fixture_free(c.f);
}

/* Objects appear and go while chunks move: nobody sees half of one. */
struct traffic {
	struct fixture *f;
	bool over, failed;
	int rounds;
};

static void *make_traffic(void *arg)
{
	struct traffic *t = arg;

	for (int i = 0; !__atomic_load_n(&t->over, __ATOMIC_SEQ_CST); i++) {
		SCRATCH_CTX(ctx);
		char text[32];
		size_t len = (size_t)snprintf(text, sizeof(text), "chunk %d", i % CHUNKS), stored;
		struct digest d = digest_of(text, len);
		struct chunk chunk;
		struct err e;
		void *bytes;

		t->failed |= chunk_put(&t->f->store, &d, text, len, &stored, &e) != ERR_OK;
		if (find(t->f, ctx, text, len, &chunk) && chunk_get(&t->f->store, ctx, &chunk, &bytes, &e) != ERR_OK)
			t->failed |= chunk_is_live(&t->f->store, &chunk);
		t->rounds++;
	}
	return NULL;
}

static void the_system_serves_meanwhile(void **state)
{
	struct case_state c = two_back_ends();
	struct transfer t = transfer_of(&c);
	struct traffic traffic = {.f = c.f};
	int64_t moved, removed;
	pthread_t thread;
	size_t failed;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, make_traffic, &traffic), 0);
	run_pass(&c, &t, &moved, &failed);
	assert_int_equal(sweep(c.f, &removed), ERR_OK);
	__atomic_store_n(&traffic.over, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(traffic.failed);
	assert_true(traffic.rounds > 0);
	assert_int_equal(failed, 0);
	assert_int_equal(live_in(&c, c.source), 0);
	fixture_free(c.f);
}

static void orders_are_looked_at(void **state)
{
	SCRATCH_CTX(ctx);
	struct case_state c = two_back_ends();
	struct store *s = &c.f->store;
	struct store_migrate_status_reply reply = {0};
	struct err e = {0};
	int64_t id, again;
	bool stopped;

	(void)state;
	assert_int_equal(transfer_start(s, &(struct transfer_order){"nowhere", "db"}, &id, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "nowhere"));
	assert_int_equal(transfer_start(s, &(struct transfer_order){"db", "db"}, &id, &e), ERR_INVALID);
	assert_int_equal(transfer_start(s, &(struct transfer_order){"db", "faulty"}, &id, &e), ERR_PRECONDITION);
	assert_int_equal(transfer_start(s, &(struct transfer_order){"faulty", "db", 5}, &id, &e), ERR_OK);
	assert_int_equal(transfer_start(s, &(struct transfer_order){"faulty", "db", 7, true}, &again, &e), ERR_OK);
	assert_int_equal(id, again);
	assert_int_equal(transfer_read(s, ctx, 10, &reply, &e), ERR_OK);
	assert_int_equal(reply.items_count, 1);
	assert_int_equal(reply.items[0].state, TRANSFER_RUNNING);
	assert_int_equal(reply.items[0].rate, 7);
	assert_true(reply.items[0].keep_source);
	assert_int_equal(reply.items[0].chunks, CHUNKS);
	assert_int_equal(reply.items[0].left_chunks, CHUNKS);
	assert_int_equal(transfer_stop(s, &stopped, &e), ERR_OK);
	assert_true(stopped);
	assert_int_equal(transfer_stop(s, &stopped, &e), ERR_OK);
	assert_false(stopped);
	assert_int_equal(transfer_read(s, ctx, 10, &reply, &e), ERR_OK);
	assert_int_equal(reply.items[0].state, TRANSFER_STOPPED);
	fixture_free(c.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_moves_and_stays_readable),
	    cmocka_unit_test(copies_in_the_source_may_be_kept),
	    cmocka_unit_test(a_damaged_chunk_stays_and_is_named),
	    cmocka_unit_test(what_passes_is_tried_again),
	    cmocka_unit_test(it_ends_where_it_is_told_to_and_goes_on_later),
	    cmocka_unit_test(the_rate_is_kept),
	    cmocka_unit_test(a_slow_batch_ends_early),
	    cmocka_unit_test(the_system_serves_meanwhile),
	    cmocka_unit_test(orders_are_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
