#include "tests/unit/catalog/fixture.h"

#include "services/catalog/audit.h"
#include "services/catalog/removal.h"
#include "services/catalog/sweep.h"
#include "services/catalog/tag.h"
#include "services/catalog/upload.h"

#include <inttypes.h>

static int64_t count_of(struct fixture *f, const char *table)
{
	return number_of(f, talloc_asprintf(f->ctx, "SELECT count(*) FROM catalog.%s", table));
}

static size_t documents_of(struct fixture *f, const char *name)
{
	struct digest digest = digest_named(name);

	return memory_objects_count(f->store, "default", "images",
	                            talloc_asprintf(f->ctx, "%s/", digest_hex(&digest).text));
}

static void remove_image(struct fixture *f, int64_t id, bool force)
{
	struct image image = {.id = id, .digest = digest_named("a")};

	in_tx(removal_from_working_set(f->db, f->ctx, &image, force, &f->e));
}

/* Another process has it, and is alive or died lately. */
static void others_lease(struct fixture *f, const char *name)
{
	run_sql(f, talloc_asprintf(f->ctx,
	                           "INSERT INTO catalog.lease VALUES ('%s', 'another', now() + interval '1 minute')",
	                           name));
}

static void set_residence(struct fixture *f, int64_t id, const char *residence)
{
	run_sql(f,
	        talloc_asprintf(f->ctx,
	                        "UPDATE catalog.image SET residence = '%s', archived_analysis = analysed_at WHERE id ="
	                        " %" PRId64,
	                        residence, id));
}

/* ---- leaving for good ---- */

static void a_removed_image_is_gone_for_users_at_once_and_altogether_soon(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct image image;

	remove_image(f, id, false);
	assert_int_equal(image_find(f->db, f->ctx, "default", name_of(f, "a"), &image, &f->e), ERR_NOT_FOUND);
	assert_int_equal(count_of(f, "layer_use"), 0);
	assert_int_equal(count_of(f, "image_set"), 0);
	assert_int_equal(documents_of(f, "a"), 3);
	f->store->batch = 1; /* the store removes in batches, too */
	removal_run(&f->c);
	assert_int_equal(documents_of(f, "a"), 0);
	assert_int_equal(count_of(f, "image"), 0);
	assert_int_equal(count_of(f, "job"), 0);
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.event WHERE kind = 'image.removed'"), 1);
}

static void a_removal_that_was_interrupted_is_resumed(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);

	remove_image(f, id, false);
	for (int i = 0; i < 3; i++) {
		f->store->failing = 1;
		removal_run(&f->c);
		assert_int_equal(image_now(f, id).state, IMAGE_DELETING);
	}
	f->store->batch = 1;
	f->store->failing = 0;
	/* Another process goes on when the lease of the one that died has ended. */
	others_lease(f, "removal");
	removal_run(&f->c);
	assert_int_equal(count_of(f, "image"), 1);
	run_sql(f, "UPDATE catalog.lease SET until = now() - interval '1 second'");
	removal_run(&f->c);
	assert_int_equal(count_of(f, "image"), 0);
	assert_int_equal(documents_of(f, "a"), 0);
}

static void an_image_under_analysis_is_removed_by_force_only(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");
	struct image image = {.id = a.image};
	struct job job = given_lease(f);

	in_tx_fails(ERR_CONFLICT, removal_from_working_set(f->db, f->ctx, &image, false, &f->e));
	assert_non_null(strstr(f->e.text, "force"));
	remove_image(f, a.image, true);
	assert_string_equal(text_of(f, "SELECT state FROM catalog.job"), "cancelled");
	/* Its worker may still write objects, until it hears of it or its lease ends. */
	memory_objects_add(f->store, "default", "images",
	                   talloc_asprintf(f->ctx, "%s/late", digest_hex(&job.digest).text), "x");
	removal_run(&f->c);
	assert_int_equal(image_now(f, a.image).state, IMAGE_DELETING);
	in_tx(job_release(f->db, job.id, job.token, &f->e));
	removal_run(&f->c);
	assert_int_equal(count_of(f, "image"), 0);
	assert_int_equal(documents_of(f, "a"), 0);
}

static void a_worker_that_says_nothing_holds_up_the_removal_for_its_lease_only(void **state)
{
	struct fixture *f = *state;
	struct admission a = given_order(f, "default", "a");

	f->settings.lease_ms = 1;
	given_lease(f);
	remove_image(f, a.image, true);
	run_sql(f, "SELECT pg_sleep(0.02)");
	removal_run(&f->c);
	assert_int_equal(count_of(f, "image"), 0);
}

static void a_removed_image_can_be_added_anew(void **state)
{
	struct fixture *f = *state;

	remove_image(f, given_analysed(f, "default", "a", 5), false);
	removal_run(&f->c);
	given_analysed(f, "default", "a", 5);
	assert_int_equal(documents_of(f, "a"), 3);
}

/* ---- leaving the working set ---- */

static void an_archived_image_leaves_the_working_set_and_stays_known(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct image image;

	set_residence(f, id, "both");
	remove_image(f, id, false);
	assert_ok(image_find(f->db, f->ctx, "default", name_of(f, "a"), &image, &f->e));
	assert_int_equal(image.state, IMAGE_DETACHING);
	assert_int_equal(image.residence, RESIDENCE_ARCHIVED);
	remove_image(f, id, false); /* again: nothing more to do */
	removal_run(&f->c);
	image = image_now(f, id);
	assert_int_equal(image.state, IMAGE_PRESENT);
	assert_int_equal(image.residence, RESIDENCE_ARCHIVED);
	assert_int_equal(image.status, ANALYSIS_ANALYSED);
	assert_int_equal(documents_of(f, "a"), 0);
	assert_int_equal(count_of(f, "layer_use"), 0);
	assert_int_equal(count_of(f, "image_set"), 1);
	remove_image(f, id, false);
	assert_int_equal(image_now(f, id).state, IMAGE_PRESENT);
}

static void only_an_analysis_that_is_archived_can_be_detached(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct image image = {.id = id};

	in_tx_fails(ERR_PRECONDITION, removal_detach(f->db, f->ctx, &image, &f->e));
	set_residence(f, id, "both");
	run_sql(f, "UPDATE catalog.image SET analysed_at = analysed_at + 1");
	in_tx_fails(ERR_PRECONDITION, removal_detach(f->db, f->ctx, &image, &f->e));
	assert_non_null(strstr(f->e.text, "analysed again"));
	set_residence(f, id, "both");
	in_tx(removal_detach(f->db, f->ctx, &image, &f->e));
	in_tx(removal_detach(f->db, f->ctx, &image, &f->e));
}

static void an_image_that_leaves_the_archive_stays_or_goes(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *residence;
		enum image_state state;
		enum residence after;
	} cases[] = {{"working", IMAGE_PRESENT, RESIDENCE_WORKING},
	             {"both", IMAGE_PRESENT, RESIDENCE_WORKING},
	             {"archived", IMAGE_DELETING, RESIDENCE_WORKING}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t id = given_analysed(f, "default", talloc_asprintf(f->ctx, "i%zu", i), 1);
		struct image image;

		set_residence(f, id, cases[i].residence);
		image = image_now(f, id);
		in_tx(removal_from_archive(f->db, f->ctx, &image, &f->e));
		image = image_now(f, id);
		assert_int_equal(image.state, cases[i].state);
		assert_int_equal(image.residence, cases[i].after);
	}
}

static void what_the_table_of_moves_does_not_have_is_refused(void **state)
{
	struct fixture *f = *state;
	struct image image = image_now(f, given_analysed(f, "default", "a", 1)), stale = image;

	in_tx_fails(ERR_PRECONDITION, image_move(f->db, &image, IMAGE_PRESENT, RESIDENCE_ARCHIVED, &f->e));
	in_tx_fails(ERR_PRECONDITION, image_move(f->db, &image, IMAGE_DETACHING, RESIDENCE_WORKING, &f->e));
	in_tx(image_move(f->db, &image, IMAGE_PRESENT, RESIDENCE_BOTH, &f->e));
	in_tx_fails(ERR_CONFLICT, image_move(f->db, &stale, IMAGE_DELETING, RESIDENCE_WORKING, &f->e));
}

/* ---- the sweep ---- */

static void the_sweep_removes_layers_with_their_objects(void **state)
{
	struct fixture *f = *state;
	struct sweep_count count;

	given_analysed(f, "default", "a", 5);
	given_layer(f, "default", "unused");
	given_layer(f, "other", "unused");
	f->store->batch = 1;
	count = sweep_run(&f->c);
	assert_int_equal(count.layers, 2);
	assert_int_equal(memory_objects_count(f->store, "default", "layers", ""), 2);
	assert_int_equal(memory_objects_count(f->store, "other", "layers", ""), 0);
	assert_int_equal(count_of(f, "layer"), 1);
	assert_int_equal(sweep_run(&f->c).layers, 0);
}

static void a_sweep_that_the_store_interrupts_leaves_rows_that_say_what_to_do(void **state)
{
	struct fixture *f = *state;

	given_layer(f, "default", "unused");
	f->store->failing = 1;
	assert_int_equal(sweep_run(&f->c).layers, 0);
	assert_string_equal(text_of(f, "SELECT state FROM catalog.layer"), "deleting");
	assert_int_equal(memory_objects_count(f->store, "default", "layers", ""), 2);
	assert_int_equal(sweep_run(&f->c).layers, 1);
	assert_int_equal(count_of(f, "layer"), 0);
	assert_int_equal(memory_objects_count(f->store, "default", "layers", ""), 0);
}

static void one_process_sweeps(void **state)
{
	struct fixture *f = *state;

	given_layer(f, "default", "unused");
	others_lease(f, "sweep");
	assert_int_equal(sweep_run(&f->c).layers, 0);
	run_sql(f, "UPDATE catalog.lease SET until = now() - interval '1 second'");
	assert_int_equal(sweep_run(&f->c).layers, 1);
	/* It is given back at once. */
	assert_int_equal(count_of(f, "lease"), 0);
}

static void uploads_that_are_done_go_with_their_blobs(void **state)
{
	struct fixture *f = *state;
	char *done, *open;

	assert_ok(upload_begin(f->db, f->ctx, "default", &done, &f->e));
	assert_ok(upload_begin(f->db, f->ctx, "default", &open, &f->e));
	memory_objects_add(f->store, "default", "uploads", talloc_asprintf(f->ctx, "%s/x", done), "blob");
	memory_objects_add(f->store, "default", "uploads", talloc_asprintf(f->ctx, "%s/x", open), "blob");
	in_tx(upload_mark_done(f->db, done, &f->e));
	assert_int_equal(sweep_run(&f->c).uploads, 1);
	assert_int_equal(memory_objects_count(f->store, "default", "uploads", ""), 1);
	assert_int_equal(count_of(f, "upload"), 1);
	run_sql(f, "UPDATE catalog.upload SET created_at = 1");
	assert_int_equal(sweep_run(&f->c).uploads, 1);
	assert_int_equal(memory_objects_count(f->store, "default", "uploads", ""), 0);
}

static void many_images_on_one_base_leave_nothing_behind(void **state)
{
	struct fixture *f = *state;

	given_layer(f, "default", "base");
	for (int i = 0; i < 10; i++) {
		const char *name = talloc_asprintf(f->ctx, "i%d", i);
		struct layer_item layers[] = {layer_item_named("base"), layer_item_named(name)};
		struct image_set set;
		struct job_commit_request commit;
		struct job job;

		given_order(f, "default", name);
		job = given_lease(f);
		given_layer(f, "default", name);
		set = given_set(f, "dpkg", i % 2 ? "odd" : "even", 20);
		commit = commit_of(&job, layers, 2, &set, 1);
		in_tx(result_commit(f->db, &commit, &f->e));
	}
	assert_int_equal(count_of(f, "package"), 40);
	for (int i = 9; i >= 0; i--) {
		remove_image(f, number_of(f, "SELECT max(id) FROM catalog.image WHERE state = 'present'"), false);
		removal_run(&f->c);
		sweep_run(&f->c);
		assert_int_equal(count_of(f, "layer"), i ? i + 1 : 0);
	}
	assert_int_equal(count_of(f, "package"), 0);
	assert_int_equal(memory_objects_count(f->store, "default", "layers", ""), 0);
}

/* ---- the audit ---- */

static void objects_that_nothing_owns_are_found_and_go(void **state)
{
	struct fixture *f = *state;
	const char *hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	given_analysed(f, "default", "a", 2);
	memory_objects_add(f->store, "default", "layers", talloc_asprintf(f->ctx, "r1/%s/files", hex), "x");
	memory_objects_add(f->store, "other", "images", talloc_asprintf(f->ctx, "%s/config", hex), "x");
	memory_objects_add(f->store, "default", "uploads", "abc/def", "x");
	memory_objects_add(f->store, "default", "layers", "what is this", "x");
	memory_objects_add(f->store, "default", "layers", "r1/nohex/files", "x");
	assert_int_equal(audit_run(&f->c), 3);
	sweep_run(&f->c);
	removal_run(&f->c);
	assert_int_equal(memory_objects_count(f->store, "default", "layers", "r1/0"), 0);
	assert_int_equal(memory_objects_count(f->store, "other", "images", ""), 0);
	assert_int_equal(memory_objects_count(f->store, "default", "uploads", ""), 0);
	assert_int_equal(documents_of(f, "a"), 3);
	assert_int_equal(count_of(f, "image"), 1);
	assert_int_equal(audit_run(&f->c), 0);
}

static void the_audit_goes_on_where_it_stopped_and_spares_what_is_young(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < OBJECTS_PAGE + 100; i++) {
		struct digest digest = digest_named(talloc_asprintf(f->ctx, "%d", i));

		memory_objects_add(f->store, "default", "images",
		                   talloc_asprintf(f->ctx, "%s/x", digest_hex(&digest).text), "x");
	}
	f->settings.sweep_grace_ms = 3600000;
	assert_int_equal(audit_run(&f->c), 0);
	assert_int_equal(audit_run(&f->c), 0);
	f->settings.sweep_grace_ms = -3600000;
	assert_int_equal(audit_run(&f->c), OBJECTS_PAGE);
	assert_int_equal(audit_run(&f->c), 100);
	assert_int_equal(audit_run(&f->c), 0);
}

FIXTURE_MAIN(FIXTURE_TEST(a_removed_image_is_gone_for_users_at_once_and_altogether_soon),
             FIXTURE_TEST(a_removal_that_was_interrupted_is_resumed),
             FIXTURE_TEST(an_image_under_analysis_is_removed_by_force_only),
             FIXTURE_TEST(a_worker_that_says_nothing_holds_up_the_removal_for_its_lease_only),
             FIXTURE_TEST(a_removed_image_can_be_added_anew),
             FIXTURE_TEST(an_archived_image_leaves_the_working_set_and_stays_known),
             FIXTURE_TEST(only_an_analysis_that_is_archived_can_be_detached),
             FIXTURE_TEST(an_image_that_leaves_the_archive_stays_or_goes),
             FIXTURE_TEST(what_the_table_of_moves_does_not_have_is_refused),
             FIXTURE_TEST(the_sweep_removes_layers_with_their_objects),
             FIXTURE_TEST(a_sweep_that_the_store_interrupts_leaves_rows_that_say_what_to_do),
             FIXTURE_TEST(one_process_sweeps), FIXTURE_TEST(uploads_that_are_done_go_with_their_blobs),
             FIXTURE_TEST(many_images_on_one_base_leave_nothing_behind),
             FIXTURE_TEST(objects_that_nothing_owns_are_found_and_go),
             FIXTURE_TEST(the_audit_goes_on_where_it_stopped_and_spares_what_is_young))
