#include "tests/unit/catalog/fixture.h"

#include "services/catalog/worker.h"

static void assert_worker(const struct worker_item *w, const char *name, bool alive, int64_t jobs, int64_t silent_ms)
{
	assert_string_equal(w->worker, name);
	assert_int_equal(w->alive, alive);
	assert_int_equal(w->jobs, jobs);
	assert_in_range(w->seen_ms, silent_ms, silent_ms + 10000);
}

static void a_worker_is_alive_while_it_asks_or_renews(void **state)
{
	struct fixture *f = *state;
	struct worker_item *items;
	size_t count;

	given_order(f, "default", "a");
	given_lease(f);
	in_tx(worker_note(f->db, "idle", &f->e));
	in_tx(worker_note(f->db, "dead", &f->e));
	in_tx(worker_note(f->db, "long dead", &f->e));
	in_tx(worker_note(f->db, "w1", &f->e));
	in_tx(db_query(f->db, f->ctx, NULL, &f->e,
	               "UPDATE catalog.worker SET seen_at = seen_at - CASE name"
	               " WHEN 'idle' THEN 8000 WHEN 'long dead' THEN 61000 ELSE 40000 END"));
	assert_ok(worker_list(f->db, f->ctx, f->settings.lease_ms, &items, &count, &f->e));
	assert_int_equal(count, 3);
	assert_worker(&items[0], "dead", false, 0, 40000);
	assert_worker(&items[1], "idle", true, 0, 8000);
	assert_worker(&items[2], "w1", true, 1, 0);
	in_tx(worker_note(f->db, "dead", &f->e));
	assert_ok(worker_list(f->db, f->ctx, f->settings.lease_ms, &items, &count, &f->e));
	assert_worker(&items[0], "dead", true, 0, 0);
}

static void a_worker_that_left_gets_no_lease_and_is_not_listed(void **state)
{
	struct fixture *f = *state;
	struct worker_item *items;
	struct job before, job;
	size_t count;

	given_order(f, "default", "a");
	given_order(f, "default", "b");
	in_tx(worker_note(f->db, "w9", &f->e));
	in_tx(job_lease(f->db, f->ctx, &f->settings, "w9", "before", &before, &f->e));
	assert_int_not_equal(before.id, 0);
	in_tx(worker_leave(f->db, "w9", &f->e));
	in_tx(worker_note(f->db, "w9", &f->e)); /* a request that was on its way */
	in_tx(job_lease(f->db, f->ctx, &f->settings, "w9", "after", &job, &f->e));
	assert_int_equal(job.id, 0);
	/* What it got before it finds again, to hand it back. */
	in_tx(job_lease(f->db, f->ctx, &f->settings, "w9", "before", &job, &f->e));
	assert_int_equal(job.id, before.id);
	in_tx(job_release(f->db, job.id, job.token, &f->e));
	assert_ok(worker_list(f->db, f->ctx, f->settings.lease_ms, &items, &count, &f->e));
	assert_int_equal(count, 0);
	in_tx(job_lease(f->db, f->ctx, &f->settings, "w8", "another", &job, &f->e));
	assert_int_equal(job.id, before.id);
}

FIXTURE_MAIN(FIXTURE_TEST(a_worker_is_alive_while_it_asks_or_renews),
             FIXTURE_TEST(a_worker_that_left_gets_no_lease_and_is_not_listed))
