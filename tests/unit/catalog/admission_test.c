#include "tests/unit/catalog/fixture.h"

#include "services/catalog/account.h"
#include "services/catalog/detail.h"
#include "services/catalog/event.h"
#include "services/catalog/removal.h"
#include "services/catalog/tag.h"
#include "services/catalog/upload.h"

#include <inttypes.h>
#include <pthread.h>

static struct reference reference_to(struct fixture *f, const char *text)
{
	struct reference r;

	assert_ok(reference_parse(text, &r, &f->e));
	return r;
}

static struct admission given_tagged(struct fixture *f, const char *name, const char *tag)
{
	struct order order = order_of("default", name);
	struct reference r = reference_to(f, tag);
	struct admission a;

	order.tags = &r;
	order.tag_count = 1;
	in_tx(admit(f->db, &order, &a, &f->e));
	return a;
}

static int64_t count_of(struct fixture *f, const char *table)
{
	return number_of(f, talloc_asprintf(f->ctx, "SELECT count(*) FROM catalog.%s", table));
}

/* ---- once ---- */

static void adding_again_finds_the_same_image_and_job(void **state)
{
	struct fixture *f = *state;
	struct admission first = given_order(f, "default", "a"), again = given_order(f, "default", "a");

	assert_int_equal(again.image, first.image);
	assert_int_equal(again.job, first.job);
	assert_int_equal(again.status, ANALYSIS_QUEUED);
	assert_int_equal(count_of(f, "image"), 1);
	assert_int_equal(count_of(f, "job"), 1);
	given_lease(f);
	again = given_order(f, "default", "a");
	assert_int_equal(again.job, first.job);
	assert_int_equal(again.status, ANALYSIS_ANALYSING);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.added'"), 1);
}

struct client {
	struct fixture *f;
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct admission admission;
	enum err_code code;
};

static enum err_code admit_one(struct db *db, void *arg, struct err *e)
{
	struct client *c = arg;
	struct order order = order_of("default", "contended");
	struct reference tag;

	TRY(reference_parse("registry.example/app:1", &tag, e));
	order.tags = &tag;
	order.tag_count = 1;
	return admit(db, &order, &c->admission, e);
}

static void *add_at_once(void *arg)
{
	struct client *c = arg;
	struct err e;

	pthread_barrier_wait(c->barrier);
	c->code = db_transaction(c->f->pool, admit_one, c, &e);
	return NULL;
}

static void clients_at_the_same_moment_share_one_job(void **state)
{
	struct fixture *f = *state;
	struct client clients[8];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, ARRAY_SIZE(clients));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = (struct client){.f = f, .barrier = &barrier};
		assert_int_equal(pthread_create(&clients[i].thread, NULL, add_at_once, &clients[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		pthread_join(clients[i].thread, NULL);
		assert_int_equal(clients[i].code, ERR_OK);
		assert_int_equal(clients[i].admission.job, clients[0].admission.job);
	}
	pthread_barrier_destroy(&barrier);
	assert_int_equal(count_of(f, "image"), 1);
	assert_int_equal(count_of(f, "job"), 1);
	assert_int_equal(count_of(f, "tag_history"), 1);
}

static void accounts_have_images_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a"), b = given_order(f, "other", "a");
	struct image image;

	assert_int_not_equal(a.image, b.image);
	assert_int_not_equal(a.job, b.job);
	assert_ok(image_find(f->db, f->ctx, "other", name_of(f, "a"), &image, &f->e));
	assert_int_equal(image.id, b.image);
}

static void an_unknown_account_is_named(void **state)
{
	struct fixture *f = *state;
	struct order order = order_of("nobody", "a");
	struct admission a;

	in_tx_fails(ERR_NOT_FOUND, admit(f->db, &order, &a, &f->e));
	assert_non_null(strstr(f->e.text, "nobody"));
	assert_int_equal(count_of(f, "image"), 0);
}

/* ---- what there is to do ---- */

static void an_analysed_image_needs_nothing_unless_forced(void **state)
{
	struct fixture *f = *state;
	struct order order = order_of("default", "a");
	struct admission a;
	int64_t image = given_analysed(f, "default", "a", 2);

	a = given_order(f, "default", "a");
	assert_int_equal(a.job, 0);
	assert_int_equal(a.status, ANALYSIS_ANALYSED);
	order.force = true;
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_int_not_equal(a.job, 0);
	assert_int_equal(a.image, image);
	assert_int_equal(a.status, ANALYSIS_QUEUED);
	assert_int_equal(given_lease(f).id, a.job);
}

static void force_makes_no_second_job(void **state)
{
	struct fixture *f = *state;
	struct order order = order_of("default", "a");
	struct admission first = given_order(f, "default", "a"), a;

	order.force = true;
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_int_equal(a.job, first.job);
	assert_int_equal(given_lease(f).id, first.job);
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_int_equal(a.job, first.job);
	assert_int_equal(a.status, ANALYSIS_ANALYSING);
	assert_int_equal(count_of(f, "job"), 1);
}

static void a_failed_image_is_queued_anew(void **state)
{
	struct fixture *f = *state;
	struct admission first = given_order(f, "default", "a"), again;
	struct job_fail_request request = {.kind = FAILURE_DETERMINISTIC, .reason = "corrupt: layer"};
	struct job job = given_lease(f);
	enum job_state ended;

	request.job = job.id;
	request.token = job.token;
	in_tx(job_fail(f->db, &f->settings, &request, &ended, &f->e));
	again = given_order(f, "default", "a");
	assert_int_equal(again.image, first.image);
	assert_int_not_equal(again.job, first.job);
	assert_int_equal(image_now(f, first.image).status, ANALYSIS_QUEUED);
	assert_null(image_now(f, first.image).reason);
}

static void an_image_in_the_archive_only_is_analysed_anew(void **state)
{
	struct fixture *f = *state;
	int64_t image = given_analysed(f, "default", "a", 2);
	struct layer_item layer = layer_item_named("a");
	struct job_commit_request commit;
	struct admission a;
	struct job job;

	run_sql(f, "UPDATE catalog.image SET residence = 'archived'");
	a = given_order(f, "default", "a");
	assert_int_not_equal(a.job, 0);
	job = given_lease(f);
	commit = commit_of(&job, &layer, 1, NULL, 0);
	in_tx(result_commit(f->db, &commit, &f->e));
	assert_int_equal(image_now(f, image).residence, RESIDENCE_BOTH);
}

static void an_image_being_removed_asks_for_patience(void **state)
{
	struct fixture *f = *state;
	static const char *const states[] = {"deleting", "detaching"};
	struct order order = order_of("default", "a");
	struct admission a = given_order(f, "default", "a");

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		run_sql(f, talloc_asprintf(f->ctx, "UPDATE catalog.image SET state = '%s'", states[i]));
		in_tx_fails(ERR_CONFLICT, admit(f->db, &order, &a, &f->e));
		assert_true(f->e.retry_ms > 0);
	}
}

static void annotations_are_replaced_when_some_are_given(void **state)
{
	struct fixture *f = *state;
	struct proto_pair pairs[] = {{"team", "blue"}, {"quote", "\"\\\n"}};
	struct proto_map map = {.items = pairs, .count = 2}, none = {0};
	struct order order = order_of("default", "a");
	struct image_detail detail;
	struct admission a;

	order.annotations = &map;
	in_tx(admit(f->db, &order, &a, &f->e));
	order.annotations = &none;
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_ok(detail_read(f->db, f->ctx, a.image, &detail, NULL, &f->e));
	assert_int_equal(detail.annotations.count, 2);
	assert_string_equal(detail.annotations.items[1].key, "quote");
	assert_string_equal(detail.annotations.items[1].value, "\"\\\n");
}

/* ---- tags ---- */

static void a_tag_names_the_newest_image_and_remembers_the_others(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_tagged(f, "a", "app:1"), b = given_tagged(f, "b", "app:1");
	struct image_history_reply history = {0};
	struct digest first = digest_named("a"), second = digest_named("b");
	struct image image;

	assert_ok(image_find(f->db, f->ctx, "default", "docker.io/library/app:1", &image, &f->e));
	assert_int_equal(image.id, b.image);
	given_tagged(f, "b", "library/app:1");
	given_tagged(f, "a", "app:1");
	assert_ok(image_find(f->db, f->ctx, "default", "app:1", &image, &f->e));
	assert_int_equal(image.id, a.image);
	assert_ok(tag_history_read(f->db, f->ctx, "default", "app:1", &history, &f->e));
	assert_string_equal(history.reference, "docker.io/library/app:1");
	assert_int_equal(history.changes_count, 3);
	assert_true(digest_equal(&history.changes[0].digest, &first));
	assert_true(digest_equal(&history.changes[1].digest, &second));
	assert_true(digest_equal(&history.changes[2].digest, &first));
	assert_int_equal(history.changes[0].status, ANALYSIS_QUEUED);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'tag.moved'"), 2);
	assert_int_equal(tag_history_read(f->db, f->ctx, "default", "app:2", &history, &f->e), ERR_NOT_FOUND);
	assert_int_equal(tag_history_read(f->db, f->ctx, "other", "app:1", &history, &f->e), ERR_NOT_FOUND);
}

static void the_history_of_a_tag_has_an_end(void **state)
{
	struct fixture *f = *state;
	struct image_history_reply history = {0};

	given_tagged(f, "a", "app:1");
	run_sql(f,
	        "INSERT INTO catalog.tag_history (account, name, digest) SELECT 'default', 'docker.io/library/app:1',"
	        " decode(lpad(to_hex(n), 64, '0'), 'hex') FROM generate_series(1, 1500) n");
	given_tagged(f, "b", "app:1");
	assert_int_equal(count_of(f, "tag_history"), TAG_HISTORY_MAX);
	assert_ok(tag_history_read(f->db, f->ctx, "default", "app:1", &history, &f->e));
	assert_int_equal(history.changes_count, TAG_HISTORY_MAX);
}

static void patterns_match_whole_names_or_what_follows_a_slash(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *pattern;
		size_t matches;
	} cases[] = {{"app:*", 2},
	             {"registry.example/*", 1},
	             {"*", 4},
	             {"*:1", 2},
	             {"app:1", 1},
	             {"docker.io/*", 3},
	             {"a_p:*", 0},
	             {"a%p:*", 0},
	             {"*nothing*", 0},
	             {"registry.example/app:2", 1},
	             {"library/app*", 1},
	             {"Web*", 0},
	             {"web:2*", 1}};
	struct image_list_request request = {0};

	given_tagged(f, "a", "app:1");
	given_tagged(f, "b", "registry.example/app:2");
	given_tagged(f, "c", "web:1");
	given_tagged(f, "d", "web:2");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_list_reply reply = {0};

		request.tag = cases[i].pattern;
		assert_ok(detail_list(f->db, f->ctx, "default", &request, &reply, &f->e));
		if (reply.items_count != cases[i].matches)
			fail_msg("%s matches %zu images", cases[i].pattern, reply.items_count);
	}
	request.tag = "no such:thing:";
	assert_int_equal(detail_list(f->db, f->ctx, "default", &request, &(struct image_list_reply){0}, &f->e),
	                 ERR_INVALID);
}

static void lists_page_from_the_newest(void **state)
{
	struct fixture *f = *state;
	struct image_list_request request = {.limit = 3};
	struct image_list_reply reply;
	size_t seen = 0;

	for (int i = 0; i < 10; i++)
		given_tagged(f, talloc_asprintf(f->ctx, "i%d", i), talloc_asprintf(f->ctx, "app:%d", i));
	do {
		reply = (struct image_list_reply){0};
		assert_ok(detail_list(f->db, f->ctx, "default", &request, &reply, &f->e));
		for (size_t i = 0; i < reply.items_count; i++, seen++) {
			struct digest expected = digest_named(talloc_asprintf(f->ctx, "i%zu", 9 - seen));

			assert_true(digest_equal(&reply.items[i].digest, &expected));
			assert_int_equal(reply.items[i].tags.count, 1);
			request.after = reply.items[i].cursor;
		}
	} while (reply.more);
	assert_int_equal(seen, 10);
	request.status = ANALYSIS_ANALYSED;
	request.after = NULL;
	reply = (struct image_list_reply){0};
	assert_ok(detail_list(f->db, f->ctx, "default", &request, &reply, &f->e));
	assert_int_equal(reply.items_count, 0);
	request.after = "17; DROP TABLE";
	assert_int_equal(detail_list(f->db, f->ctx, "default", &request, &reply, &f->e), ERR_INVALID);
}

/* Jobs may be many and busy: who holds all of them holds up nobody who looks at images. */
static void lists_never_read_jobs(void **state)
{
	struct fixture *f = *state;
	CLEANUP(db_cleanup) struct db *holder = NULL;
	struct image_list_request request = {.limit = 3};
	struct image_list_reply reply = {0};

	given_tagged(f, "a", "app:1");
	assert_ok(db_acquire(f->pool, 1000, &holder, &f->e));
	assert_ok(db_begin(holder, &f->e));
	assert_ok(db_query(holder, f->ctx, NULL, &f->e,
	                   "LOCK TABLE catalog.job, catalog.job_detail IN ACCESS EXCLUSIVE MODE"));
	assert_ok(db_begin(f->db, &f->e));
	assert_ok(db_query(f->db, f->ctx, NULL, &f->e, "SET LOCAL lock_timeout = 2000"));
	assert_ok(detail_list(f->db, f->ctx, "default", &request, &reply, &f->e));
	assert_int_equal(reply.items_count, 1);
	db_rollback(f->db);
	db_rollback(holder);
}

static void what_is_not_there_is_named(void **state)
{
	struct fixture *f = *state;
	struct image image;

	assert_int_equal(image_find(f->db, f->ctx, "default", "app:1", &image, &f->e), ERR_NOT_FOUND);
	assert_string_equal(f->e.text, "no image docker.io/library/app:1 in account default");
	assert_int_equal(image_find(f->db, f->ctx, "default", name_of(f, "a"), &image, &f->e), ERR_NOT_FOUND);
	assert_non_null(strstr(f->e.text, name_of(f, "a")));
	assert_int_equal(image_find(f->db, f->ctx, "default", "Not A Name", &image, &f->e), ERR_INVALID);
}

static void an_index_digest_finds_the_image_chosen_from_it(void **state)
{
	struct fixture *f = *state;
	struct platform here = platform_default();
	struct order order = order_of("default", "arm");
	struct digest index = digest_named("index");
	struct admission ours, theirs;
	struct image image;

	order.parent_digest = index;
	order.platform = platform_print(f->ctx, &here);
	in_tx(admit(f->db, &order, &ours, &f->e));
	order.digest = digest_named("another platform");
	order.platform = "plan9/mips";
	in_tx(admit(f->db, &order, &theirs, &f->e));
	assert_ok(image_find(f->db, f->ctx, "default", digest_text(&index).text, &image, &f->e));
	assert_int_equal(image.id, ours.image);
	assert_ok(image_find(f->db, f->ctx, "default", talloc_asprintf(f->ctx, "app@%s", digest_text(&index).text),
	                     &image, &f->e));
	assert_int_equal(image.id, ours.image);
}

/* ---- uploads ---- */

static struct order upload_order(struct fixture *f, const char *name, char **id)
{
	struct order order = order_of("default", name);

	assert_ok(upload_begin(f->db, f->ctx, "default", id, &f->e));
	order.reference = NULL;
	order.source = (struct job_source){.source = IMAGE_FROM_UPLOAD, .upload = *id};
	return order;
}

static const char *upload_state(struct fixture *f, const char *id)
{
	return text_of(f, talloc_asprintf(f->ctx, "SELECT state FROM catalog.upload WHERE id = '%s'", id));
}

static void an_upload_is_used_by_one_job_and_done_with_it(void **state)
{
	struct fixture *f = *state;
	char *id, *second;
	struct order order = upload_order(f, "a", &id), again;
	struct layer_item layer = layer_item_named("a");
	struct job_commit_request commit;
	struct admission a;
	struct job job;

	in_tx(admit(f->db, &order, &a, &f->e));
	assert_string_equal(upload_state(f, id), "used");
	/* The same request once more changes nothing; another upload of the same image is of no use. */
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_string_equal(upload_state(f, id), "used");
	again = upload_order(f, "a", &second);
	in_tx(admit(f->db, &again, &a, &f->e));
	assert_string_equal(upload_state(f, second), "done");
	assert_string_equal(upload_state(f, id), "used");

	job = given_lease(f);
	given_layer(f, "default", "a");
	commit = commit_of(&job, &layer, 1, NULL, 0);
	in_tx(result_commit(f->db, &commit, &f->e));
	assert_string_equal(upload_state(f, id), "done");
	in_tx(admit(f->db, &order, &a, &f->e));
	assert_int_equal(a.status, ANALYSIS_ANALYSED);
	assert_int_equal(a.job, 0);
}

static void an_upload_of_nobody_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct order order = order_of("default", "a");
	struct admission a;

	order.source = (struct job_source){.source = IMAGE_FROM_UPLOAD, .upload = "0000"};
	in_tx_fails(ERR_NOT_FOUND, admit(f->db, &order, &a, &f->e));
	assert_non_null(strstr(f->e.text, "0000"));
	assert_int_equal(count_of(f, "image"), 0);
}

static void uploads_expire_unless_their_job_lives(void **state)
{
	struct fixture *f = *state;
	char *used, *idle;
	struct order order = upload_order(f, "a", &used);
	struct admission a;

	upload_order(f, "b", &idle);
	in_tx(admit(f->db, &order, &a, &f->e));
	run_sql(f, "UPDATE catalog.upload SET created_at = 1");
	assert_ok(upload_expire(f->db, 86400000, &f->e));
	assert_string_equal(upload_state(f, used), "used");
	assert_string_equal(upload_state(f, idle), "done");
}

/* ---- accounts, events ---- */

static void account_names_are_checked(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *name;
		enum err_code code;
	} cases[] = {{"ops", ERR_OK},      {"a.b_c-9", ERR_OK},  {"9", ERR_OK},       {"", ERR_INVALID},
	             {"Ops", ERR_INVALID}, {"a/b", ERR_INVALID}, {"-a", ERR_INVALID}, {"ä", ERR_INVALID},
	             {"a b", ERR_INVALID}, {".x", ERR_INVALID},  {"ops", ERR_OK}};
	bool existed;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(account_add(f->db, cases[i].name, &existed, &f->e), cases[i].code);
	assert_true(existed);
}

static void an_account_with_images_stays(void **state)
{
	struct fixture *f = *state;
	struct account_list_reply list = {0};

	given_order(f, "other", "a");
	in_tx_fails(ERR_PRECONDITION, account_remove(f->db, "other", &f->e));
	assert_ok(account_read_all(f->db, f->ctx, &list, &f->e));
	assert_int_equal(list.items_count, 2);
	assert_string_equal(list.items[1].name, "other");
	assert_int_equal(list.items[1].images, 1);
	run_sql(f, "DELETE FROM catalog.image");
	in_tx(account_remove(f->db, "other", &f->e));
	in_tx_fails(ERR_NOT_FOUND, account_remove(f->db, "other", &f->e));
	in_tx_fails(ERR_PRECONDITION, account_remove(f->db, "default", &f->e));
}

static void events_are_bounded_in_number_and_age(void **state)
{
	struct fixture *f = *state;
	struct event_list_request request = {.limit = 4};
	struct event_list_reply reply = {0};
	bool more;

	for (int i = 0; i < 20; i++)
		assert_ok(event_add(f->db, &(struct event){"default", "test", "s", NULL}, &f->e));
	in_tx(event_prune(f->db, 10, 86400000, &more, &f->e));
	assert_int_equal(count_of(f, "event"), 10);
	run_sql(f, "UPDATE catalog.event SET at = 1 WHERE id <= (SELECT min(id) + 2 FROM catalog.event)");
	in_tx(event_prune(f->db, 10, 86400000, &more, &f->e));
	assert_int_equal(count_of(f, "event"), 7);
	assert_ok(event_read(f->db, f->ctx, "default", &request, &reply, &f->e));
	assert_int_equal(reply.items_count, 4);
	assert_true(reply.more);
	request.before = reply.items[3].event;
	assert_ok(event_read(f->db, f->ctx, "default", &request, &reply, &f->e));
	assert_int_equal(reply.items_count, 3);
	assert_false(reply.more);
}

FIXTURE_MAIN(
    FIXTURE_TEST(adding_again_finds_the_same_image_and_job), FIXTURE_TEST(clients_at_the_same_moment_share_one_job),
    FIXTURE_TEST(accounts_have_images_of_their_own), FIXTURE_TEST(an_unknown_account_is_named),
    FIXTURE_TEST(an_analysed_image_needs_nothing_unless_forced), FIXTURE_TEST(force_makes_no_second_job),
    FIXTURE_TEST(a_failed_image_is_queued_anew), FIXTURE_TEST(an_image_in_the_archive_only_is_analysed_anew),
    FIXTURE_TEST(an_image_being_removed_asks_for_patience), FIXTURE_TEST(annotations_are_replaced_when_some_are_given),
    FIXTURE_TEST(a_tag_names_the_newest_image_and_remembers_the_others), FIXTURE_TEST(the_history_of_a_tag_has_an_end),
    FIXTURE_TEST(patterns_match_whole_names_or_what_follows_a_slash), FIXTURE_TEST(lists_page_from_the_newest),
    FIXTURE_TEST(lists_never_read_jobs), FIXTURE_TEST(what_is_not_there_is_named),
    FIXTURE_TEST(an_index_digest_finds_the_image_chosen_from_it),
    FIXTURE_TEST(an_upload_is_used_by_one_job_and_done_with_it), FIXTURE_TEST(an_upload_of_nobody_is_not_found),
    FIXTURE_TEST(uploads_expire_unless_their_job_lives), FIXTURE_TEST(account_names_are_checked),
    FIXTURE_TEST(an_account_with_images_stays), FIXTURE_TEST(events_are_bounded_in_number_and_age))
