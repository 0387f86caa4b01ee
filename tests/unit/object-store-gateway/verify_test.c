/* The messages about what a store's chunks are like: store_verify, store_scrub, store_audit. */
#include "tests/unit/object-store-gateway/damage_support.h"

#include "proto/gateway_handlers.h"
#include "services/object-store-gateway/scrub.h"

#define CHUNKS 60

/* As much of a gateway as handlers need. Its stores are the fixture's. */
static struct settings settings;

static struct fixture *gateway_fixture(enum fixture_kind kind, struct gateway *g)
{
	struct fixture *f = damage_fixture(kind);

	settings = (struct settings){.scrub_rate = 1 << 20, .scrub_interval_ms = 86400000};
	*g = (struct gateway){.settings = &settings, .db = f->pool, .store_count = 2};
	g->stores[0] = f->store;
	g->stores[1] = f->archive;
	g->stores[0].sibling = &g->stores[1];
	g->stores[1].sibling = &g->stores[0];
	return f;
}

static struct rpc_call call_of(struct gateway *g, TALLOC_CTX *ctx, int64_t ms)
{
	return (struct rpc_call){.ctx = ctx, .method = "test", .service = g, .deadline_ms = clock_monotonic_ms() + ms};
}

static void put_many(struct store *s, int count)
{
	char key[16];

	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "doc %d", i);
		must_put(s, key, key);
	}
}

struct verified {
	int64_t checked, bytes, healed, unreachable;
	size_t damaged, pages;
	struct damaged_chunk last;
};

/* All pages, as a client asks for them. */
static struct verified verify(struct gateway *g, TALLOC_CTX *ctx, struct store_verify_request request, int64_t ms)
{
	struct verified sum = {0};
	struct store_verify_reply page = {.more = true};

	while (page.more) {
		struct rpc_call call = call_of(g, ctx, ms);
		struct err e = {0};

		page = (struct store_verify_reply){0};
		fixture_must(handle_store_verify(&call, &request, &page, &e), &e);
		request.after = page.last;
		request.count = page.count_left;
		sum.pages++;
		sum.checked += page.checked;
		sum.bytes += page.bytes;
		sum.healed += page.healed;
		sum.unreachable += page.unreachable;
		sum.damaged += page.damaged_count;
		assert_true(!page.unreachable || page.unreachable_reason);
		if (page.damaged_count)
			sum.last = page.damaged[page.damaged_count - 1];
	}
	return sum;
}

static void every_chunk_is_read_once_page_by_page(void **state)
{
	static const int64_t limits[] = {0, 1, 7, CHUNKS, CHUNKS + 1};
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_LOCALFS, &g);
	SCRATCH_CTX(ctx);

	(void)state;
	put_many(&f->store, CHUNKS);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct verified sum =
		    verify(&g, ctx, (struct store_verify_request){.store = "object_store", .limit = limits[i]}, 60000);

		assert_int_equal(sum.checked, CHUNKS);
		assert_int_equal(sum.damaged, 0);
		assert_int_equal(sum.pages, limits[i] ? (CHUNKS + limits[i] - 1) / limits[i] : 1);
	}
	/* With no time left a page still has one. */
	assert_int_equal(verify(&g, ctx, (struct store_verify_request){.store = "object_store"}, 1).pages, CHUNKS);
	assert_int_equal(verify(&g, ctx, (struct store_verify_request){.store = "analysis_archive"}, 60000).checked, 0);
	fixture_free(f);
}

static void damage_is_reported_with_its_objects_and_healed_when_asked(void **state)
{
	static const enum fixture_kind kinds[] = {BACKEND_MEM, BACKEND_DB, BACKEND_LOCALFS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct gateway g;
		struct fixture *f = gateway_fixture(kinds[i], &g);
		struct store_verify_request request = {.store = "object_store"};
		SCRATCH_CTX(ctx);
		struct verified sum;

		put_many(&f->store, 10);
		must_put(&f->store, "twin", "doc 1");
		spoil(&f->store, "doc 1");
		lose(&f->store, "doc 2");
		must_put(&f->archive, "copy", "doc 1");
		sum = verify(&g, ctx, request, 60000);
		assert_int_equal(sum.damaged, 2);
		assert_int_equal(sum.healed, 0);
		assert_int_equal(count_marked(f), 2);
		request.heal = true;
		sum = verify(&g, ctx, request, 60000);
		assert_int_equal(sum.damaged, 2);
		assert_int_equal(sum.healed, 1);
		assert_int_equal(count_marked(f), 1);
		must_get(&f->store, "twin", "doc 1");
		sum = verify(&g, ctx, request, 60000);
		assert_int_equal(sum.damaged, 1);
		assert_false(sum.last.healed);
		assert_int_equal(sum.last.objects.count, 1);
		assert_string_equal(sum.last.objects.items[0], "acme/docs/doc 2");
		fixture_free(f);
	}
}

static void the_archive_is_healed_from_the_working_set(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_DB, &g);
	SCRATCH_CTX(ctx);
	struct verified sum;

	(void)state;
	put_many(&f->store, 3);
	put_many(&f->archive, 3);
	spoil(&f->archive, "doc 0");
	sum = verify(&g, ctx, (struct store_verify_request){.store = "analysis_archive", .heal = true}, 60000);
	assert_int_equal(sum.checked, 3);
	assert_int_equal(sum.healed, 1);
	assert_true(sum.last.healed);
	assert_string_equal(sum.last.objects.items[0], "acme/docs/doc 0");
	must_get(&f->archive, "doc 0", "doc 0");
	fixture_free(f);
}

static void a_mark_goes_when_the_chunk_reads_well(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_FAULTY_MEM, &g);
	SCRATCH_CTX(ctx);

	(void)state;
	put_many(&f->store, 3);
	atomic_store(&f->faults.left[FAULT_GET_SHORT], EACH_READ);
	assert_int_equal(verify(&g, ctx, (struct store_verify_request){.store = "object_store"}, 60000).damaged, 1);
	assert_int_equal(count_marked(f), 1);
	assert_int_equal(verify(&g, ctx, (struct store_verify_request){.store = "object_store"}, 60000).damaged, 0);
	assert_int_equal(count_marked(f), 0);
	fixture_free(f);
}

static void what_cannot_be_reached_is_counted_and_is_no_damage(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_FAULTY_MEM, &g);
	SCRATCH_CTX(ctx);
	struct verified sum;

	(void)state;
	put_many(&f->store, 10);
	atomic_store(&f->faults.left[FAULT_GET_FAILS], 4);
	sum = verify(&g, ctx, (struct store_verify_request){.store = "object_store", .heal = true, .limit = 3}, 60000);
	assert_int_equal(sum.unreachable, 4);
	assert_int_equal(sum.checked, 6);
	assert_int_equal(sum.damaged, 0);
	assert_int_equal(count_marked(f), 0);
	fixture_free(f);
}

static void spare_copies_are_checked_with_their_chunk(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_MEM, &g);
	struct backend *first = f->store.current;
	SCRATCH_CTX(ctx);
	struct chunk_kept old;
	struct verified sum;
	struct store open;
	struct err e = {0};
	bool done;

	(void)state;
	put_many(&f->store, 4);
	old = live_of(&f->store, "doc 2");
	change_backend(f, &open, &driver_db);
	g.stores[0].current = f->store.current;
	assert_int_equal(chunk_rewrite(&f->store, &old.chunk, "doc 2", f->store.current, CHUNK_SPARE, &done, &e),
	                 ERR_OK);
	lose_bytes(&f->store, &old);
	for (int64_t limit = 1; limit < 7; limit++) {
		sum = verify(&g, ctx, (struct store_verify_request){.store = "object_store", .limit = limit}, 60000);
		assert_int_equal(sum.checked, 5);
		assert_int_equal(sum.damaged, 1);
		assert_true(sum.last.spare);
		assert_int_equal(sum.last.objects.count, 0);
	}
	sum = verify(&g, ctx, (struct store_verify_request){.store = "object_store", .heal = true}, 60000);
	assert_int_equal(sum.healed, 1);
	assert_int_equal(verify(&g, ctx, (struct store_verify_request){.store = "object_store"}, 60000).damaged, 0);
	change_back(f, &open, first);
	fixture_free(f);
}

/* ---- samples ---- */

static void a_sample_by_count_has_that_many_different_chunks(void **state)
{
	static const int64_t counts[] = {1, 7, CHUNKS - 1, CHUNKS, CHUNKS * 2};
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_MEM, &g);
	SCRATCH_CTX(ctx);

	(void)state;
	put_many(&f->store, CHUNKS);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		for (int64_t limit = 0; limit < 40; limit += 13) {
			struct store_verify_request request = {
			    .store = "object_store", .count = counts[i], .limit = limit};

			assert_int_equal(verify(&g, ctx, request, 60000).checked, MIN(counts[i], (int64_t)CHUNKS));
		}
	}
	fixture_free(f);
}

/* Each chunk is as likely as each other: in 200 samples of a sixth, none is missed. The odds of missing one by chance
 * are below 1 in 10^13. */
static void samples_reach_every_chunk(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_FAULTY_MEM, &g);
	SCRATCH_CTX(ctx);
	int64_t checked = 0;

	(void)state;
	put_many(&f->store, CHUNKS);
	for (int i = 0; i < CHUNKS; i++) {
		char text[16];

		snprintf(text, sizeof(text), "doc %d", i);
		lose(&f->store, text);
	}
	for (int i = 0; i < 200; i++) {
		struct store_verify_request request = {.store = "object_store"};

		if (i % 2)
			request.count = CHUNKS / 6;
		else
			request.sample = 1000000 / 6;
		checked += verify(&g, ctx, request, 60000).checked;
	}
	assert_int_equal(count_marked(f), CHUNKS);
	assert_in_range(checked, 200 * CHUNKS / 6 - 400, 200 * CHUNKS / 6 + 400);
	fixture_free(f);
}

/* ---- what is told of the scrub, and audits ---- */

static bool go_on(void *arg, int64_t ms)
{
	(void)arg;
	(void)ms;
	return true;
}

static void the_state_of_the_scrub_is_told(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_MEM, &g);
	struct scrub scrub = {.store = &f->store, .wait = go_on};
	struct store_scrub_request request = {.store = "object_store"};
	struct store_scrub_reply reply = {0};
	SCRATCH_CTX(ctx);
	struct rpc_call call = call_of(&g, ctx, 60000);
	struct err e = {0};
	bool due;

	(void)state;
	fixture_must(handle_store_scrub(&call, &request, &reply, &e), &e);
	assert_int_equal(reply.passes_count, 0);
	assert_int_equal(reply.rate, 1 << 20);
	assert_null(reply.worker);
	put_many(&f->store, 70);
	must_put(&f->store, "twin", "doc 3");
	lose(&f->store, "doc 3");
	fixture_must(scrub_begin(&scrub, 0, &due, &e), &e);
	fixture_must(scrub_step(&scrub, &e), &e);
	fixture_must(handle_store_scrub(&call, &request, &reply, &e), &e);
	assert_int_equal(reply.passes_count, 1);
	assert_int_equal(reply.passes[0].finished_at, 0);
	assert_int_equal(reply.passes[0].chunks, 64);
	assert_int_equal(reply.passes[0].damaged, 1);
	assert_int_equal(reply.left_chunks, 6);
	assert_int_equal(reply.left_bytes, 36);
	assert_int_equal(reply.marked, 1);
	assert_int_equal(reply.damaged_count, 1);
	assert_string_equal(reply.damaged[0].backend, "mem");
	assert_int_equal(reply.damaged[0].objects.count, 2);
	assert_string_equal(reply.damaged[0].objects.items[1], "acme/docs/twin");
	fixture_free(f);
}

static void an_audit_names_its_back_end(void **state)
{
	struct gateway g;
	struct fixture *f = gateway_fixture(BACKEND_LOCALFS, &g);
	struct store_audit_request request = {.store = "object_store", .backend = "localfs"};
	struct store_audit_reply reply = {0};
	SCRATCH_CTX(ctx);
	struct rpc_call call = call_of(&g, ctx, 60000);
	struct err e = {0};

	(void)state;
	put_many(&f->store, 3);
	lose(&f->store, "doc 1");
	fixture_must(handle_store_audit(&call, &request, &reply, &e), &e);
	assert_int_equal(reply.missing_count, 1);
	assert_false(reply.more);
	request.backend = "tape";
	assert_int_equal(handle_store_audit(&call, &request, &reply, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "localfs"));
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_chunk_is_read_once_page_by_page),
	    cmocka_unit_test(damage_is_reported_with_its_objects_and_healed_when_asked),
	    cmocka_unit_test(the_archive_is_healed_from_the_working_set),
	    cmocka_unit_test(a_mark_goes_when_the_chunk_reads_well),
	    cmocka_unit_test(what_cannot_be_reached_is_counted_and_is_no_damage),
	    cmocka_unit_test(spare_copies_are_checked_with_their_chunk),
	    cmocka_unit_test(a_sample_by_count_has_that_many_different_chunks),
	    cmocka_unit_test(samples_reach_every_chunk),
	    cmocka_unit_test(the_state_of_the_scrub_is_told),
	    cmocka_unit_test(an_audit_names_its_back_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
