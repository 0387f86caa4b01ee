#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/archive-manager/lease.h"
#include "services/archive-manager/migrations.h"
#include "services/archive-manager/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE_MS 30000

struct fixture {
	TALLOC_CTX *ctx;
	struct db_pool *pool;
	struct db *db;
};

#define assert_ok(expression)                                                                                          \
	do {                                                                                                           \
		struct err assert_e_ = {0};                                                                            \
		struct err *e = &assert_e_;                                                                            \
		enum err_code assert_code_ = (expression);                                                             \
		if (assert_code_ != ERR_OK)                                                                            \
			fail_msg("%s: %s: %s", #expression, err_name(assert_code_), assert_e_.text);                   \
	} while (0)

static int setup(void **state)
{
	const char *url = getenv("STOWAGE_TEST_DB");
	struct fixture *f = talloc_zero(NULL, struct fixture);

	if (!url) {
		fprintf(stderr, "STOWAGE_TEST_DB does not name a database\n");
		return -1;
	}
	f->ctx = f;
	f->pool = db_pool_new(f, &(struct db_options){.url = url, .application = "row_test", .connections = 3});
	assert_ok(db_acquire(f->pool, 5000, &f->db, e));
	assert_ok(db_query(f->db, NULL, NULL, e, "DROP SCHEMA IF EXISTS archive CASCADE"));
	assert_ok(db_migrate(f->pool, "archive", archive_migrations, ARCHIVE_MIGRATIONS, e));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	db_release(f->db);
	talloc_free(f);
	return 0;
}

static struct digest digest(uint8_t n)
{
	return (struct digest){{n, 1}};
}

static struct row add(struct fixture *f, const char *account, uint8_t n, bool detach)
{
	struct digest d = digest(n);
	struct row row;

	assert_ok(row_insert(f->db, account, &d, detach, e));
	assert_ok(row_load(f->db, f->ctx, account, &d, false, &row, e));
	return row;
}

static struct row claim(struct fixture *f)
{
	struct row row;

	assert_ok(row_claim(f->db, f->ctx, "me", LEASE_MS, &row, e));
	return row;
}

static void assert_nothing_due(struct fixture *f)
{
	struct row row;

	assert_int_equal(row_claim(f->db, f->ctx, "other", LEASE_MS, &row, NULL), ERR_NOT_FOUND);
}

static void one_row_for_an_image_and_account(void **state)
{
	struct fixture *f = *state;
	struct digest d = digest(1);

	add(f, "a", 1, false);
	add(f, "b", 1, false);
	assert_int_equal(row_insert(f->db, "a", &d, false, NULL), ERR_CONFLICT);
	d = digest(2);
	assert_int_equal(row_load(f->db, f->ctx, "a", &d, true, &(struct row){0}, NULL), ERR_NOT_FOUND);
}

static void a_row_is_claimed_once_until_its_lease_ends(void **state)
{
	struct fixture *f = *state;
	struct row first, again;

	add(f, "a", 1, false);
	assert_ok(row_claim(f->db, f->ctx, "me", 50, &first, e));
	assert_nothing_due(f);
	usleep(80000);
	assert_ok(row_claim(f->db, f->ctx, "other", LEASE_MS, &again, e));
	assert_true(again.token > first.token);
	/* The one whose lease ended is refused from then on. */
	assert_int_equal(row_move(f->db, &first, MACHINE_COPIED, first.token, NULL), ERR_STALE_LEASE);
	assert_int_equal(row_set_copy(f->db, &first, NULL), ERR_STALE_LEASE);
	assert_ok(row_move(f->db, &again, MACHINE_COPIED, again.token, e));
	assert_int_equal(again.state, ARCHIVE_VERIFYING);
}

static void a_move_needs_the_state_that_was_seen(void **state)
{
	struct fixture *f = *state;
	struct row row, copy;

	add(f, "a", 1, false);
	row = copy = claim(f);
	assert_int_equal(row_move(f->db, &row, MACHINE_DETACHED, row.token, NULL), ERR_CONFLICT);
	assert_ok(row_move(f->db, &row, MACHINE_COPIED, row.token, e));
	assert_int_equal(row_move(f->db, &copy, MACHINE_COPIED, copy.token, NULL), ERR_STALE_LEASE);
}

static void a_wish_keeps_a_settled_row_from_being_given_back(void **state)
{
	struct fixture *f = *state;
	struct row row;
	bool again;

	add(f, "a", 1, true);
	row = claim(f);
	assert_ok(row_move(f->db, &row, MACHINE_COPIED, row.token, e));
	assert_ok(row_move(f->db, &row, MACHINE_VERIFIED, row.token, e));
	assert_ok(row_settle(f->db, &row, &again, e));
	assert_true(again); /* detach is wished for */
	assert_ok(row_move(f->db, &row, MACHINE_DETACH, row.token, e));
	row.detached = true;
	row.detach = false;
	assert_ok(row_set_detached(f->db, &row, e));
	assert_ok(row_move(f->db, &row, MACHINE_DETACHED, row.token, e));
	assert_ok(row_settle(f->db, &row, &again, e));
	assert_false(again);
	assert_nothing_due(f);
	assert_ok(row_wish(f->db, &row, MACHINE_REMOVE, false, e));
	assert_int_equal(claim(f).intent, MACHINE_REMOVE);
}

static void a_crash_between_archived_and_detaching_is_resumed(void **state)
{
	struct fixture *f = *state;
	struct row row;

	add(f, "a", 1, true);
	row = claim(f);
	assert_ok(row_move(f->db, &row, MACHINE_COPIED, row.token, e));
	assert_ok(row_move(f->db, &row, MACHINE_VERIFIED, row.token, e));
	assert_ok(db_query(f->db, NULL, NULL, e, "UPDATE archive.image SET lease_until = 0"));
	row = claim(f);
	assert_int_equal(row.state, ARCHIVE_ARCHIVED);
	assert_true(row.detach);
}

static void a_failure_keeps_its_reason_and_waits_for_nobody(void **state)
{
	struct fixture *f = *state;
	struct digest d = digest(1);
	struct row row;
	bool again;

	add(f, "a", 1, true);
	row = claim(f);
	assert_ok(row_fail(f->db, &row, "corrupt: it is bad", e));
	assert_ok(row_settle(f->db, &row, &again, e));
	assert_false(again);
	assert_nothing_due(f);
	assert_ok(row_load(f->db, f->ctx, "a", &d, false, &row, e));
	assert_int_equal(row.state, ARCHIVE_FAILED);
	assert_string_equal(row.reason, "corrupt: it is bad");
	/* Asking again starts over, with the slate wiped. */
	assert_ok(row_move(f->db, &row, MACHINE_ADD, 0, e));
	row = claim(f);
	assert_int_equal(row.state, ARCHIVE_COPYING);
	assert_null(row.reason);
}

static void a_row_given_back_waits_its_time(void **state)
{
	struct fixture *f = *state;
	struct row row;

	add(f, "a", 1, false);
	row = claim(f);
	assert_ok(row_release(f->db, &row, 60000, true, "unavailable: nobody there", e));
	assert_nothing_due(f);
	assert_ok(db_query(f->db, NULL, NULL, e, "UPDATE archive.image SET not_before = 0"));
	row = claim(f);
	assert_int_equal(row.attempts, 1);
	assert_string_equal(row.reason, "unavailable: nobody there");
	assert_ok(row_release(f->db, &row, 0, false, NULL, e));
	assert_int_equal(claim(f).attempts, 1);
}

static void tags_of_any_kind_come_back(void **state)
{
	static const char *tags[] = {"host/a:1", "quote\"and\\backslash", "\xc3\xbc"};
	struct fixture *f = *state;
	struct archive_summary_reply summary;
	struct row row;

	add(f, "a", 1, false);
	row = claim(f);
	row.tags = (struct proto_texts){tags, ARRAY_SIZE(tags)};
	row.analysed_at = 77;
	assert_ok(row_set_source(f->db, &row, e));
	assert_ok(row_load(f->db, f->ctx, "a", &row.digest, false, &row, e));
	assert_int_equal(row.tags.count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(row.tags.items[i], tags[i]);
	assert_ok(row_summary(f->db, f->ctx, "a", &summary, e));
	assert_int_equal(summary.tags, 3);
	assert_int_equal(summary.in_transition, 1);
}

static void pages_are_ordered_and_of_one_account(void **state)
{
	struct fixture *f = *state;
	struct digest none = {{0}};
	struct row_list list;

	for (uint8_t n = 5; n >= 1; n--)
		add(f, "a", n, false);
	add(f, "b", 9, false);
	assert_ok(row_list(f->db, f->ctx, "a", &none, 3, &list, e));
	assert_int_equal(list.count, 3);
	assert_true(list.more);
	assert_int_equal(list.items[2].digest.bytes[0], 3);
	assert_ok(row_list(f->db, f->ctx, "a", &list.items[2].digest, 3, &list, e));
	assert_int_equal(list.count, 2);
	assert_false(list.more);
	assert_int_equal(list.items[1].digest.bytes[0], 5);
}

static void objects_are_shared_until_the_last_image_forgets_them(void **state)
{
	static const struct object_name first[] = {{"images", "1/config"}, {"layers", "r/x/files"}};
	static const struct object_name second[] = {{"images", "2/config"}, {"layers", "r/x/files"}};
	struct fixture *f = *state;
	struct row a = add(f, "a", 1, false), b = add(f, "a", 2, false), other = add(f, "b", 3, false);
	struct object layer = {.bucket = "layers", .key = "r/x/files"};
	struct object_list list;
	bool shared;

	assert_ok(objects_enter(f->db, &a, first, 2, true, e));
	assert_ok(objects_enter(f->db, &b, second, 2, true, e));
	assert_ok(objects_enter(f->db, &other, second, 2, true, e));
	assert_ok(objects_shared(f->db, &a, &layer, &shared, e));
	assert_true(shared);
	assert_ok(objects_forget(f->db, &b, &layer, e));
	assert_ok(objects_shared(f->db, &a, &layer, &shared, e));
	assert_false(shared); /* another account's does not count */
	assert_ok(objects_load(f->db, f->ctx, &a, &list, e));
	assert_int_equal(list.count, 2);
	assert_true(object_is_named(&list.items[0], first, 2));
	assert_false(object_is_named(&list.items[0], second, 2));
}

static void what_is_done_is_kept_unless_the_copy_is_of_another_analysis(void **state)
{
	static const struct object_name names[] = {{"images", "1/config"}};
	struct fixture *f = *state;
	struct object o = {.bucket = "images", .key = "1/config", .size = 5, .sha256 = digest(7), .moved_bytes = 5};
	struct object_list list;
	struct row row;

	add(f, "a", 1, false);
	row = claim(f);
	assert_ok(objects_enter(f->db, &row, names, 1, false, e));
	assert_ok(objects_done(f->db, &row, &o, e));
	assert_ok(objects_enter(f->db, &row, names, 1, false, e));
	assert_ok(objects_load(f->db, f->ctx, &row, &list, e));
	assert_true(list.items[0].done);
	assert_int_equal(list.items[0].size, 5);
	/* The next state begins with nothing done, and what is known stays. */
	assert_ok(row_move(f->db, &row, MACHINE_COPIED, row.token, e));
	assert_ok(objects_load(f->db, f->ctx, &row, &list, e));
	assert_false(list.items[0].done);
	assert_true(digest_equal(&list.items[0].sha256, &o.sha256));
	assert_ok(objects_enter(f->db, &row, names, 1, true, e));
	assert_ok(objects_load(f->db, f->ctx, &row, &list, e));
	assert_true(digest_is_none(&list.items[0].sha256));
	row.token--;
	assert_int_equal(objects_done(f->db, &row, &o, NULL), ERR_STALE_LEASE);
}

static void leaving_takes_the_objects_along(void **state)
{
	static const struct object_name names[] = {{"images", "1/config"}};
	struct fixture *f = *state;
	struct object_list list;
	struct row row;

	add(f, "a", 1, false);
	row = claim(f);
	assert_ok(objects_enter(f->db, &row, names, 1, true, e));
	assert_ok(row_move(f->db, &row, MACHINE_REMOVE, row.token, e));
	assert_ok(row_move(f->db, &row, MACHINE_REMOVED, row.token, e));
	assert_int_equal(row.state, archive_state_none);
	assert_int_equal(row_load(f->db, f->ctx, "a", &row.digest, false, &row, NULL), ERR_NOT_FOUND);
	assert_ok(objects_load(f->db, f->ctx, &row, &list, e));
	assert_int_equal(list.count, 0);
}

static void a_lease_is_renewed_while_it_is_ours_and_over_when_it_is_not(void **state)
{
	struct fixture *f = *state;
	struct leases *leases =
	    leases_new(f->ctx, &(struct lease_options){.db = f->pool, .owner = "me", .lease_ms = 2000});
	struct lease *lease;
	struct row row;

	add(f, "a", 1, false);
	assert_ok(row_claim(f->db, f->ctx, "me", 2000, &row, e));
	lease = lease_hold(leases, row.account, &row.digest, row.token, clock_monotonic_ms() - 1500);
	assert_in_range(lease_left_ms(lease), 0, 500);
	assert_ok(leases_renew(leases, e));
	assert_in_range(lease_left_ms(lease), 1000, 2000);
	assert_ok(db_query(f->db, NULL, NULL, e, "UPDATE archive.image SET token = token + 1, owner = 'other'"));
	assert_ok(leases_renew(leases, e));
	assert_int_equal(lease_left_ms(lease), 0);
	lease_free(lease);
	assert_ok(leases_renew(leases, e));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_row_for_an_image_and_account),
	    TEST(a_row_is_claimed_once_until_its_lease_ends),
	    TEST(a_move_needs_the_state_that_was_seen),
	    TEST(a_wish_keeps_a_settled_row_from_being_given_back),
	    TEST(a_crash_between_archived_and_detaching_is_resumed),
	    TEST(a_failure_keeps_its_reason_and_waits_for_nobody),
	    TEST(a_row_given_back_waits_its_time),
	    TEST(tags_of_any_kind_come_back),
	    TEST(pages_are_ordered_and_of_one_account),
	    TEST(objects_are_shared_until_the_last_image_forgets_them),
	    TEST(what_is_done_is_kept_unless_the_copy_is_of_another_analysis),
	    TEST(leaving_takes_the_objects_along),
	    TEST(a_lease_is_renewed_while_it_is_ours_and_over_when_it_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
