#include "tests/unit/catalog/fixture.h"

#include "services/catalog/job_read.h"

#include <inttypes.h>
#include <pthread.h>

static const char *state_of(struct fixture *f, int64_t job)
{
	return text_of(f, talloc_asprintf(f->ctx, "SELECT state FROM catalog.job WHERE id = %" PRId64, job));
}

static const char *status_of(struct fixture *f, int64_t image)
{
	return text_of(f, talloc_asprintf(f->ctx, "SELECT status FROM catalog.image WHERE id = %" PRId64, image));
}

static const char *reason_of(struct fixture *f, int64_t image)
{
	return text_of(f, talloc_asprintf(f->ctx, "SELECT reason FROM catalog.image WHERE id = %" PRId64, image));
}

/* Waits that end: what is not before some moment is due now. */
static void let_waits_end(struct fixture *f)
{
	run_sql(f, "UPDATE catalog.job SET not_before = 0");
}

static void let_leases_end(struct fixture *f)
{
	run_sql(f, "UPDATE catalog.job SET lease_until = 1 WHERE state = 'leased'");
}

static size_t reap_now(struct fixture *f)
{
	size_t count;

	in_tx(job_reap(f->db, &f->settings, &count, &f->e));
	return count;
}

static enum job_state fail_now(struct fixture *f, const struct job *job, enum failure_kind kind)
{
	struct job_fail_request request = {
	    .job = job->id, .token = job->token, .kind = kind, .reason = "unavailable: registry is away"};
	enum job_state state;

	in_tx(job_fail(f->db, &f->settings, &request, &state, &f->e));
	return state;
}

/* ---- leasing ---- */

static void a_lease_goes_to_one_worker_and_the_image_shows_it(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job, none;

	assert_string_equal(status_of(f, a.image), "queued");
	job = lease_now(f, "w1", "one");
	assert_int_equal(job.id, a.job);
	assert_int_equal(job.token, 1);
	assert_int_equal(job.attempts, 1);
	assert_string_equal(status_of(f, a.image), "analysing");
	none = lease_now(f, "w2", "two");
	assert_int_equal(none.id, 0);
}

static void a_request_that_comes_twice_finds_its_lease(void **state)
{
	struct fixture *f = *state;
	struct job first, again;

	given_order(f, "default", "a");
	given_order(f, "default", "b");
	first = lease_now(f, "w1", "same");
	again = lease_now(f, "w1", "same");
	assert_int_equal(again.id, first.id);
	assert_int_equal(again.token, first.token);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.job WHERE state = 'leased'"), 1);
	/* When that lease has ended, the late copy gets no second job. */
	assert_int_equal(fail_now(f, &first, FAILURE_DETERMINISTIC), JOB_FAILED);
	again = lease_now(f, "w1", "same");
	assert_int_equal(again.id, 0);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.job WHERE state = 'leased'"), 0);
}

static void accounts_take_turns(void **state)
{
	struct fixture *f = *state;
	char served[7] = "";

	for (int i = 0; i < 5; i++)
		given_order(f, "default", talloc_asprintf(f->ctx, "d%d", i));
	given_order(f, "other", "o1");
	for (int i = 0; i < 6; i++) {
		struct job job = given_lease(f);

		served[i] = *job.account;
		/* Ends at once, so that the number of leases decides nothing. */
		assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	}
	assert_string_equal(served, "dodddd");
}

static void the_account_with_the_fewest_leases_comes_first(void **state)
{
	struct fixture *f = *state;
	struct job job;

	for (int i = 0; i < 3; i++)
		given_order(f, "default", talloc_asprintf(f->ctx, "d%d", i));
	for (int i = 0; i < 2; i++)
		assert_string_equal(given_lease(f).account, "default");
	given_order(f, "other", "o1");
	given_order(f, "other", "o2");
	assert_string_equal(given_lease(f).account, "other");
	job = given_lease(f);
	assert_string_equal(job.account, "other");
}

static void priority_goes_before_age(void **state)
{
	struct fixture *f = *state;
	struct admission urgent;

	given_order(f, "default", "a");
	urgent = given_order(f, "default", "b");
	run_sql(f, talloc_asprintf(f->ctx, "UPDATE catalog.job SET priority = 5 WHERE id = %" PRId64, urgent.job));
	assert_int_equal(given_lease(f).id, urgent.job);
}

struct contender {
	struct fixture *f;
	pthread_t thread;
	unsigned number;
	size_t leased;
};

static enum err_code lease_one(struct db *db, void *arg, struct err *e)
{
	struct contender *c = arg;
	SCRATCH_CTX(ctx);
	struct job job;

	TRY(job_lease(db, ctx, &c->f->settings, "w", talloc_asprintf(ctx, "c%u-%zu", c->number, c->leased), &job, e));
	if (!job.id)
		return ERR(e, ERR_NOT_FOUND, "no work");
	return ERR_OK;
}

static void *contend(void *arg)
{
	struct contender *c = arg;
	struct err e;

	while (db_transaction(c->f->pool, lease_one, c, &e) == ERR_OK)
		c->leased++;
	return NULL;
}

static void many_workers_at_once_get_each_job_once(void **state)
{
	struct fixture *f = *state;
	struct contender contenders[8];
	size_t total = 0;

	for (int i = 0; i < 60; i++)
		given_order(f, i % 3 ? "default" : "other", talloc_asprintf(f->ctx, "i%d", i));
	for (size_t i = 0; i < ARRAY_SIZE(contenders); i++) {
		contenders[i] = (struct contender){.f = f, .number = (unsigned)i};
		assert_int_equal(pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(contenders); i++) {
		pthread_join(contenders[i].thread, NULL);
		total += contenders[i].leased;
	}
	/* Nobody is told "no work" while some is left but for those that others are just taking: the rest is there. */
	while (lease_now(f, "w", new_request(f)).id)
		total++;
	assert_int_equal(total, 60);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.job WHERE state = 'leased' AND token = 1"), 60);
}

/* ---- tokens ---- */

static void every_message_with_an_old_token_is_refused(void **state)
{
	struct fixture *f = *state;
	struct job old, found;
	struct job_renew_request renew;
	struct job_fail_request fail_request;
	struct layer_item layer = layer_item_named("a");
	struct job_commit_request commit;
	enum job_state job_state;
	bool cancelled;

	given_order(f, "default", "a");
	old = given_lease(f);
	given_layer(f, "default", "a");
	let_leases_end(f);
	assert_int_equal(reap_now(f), 1);
	let_waits_end(f);
	assert_int_equal(given_lease(f).token, old.token + 1);

	renew = (struct job_renew_request){.job = old.id, .token = old.token};
	fail_request = (struct job_fail_request){
	    .job = old.id, .token = old.token, .kind = FAILURE_DETERMINISTIC, .reason = "corrupt: x"};
	commit = commit_of(&old, &layer, 1, NULL, 0);
	in_tx_fails(ERR_STALE_LEASE, job_renew(f->db, &f->settings, &renew, &cancelled, &f->e));
	in_tx_fails(ERR_STALE_LEASE, job_release(f->db, old.id, old.token, &f->e));
	in_tx_fails(ERR_STALE_LEASE, job_fail(f->db, &f->settings, &fail_request, &job_state, &f->e));
	in_tx_fails(ERR_STALE_LEASE, result_commit(f->db, &commit, &f->e));
	in_tx_fails(ERR_STALE_LEASE, job_check_held(f->db, f->ctx, old.id, old.token, &found, &f->e));
	in_tx_fails(ERR_STALE_LEASE, job_check_held(f->db, f->ctx, 999999, 1, &found, &f->e));
	assert_string_equal(state_of(f, old.id), "leased");
}

static void a_lease_that_ended_may_still_be_renewed_until_somebody_took_it(void **state)
{
	struct fixture *f = *state;
	struct job_renew_request renew = {.stage = "layers", .layers_done = 2, .layers_total = 5};
	struct image_wait_reply progress = {0};
	struct job job;
	bool cancelled;

	given_order(f, "default", "a");
	job = given_lease(f);
	let_leases_end(f);
	renew.job = job.id;
	renew.token = job.token;
	in_tx(job_renew(f->db, &f->settings, &renew, &cancelled, &f->e));
	assert_false(cancelled);
	assert_int_equal(reap_now(f), 0);
	assert_ok(job_read_progress(f->db, f->ctx, job.id, &progress, &f->e));
	assert_string_equal(progress.stage, "layers");
	assert_int_equal(progress.layers_done, 2);
	assert_int_equal(progress.layers_total, 5);
}

/* ---- ends ---- */

static void an_expired_lease_is_a_death_and_too_many_are_quarantine(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");

	for (int i = 1; i <= 5; i++) {
		assert_int_equal(given_lease(f).token, i);
		let_leases_end(f);
		assert_int_equal(reap_now(f), 1);
		let_waits_end(f);
		assert_string_equal(state_of(f, a.job), i < 5 ? "queued" : "quarantined");
	}
	assert_string_equal(status_of(f, a.image), "failed");
	assert_non_null(strstr(reason_of(f, a.image), "quarantined: 5 workers died over it"));
	assert_non_null(strstr(reason_of(f, a.image), "w1"));
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.quarantined'"), 1);
	assert_int_equal(lease_now(f, "w1", "last").id, 0);
}

static void a_killed_parser_counts_as_a_death(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	enum job_state last = JOB_QUEUED;

	for (int i = 0; i < 5; i++) {
		struct job job = given_lease(f);

		assert_int_equal(last, JOB_QUEUED);
		last = fail_now(f, &job, FAILURE_KILLED);
		let_waits_end(f);
	}
	assert_int_equal(last, JOB_QUARANTINED);
	assert_int_equal(number_of(f, "SELECT deaths FROM catalog.job"), 5);
	assert_string_equal(status_of(f, a.image), "failed");
}

static void what_may_pass_is_tried_again_later_and_given_up_at_last(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");

	f->settings.retry_base_ms = f->settings.retry_cap_ms = 3600000;
	for (int i = 1; i <= 8; i++) {
		struct job job = given_lease(f);

		assert_int_equal(fail_now(f, &job, FAILURE_TRANSIENT), i < 8 ? JOB_QUEUED : JOB_FAILED);
		let_waits_end(f);
	}
	assert_non_null(strstr(reason_of(f, a.image), "unavailable: registry is away"));
	assert_non_null(strstr(reason_of(f, a.image), "given up after 8 attempts"));
}

static void a_wait_that_the_worker_asks_for_is_kept(void **state)
{
	struct fixture *f = *state;
	struct job_fail_request request = {
	    .kind = FAILURE_TRANSIENT, .reason = "resource exhausted: 429", .retry_ms = 9000};
	enum job_state job_state;
	struct job job;

	f->settings.retry_cap_ms = 60000;
	given_order(f, "default", "a");
	job = given_lease(f);
	request.job = job.id;
	request.token = job.token;
	in_tx(job_fail(f->db, &f->settings, &request, &job_state, &f->e));
	assert_int_equal(job_state, JOB_QUEUED);
	assert_true(number_of(f, "SELECT not_before - catalog.now_ms() FROM catalog.job") > 8000);
	assert_int_equal(lease_now(f, "w", "early").id, 0);
}

static void what_will_not_pass_ends_at_once(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job = given_lease(f);

	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	assert_string_equal(status_of(f, a.image), "failed");
	assert_string_equal(reason_of(f, a.image), "unavailable: registry is away");
	/* The same message again is no news. */
	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.failed'"), 1);
}

static void a_job_handed_back_is_there_at_once_and_costs_no_attempt(void **state)
{
	struct fixture *f = *state;
	struct job job;

	given_order(f, "default", "a");
	for (int i = 1; i <= 20; i++) {
		job = given_lease(f);
		in_tx(job_release(f->db, job.id, job.token, &f->e));
		in_tx(job_release(f->db, job.id, job.token, &f->e));
		assert_int_equal(number_of(f, "SELECT attempts + deaths FROM catalog.job"), 0);
	}
	assert_int_equal(job.token, 20);
}

static void a_failed_re_analysis_keeps_the_good_result(void **state)
{
	struct fixture *f = *state;
	int64_t image = given_analysed(f, "default", "a", 3), analysed_at = image_now(f, image).analysed_at;
	struct order order = order_of("default", "a");
	struct admission a;
	struct job job;

	order.force = true;
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_string_equal(status_of(f, image), "queued");
	job = given_lease(f);
	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	assert_string_equal(status_of(f, image), "analysed");
	assert_string_equal(reason_of(f, image), "(null)");
	assert_int_equal(image_now(f, image).analysed_at, analysed_at);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.failed'"), 1);
	assert_string_equal(text_of(f, "SELECT last_error FROM catalog.job_detail ORDER BY job DESC LIMIT 1"),
	                    "unavailable: registry is away");
}

/* ---- users' orders ---- */

static void a_cancelled_job_tells_its_worker(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job_renew_request renew = {0};
	struct job job = given_lease(f), locked;
	bool cancelled;

	assert_ok(db_begin(f->db, &f->e));
	assert_ok(job_lock(f->db, f->ctx, "default", job.id, &locked, &f->e));
	assert_ok(job_cancel(f->db, &locked, "cancelled: on request", &f->e));
	assert_ok(db_commit(f->db, &f->e));
	assert_string_equal(status_of(f, a.image), "failed");
	assert_string_equal(reason_of(f, a.image), "cancelled: on request");
	assert_true(number_of(f, "SELECT lease_until FROM catalog.job") > 0);
	renew.job = job.id;
	renew.token = job.token;
	in_tx(job_renew(f->db, &f->settings, &renew, &cancelled, &f->e));
	assert_true(cancelled);
	/* The worker's farewell: nothing more can come from it. */
	in_tx(job_release(f->db, job.id, job.token, &f->e));
	assert_int_equal(number_of(f, "SELECT coalesce(lease_until, 0) FROM catalog.job"), 0);
	assert_string_equal(state_of(f, job.id), "cancelled");
}

static void cancelling_what_ended_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	static const char *const ends[] = {"done", "failed", "quarantined", "cancelled"};
	struct admission a = given_order(f, "default", "a");

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct job job;

		run_sql(f, talloc_asprintf(f->ctx, "UPDATE catalog.job SET state = '%s'", ends[i]));
		assert_ok(job_find(f->db, f->ctx, NULL, a.job, &job, &f->e));
		in_tx_fails(ERR_CONFLICT, job_cancel(f->db, &job, "x", &f->e));
		assert_string_equal(state_of(f, a.job), ends[i]);
	}
}

static void retrying_begins_anew_and_leaves_living_jobs_alone(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job = given_lease(f), again;

	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	for (int i = 0; i < 2; i++) {
		assert_ok(db_begin(f->db, &f->e));
		assert_ok(job_lock(f->db, f->ctx, "default", a.job, &again, &f->e));
		assert_ok(job_retry(f->db, &again, &f->e));
		assert_ok(db_commit(f->db, &f->e));
		assert_string_equal(state_of(f, a.job), "queued");
		assert_int_equal(number_of(f, "SELECT attempts FROM catalog.job"), 0);
		assert_string_equal(status_of(f, a.image), "queued");
	}
	again = given_lease(f);
	assert_int_equal(again.token, job.token + 1);
}

static void a_job_is_not_retried_beside_a_newer_one_or_when_done(void **state)
{
	struct fixture *f = *state;
	struct admission old = given_order(f, "default", "a"), newer;
	struct job job = given_lease(f);

	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	newer = given_order(f, "default", "a");
	assert_int_not_equal(newer.job, old.job);
	assert_ok(job_find(f->db, f->ctx, NULL, old.job, &job, &f->e));
	in_tx_fails(ERR_CONFLICT, job_retry(f->db, &job, &f->e));
	run_sql(f, "UPDATE catalog.job SET state = 'done'");
	assert_ok(job_find(f->db, f->ctx, NULL, newer.job, &job, &f->e));
	in_tx_fails(ERR_CONFLICT, job_retry(f->db, &job, &f->e));
}

static void jobs_of_other_accounts_are_not_found(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job_item item;
	struct job job;

	assert_int_equal(job_find(f->db, f->ctx, "other", a.job, &job, &f->e), ERR_NOT_FOUND);
	assert_int_equal(job_read_item(f->db, f->ctx, "other", a.job, &item, &f->e), ERR_NOT_FOUND);
	assert_ok(job_read_item(f->db, f->ctx, "default", a.job, &item, &f->e));
	assert_int_equal(item.state, JOB_QUEUED);
}

static void lists_page_backwards(void **state)
{
	struct fixture *f = *state;
	struct job_list_request request = {.limit = 2};
	struct job_list_reply reply = {0};
	int64_t last = INT64_MAX;
	size_t seen = 0;

	for (int i = 0; i < 5; i++)
		given_order(f, "default", talloc_asprintf(f->ctx, "i%d", i));
	do {
		assert_ok(job_read_list(f->db, f->ctx, "default", &request, &reply, &f->e));
		for (size_t i = 0; i < reply.items_count; i++, seen++) {
			assert_true(reply.items[i].job < last);
			last = reply.items[i].job;
		}
		request.before = last;
	} while (reply.more);
	assert_int_equal(seen, 5);
}

static void old_jobs_go_but_each_images_newest_stays(void **state)
{
	struct fixture *f = *state;
	bool more;

	for (int i = 0; i < 3; i++) {
		struct job job;

		given_order(f, "default", "a");
		job = given_lease(f);
		assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	}
	run_sql(f, "UPDATE catalog.job SET ended_at = 1");
	in_tx(job_prune(f->db, 1000, &more, &f->e));
	assert_false(more);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.job"), 1);
	assert_int_equal(number_of(f, "SELECT id FROM catalog.job"), number_of(f, "SELECT job FROM catalog.image"));
}

static void stats_count_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct queue_stats_reply stats = {0};
	struct job job;

	for (int i = 0; i < 4; i++)
		given_order(f, "default", talloc_asprintf(f->ctx, "i%d", i));
	job = given_lease(f);
	assert_int_equal(fail_now(f, &job, FAILURE_DETERMINISTIC), JOB_FAILED);
	given_lease(f);
	assert_ok(job_read_stats(f->db, f->ctx, &f->settings, &stats, &f->e));
	assert_int_equal(stats.queued, 2);
	assert_int_equal(stats.leased, 1);
	assert_int_equal(stats.failed, 1);
	assert_int_equal(stats.quarantined, 0);
	assert_int_equal(stats.images, 4);
	assert_int_equal(stats.workers_count, 1);
}

FIXTURE_MAIN(FIXTURE_TEST(a_lease_goes_to_one_worker_and_the_image_shows_it),
             FIXTURE_TEST(a_request_that_comes_twice_finds_its_lease), FIXTURE_TEST(accounts_take_turns),
             FIXTURE_TEST(the_account_with_the_fewest_leases_comes_first), FIXTURE_TEST(priority_goes_before_age),
             FIXTURE_TEST(many_workers_at_once_get_each_job_once),
             FIXTURE_TEST(every_message_with_an_old_token_is_refused),
             FIXTURE_TEST(a_lease_that_ended_may_still_be_renewed_until_somebody_took_it),
             FIXTURE_TEST(an_expired_lease_is_a_death_and_too_many_are_quarantine),
             FIXTURE_TEST(a_killed_parser_counts_as_a_death),
             FIXTURE_TEST(what_may_pass_is_tried_again_later_and_given_up_at_last),
             FIXTURE_TEST(a_wait_that_the_worker_asks_for_is_kept), FIXTURE_TEST(what_will_not_pass_ends_at_once),
             FIXTURE_TEST(a_job_handed_back_is_there_at_once_and_costs_no_attempt),
             FIXTURE_TEST(a_failed_re_analysis_keeps_the_good_result), FIXTURE_TEST(a_cancelled_job_tells_its_worker),
             FIXTURE_TEST(cancelling_what_ended_is_a_conflict),
             FIXTURE_TEST(retrying_begins_anew_and_leaves_living_jobs_alone),
             FIXTURE_TEST(a_job_is_not_retried_beside_a_newer_one_or_when_done),
             FIXTURE_TEST(jobs_of_other_accounts_are_not_found), FIXTURE_TEST(lists_page_backwards),
             FIXTURE_TEST(old_jobs_go_but_each_images_newest_stays), FIXTURE_TEST(stats_count_what_is_there))
