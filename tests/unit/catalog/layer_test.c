#include "tests/unit/catalog/fixture.h"

#include "services/catalog/detail.h"
#include "services/catalog/package_read.h"

#include <inttypes.h>
#include <pthread.h>

static struct layer_lookup_reply look_up(struct fixture *f, const char *account, const char *name, const char *revision)
{
	struct digest digest = digest_named(name);
	struct layer_lookup_request request = {.revision = revision, .layers = {.items = &digest, .count = 1}};
	struct layer_lookup_reply reply = {0};

	in_tx(layer_lookup(f->db, f->ctx, account, &request, &reply, &f->e));
	return reply;
}

static void a_layer_is_known_when_it_was_committed(void **state)
{
	struct fixture *f = *state;
	struct digest digest = digest_named("l"), diff_id = digest_named("content");
	struct layer_lookup_reply reply;

	assert_ok(layer_begin(f->db, "default", &digest, REVISION, &f->e));
	assert_ok(layer_begin(f->db, "default", &digest, REVISION, &f->e));
	assert_int_equal(look_up(f, "default", "l", REVISION).known_count, 0);
	given_layer(f, "default", "l");
	reply = look_up(f, "default", "l", REVISION);
	assert_int_equal(reply.known_count, 1);
	assert_true(digest_equal(&reply.known[0].digest, &digest));
	assert_true(digest_equal(&reply.known[0].diff_id, &diff_id));
	assert_int_equal(reply.known[0].content_bytes, 20);
	assert_int_equal(reply.known[0].entries, 3);
	/* Knowledge belongs to the account and the analyzer. */
	assert_int_equal(look_up(f, "other", "l", REVISION).known_count, 0);
	assert_int_equal(look_up(f, "default", "l", "r2").known_count, 0);
	/* Beginning again, for an analysis that was forced, does not make it unknown. */
	assert_ok(layer_begin(f->db, "default", &digest, REVISION, &f->e));
	assert_int_equal(look_up(f, "default", "l", REVISION).known_count, 1);
}

static void a_layer_being_removed_asks_for_patience(void **state)
{
	struct fixture *f = *state;
	struct digest digest = digest_named("l");
	struct layer_commit_request commit = {.revision = REVISION, .layer = digest, .diff_id = digest};

	given_layer(f, "default", "l");
	run_sql(f, "UPDATE catalog.layer SET state = 'deleting'");
	assert_int_equal(layer_begin(f->db, "default", &digest, REVISION, &f->e), ERR_CONFLICT);
	assert_true(f->e.retry_ms > 0);
	assert_int_equal(layer_commit(f->db, "default", &commit, &f->e), ERR_CONFLICT);
	assert_int_equal(look_up(f, "default", "l", REVISION).known_count, 0);
	run_sql(f, "DELETE FROM catalog.layer");
	assert_int_equal(layer_commit(f->db, "default", &commit, &f->e), ERR_CONFLICT);
	assert_ok(layer_begin(f->db, "default", &digest, REVISION, &f->e));
}

static size_t mark(struct fixture *f, int64_t grace_ms)
{
	size_t count;

	in_tx(layer_mark_unused(f->db, grace_ms, &count, &f->e));
	return count;
}

static void only_what_nothing_uses_or_touched_lately_is_swept(void **state)
{
	struct fixture *f = *state;
	struct digest pending = digest_named("pending");

	given_analysed(f, "default", "used", 1);
	given_layer(f, "default", "unused");
	assert_ok(layer_begin(f->db, "other", &pending, REVISION, &f->e));
	assert_int_equal(mark(f, 60000), 0);
	assert_int_equal(mark(f, 0), 2);
	assert_int_equal(mark(f, 0), 0);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.layer WHERE state = 'known'"), 1);
}

static void a_running_job_keeps_what_it_touched(void **state)
{
	struct fixture *f = *state;
	struct job job;

	given_order(f, "default", "a");
	given_layer(f, "default", "before");
	run_sql(f, "UPDATE catalog.layer SET touched_at = touched_at - 10000");
	job = given_lease(f);
	given_layer(f, "default", "during");
	given_layer(f, "other", "of another account");
	assert_int_equal(mark(f, 0), 2);
	assert_int_equal(look_up(f, "default", "during", REVISION).known_count, 1);
	in_tx(job_release(f->db, job.id, job.token, &f->e));
	assert_int_equal(mark(f, 0), 1);
}

/* ---- the result ---- */

static void a_commit_shows_everything_at_once(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job = given_lease(f);
	struct layer_item layers[] = {layer_item_named("l1"), layer_item_named("l2"), layer_item_named("l1")};
	struct image_set sets[] = {given_set(f, "dpkg", "p", 5), given_set(f, "npm", "q", 2)};
	struct job_commit_request commit = commit_of(&job, layers, 3, sets, 2);
	const char *like[] = {"debian"}, *incomplete[] = {"x: unreadable"};
	struct distribution distribution = {.id = "debian", .version = "12", .like = {like, 1}};
	struct analysis_cost cost = {.elapsed_ms = 5, .downloaded_bytes = 7};
	struct image_list_request list = {0};
	struct image_list_reply page = {0};
	struct image_detail d;
	struct proto_texts documents;

	given_layer(f, "default", "l1");
	given_layer(f, "default", "l2");
	commit.distribution = &distribution;
	commit.cost = &cost;
	commit.created_at = 12345;
	commit.incomplete = (struct proto_texts){incomplete, 1};
	in_tx(result_commit(f->db, &commit, &f->e));
	assert_ok(detail_read(f->db, f->ctx, a.image, &d, &documents, &f->e));
	assert_int_equal(d.status, ANALYSIS_ANALYSED);
	assert_int_equal(d.layers_count, 3);
	assert_true(digest_equal(&d.layers[2].digest, &layers[0].digest));
	assert_string_equal(d.layers[1].revision, REVISION);
	assert_int_equal(d.sets_count, 2);
	assert_string_equal(d.sets[0].type, "dpkg");
	assert_int_equal(d.sets[0].packages, 5);
	assert_int_equal(d.packages, 7);
	assert_string_equal(d.distribution->like.items[0], "debian");
	assert_int_equal(d.cost->downloaded_bytes, 7);
	assert_int_equal(d.created_at, 12345);
	assert_string_equal(d.incomplete.items[0], "x: unreadable");
	assert_int_equal(documents.count, 3);
	assert_true(d.analysed_at > 0);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.layer_use"), 2);
	assert_ok(detail_list(f->db, f->ctx, "default", &list, &page, &f->e));
	assert_string_equal(page.items[0].distribution, "debian 12");
	assert_int_equal(page.items[0].packages, 7);
	/* The same commit again. */
	in_tx(result_commit(f->db, &commit, &f->e));
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.analysed'"), 1);
}

static void a_commit_with_a_part_missing_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job = given_lease(f);
	struct layer_item layers[] = {layer_item_named("l1"), layer_item_named("l2")};
	struct image_set sets[] = {given_set(f, "dpkg", "p", 5), {.type = "npm", .digest = digest_named("no set")}};
	struct job_commit_request commit = commit_of(&job, layers, 2, sets, 1);
	struct digest l2 = digest_named("l2");

	given_layer(f, "default", "l1");
	in_tx_fails(ERR_CONFLICT, result_commit(f->db, &commit, &f->e));
	assert_non_null(strstr(f->e.text, digest_text(&l2).text));
	assert_ok(layer_begin(f->db, "default", &l2, REVISION, &f->e));
	in_tx_fails(ERR_CONFLICT, result_commit(f->db, &commit, &f->e));
	given_layer(f, "default", "l2");
	commit.sets_count = 2;
	in_tx_fails(ERR_CONFLICT, result_commit(f->db, &commit, &f->e));
	layers[1].revision = "";
	in_tx_fails(ERR_INVALID, result_commit(f->db, &commit, &f->e));
	assert_int_equal(image_now(f, a.image).status, ANALYSIS_ANALYSING);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.layer_use"), 0);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.image_set"), 0);
}

static void a_new_analysis_replaces_the_old_one(void **state)
{
	struct fixture *f = *state;
	int64_t image = given_analysed(f, "default", "a", 5), before = image_now(f, image).analysed_at;
	struct order order = order_of("default", "a");
	struct layer_item layer = layer_item_named("new layer");
	struct image_set set;
	struct job_commit_request commit;
	struct image_detail d;
	struct admission a;
	struct job job;

	order.force = true;
	in_tx(admit(f->db, &order, &a, &f->e));
	job = given_lease(f);
	given_layer(f, "default", "new layer");
	set = given_set(f, "npm", "q", 2);
	commit = commit_of(&job, &layer, 1, &set, 1);
	in_tx(result_commit(f->db, &commit, &f->e));
	assert_ok(detail_read(f->db, f->ctx, image, &d, NULL, &f->e));
	assert_int_equal(d.layers_count, 1);
	assert_true(digest_equal(&d.layers[0].digest, &layer.digest));
	assert_int_equal(d.sets_count, 1);
	assert_int_equal(d.packages, 2);
	assert_true(d.analysed_at > before);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.layer_use"), 1);
}

/* A commit that is under way when the sweep looks: whoever is second loses nothing. */
struct committer {
	struct fixture *f;
	pthread_t thread;
	struct job_commit_request *commit;
	enum err_code code;
};

static enum err_code commit_body(struct db *db, void *arg, struct err *e)
{
	struct committer *c = arg;

	return result_commit(db, c->commit, e);
}

static void *commit_now(void *arg)
{
	struct committer *c = arg;
	struct err e;

	c->code = db_transaction(c->f->pool, commit_body, c, &e);
	return NULL;
}

static void the_sweep_and_a_commit_exclude_each_other(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 30; round++) {
		const char *name = talloc_asprintf(f->ctx, "i%d", round);
		struct layer_item layer = layer_item_named(name);
		struct job_commit_request commit;
		struct committer c = {.f = f, .commit = &commit};
		struct admission a = given_order(f, "default", name);
		struct job job = given_lease(f);
		size_t swept = 0;

		given_layer(f, "default", name);
		/* So long ago that not even the job protects it. */
		run_sql(f, "UPDATE catalog.layer SET touched_at = 1");
		commit = commit_of(&job, &layer, 1, NULL, 0);
		assert_int_equal(pthread_create(&c.thread, NULL, commit_now, &c), 0);
		for (int i = 0; i < 3; i++)
			swept += mark(f, 0);
		pthread_join(c.thread, NULL);
		if (c.code == ERR_OK) {
			assert_int_equal(swept, 0);
			assert_int_equal(image_now(f, a.image).status, ANALYSIS_ANALYSED);
		} else {
			assert_int_equal(c.code, ERR_CONFLICT);
			assert_int_equal(swept, 1);
		}
		assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.layer_use u JOIN catalog.layer l"
		                              " ON l.id = u.layer WHERE l.state <> 'known'"),
		                 0);
		run_sql(f, "DELETE FROM catalog.image");
		run_sql(f, "DELETE FROM catalog.layer");
	}
}

/* ---- pages of packages ---- */

static void packages_of_an_image_come_in_pages_by_type(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct job job = given_lease(f);
	struct layer_item layer = layer_item_named("l");
	struct image_set sets[] = {given_set(f, "npm", "n", 7), given_set(f, "dpkg", "d", 10),
	                           given_set(f, "apk", "a", 1)};
	struct job_commit_request commit = commit_of(&job, &layer, 1, sets, 3);
	static const struct {
		const char *type;
		size_t count;
		const char *first;
	} cases[] = {{NULL, 18, "a-000000"}, {"npm", 7, "n-000000"}, {"os", 11, "a-000000"}, {"gem", 0, NULL}};

	given_layer(f, "default", "l");
	in_tx(result_commit(f->db, &commit, &f->e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_packages_request request = {.type = cases[i].type, .limit = 4};
		struct image_packages_reply reply;
		struct package before = {0};
		size_t seen = 0;

		do {
			reply = (struct image_packages_reply){0};
			assert_ok(package_read_image(f->db, f->ctx, a.image, &request, &reply, &f->e));
			assert_true(reply.items_count <= 4);
			for (size_t n = 0; n < reply.items_count; n++, seen++) {
				if (seen == 0)
					assert_string_equal(reply.items[n].name, cases[i].first);
				else
					assert_true(package_set_compare(&before, &reply.items[n]) < 0);
				before = reply.items[n];
			}
			request.after = reply.cursor;
		} while (reply.cursor);
		assert_int_equal(seen, cases[i].count);
	}
}

static void bad_and_outdated_cursors_are_errors(void **state)
{
	struct fixture *f = *state;
	int64_t image = given_analysed(f, "default", "a", 5);
	static const struct {
		const char *cursor;
		enum err_code code;
	} cases[] = {{"x", ERR_INVALID},         {"1", ERR_INVALID},
	             {"1.2.3", ERR_INVALID},     {"1.", ERR_INVALID},
	             {"-1.2", ERR_INVALID},      {"1. 2", ERR_INVALID},
	             {"999999.1", ERR_CONFLICT}, {"99999999999999999999.1", ERR_INVALID}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_packages_request request = {.after = cases[i].cursor};
		struct image_packages_reply reply = {0};

		assert_int_equal(package_read_image(f->db, f->ctx, image, &request, &reply, &f->e), cases[i].code);
	}
}

static void a_page_never_outgrows_a_reply(void **state)
{
	struct fixture *f = *state;
	struct package *packages = some_packages(f, "dpkg", "p", 2000);
	char *location = talloc_size(f->ctx, 4001);
	int64_t count, image = given_order(f, "default", "a").image;
	struct image_set set = {.type = "dpkg", .packages = 2000};
	struct image_packages_request request = {.limit = 2000};
	struct image_packages_reply reply;
	size_t seen = 0, pages = 0;

	memset(location, 1, 4000);
	location[4000] = '\0';
	for (size_t i = 0; i < 2000; i++)
		packages[i].location = location;
	set.digest = package_set_digest(packages, 2000);
	assert_ok(set_store_whole(f->pool, &set, packages, 2000, &f->e));
	in_tx(set_use(f->db, image, &set, 1, &count, &f->e));
	do {
		cJSON *json;
		char *text;

		reply = (struct image_packages_reply){.digest = digest_named("a")};
		assert_ok(package_read_image(f->db, f->ctx, image, &request, &reply, &f->e));
		assert_ok(proto_encode(message_image_packages.reply(), &reply, &json, &f->e));
		text = cJSON_PrintUnformatted(json);
		assert_true(strlen(text) < RPC_HEADER_MAX);
		cJSON_free(text);
		cJSON_Delete(json);
		seen += reply.items_count;
		request.after = reply.cursor;
		pages++;
	} while (reply.cursor);
	assert_int_equal(seen, 2000);
	assert_true(pages > 10);
}

static void a_package_is_found_in_all_images_of_the_account(void **state)
{
	struct fixture *f = *state;
	struct package packages[] = {
	    {.type = "npm", .name = "log", .version = "1.10", .purl = "p1", .location = "a"},
	    {.type = "npm", .name = "log", .version = "1.10", .purl = "p1", .location = "b"},
	    {.type = "npm", .name = "log", .version = "1.9", .purl = "p2", .location = "a"},
	    {.type = "npm", .name = "logger", .version = "1.9", .purl = "p3", .location = "a"}};
	struct image_set set = {.type = "npm", .digest = package_set_digest(packages, 4), .packages = 4};
	static const struct {
		const char *version, *type;
		size_t hits; /* of each image */
	} cases[] = {{NULL, NULL, 3},  {"1.10", NULL, 2}, {"1.1*", NULL, 2}, {"1.*", "npm", 3},
	             {"1.1", NULL, 0}, {"1_10", NULL, 0}, {"%", NULL, 0},    {NULL, "dpkg", 0}};
	int64_t count;

	assert_ok(set_store_whole(f->pool, &set, packages, 4, &f->e));
	for (int i = 0; i < 3; i++) {
		struct admission a = given_order(f, i == 2 ? "other" : "default", talloc_asprintf(f->ctx, "i%d", i));

		in_tx(set_use(f->db, a.image, &set, 1, &count, &f->e));
	}
	run_sql(f, "UPDATE catalog.image SET residence = 'archived' WHERE id = (SELECT min(id) FROM catalog.image)");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct package_find_request request = {
		    .name = "log", .version = cases[i].version, .type = cases[i].type, .limit = 2};
		struct package_find_reply reply;
		size_t seen = 0, archived = 0;

		do {
			reply = (struct package_find_reply){0};
			assert_ok(package_read_hits(f->db, f->ctx, "default", &request, &reply, &f->e));
			for (size_t n = 0; n < reply.items_count; n++, seen++) {
				assert_string_equal(reply.items[n].name, "log");
				archived += reply.items[n].residence == RESIDENCE_ARCHIVED;
				request.after = reply.items[n].cursor;
			}
		} while (reply.more);
		if (seen != 2 * cases[i].hits || archived != cases[i].hits)
			fail_msg("case %zu: %zu hits, %zu archived", i, seen, archived);
	}
}

FIXTURE_MAIN(FIXTURE_TEST(a_layer_is_known_when_it_was_committed),
             FIXTURE_TEST(a_layer_being_removed_asks_for_patience),
             FIXTURE_TEST(only_what_nothing_uses_or_touched_lately_is_swept),
             FIXTURE_TEST(a_running_job_keeps_what_it_touched), FIXTURE_TEST(a_commit_shows_everything_at_once),
             FIXTURE_TEST(a_commit_with_a_part_missing_changes_nothing),
             FIXTURE_TEST(a_new_analysis_replaces_the_old_one), FIXTURE_TEST(the_sweep_and_a_commit_exclude_each_other),
             FIXTURE_TEST(packages_of_an_image_come_in_pages_by_type),
             FIXTURE_TEST(bad_and_outdated_cursors_are_errors), FIXTURE_TEST(a_page_never_outgrows_a_reply),
             FIXTURE_TEST(a_package_is_found_in_all_images_of_the_account))
