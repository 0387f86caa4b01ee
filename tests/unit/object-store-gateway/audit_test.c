/* A back end against the rows: what is on one side only. */
#include "services/object-store-gateway/audit.h"
#include "tests/unit/object-store-gateway/busy_support.h"

#include <pthread.h>
#include <stdatomic.h>

static const enum fixture_kind kinds[] = {BACKEND_MEM, BACKEND_DB, BACKEND_LOCALFS, BACKEND_FAULTY_WITHIN};

enum { REPORT = 0, REMOVE = 1, MARK = 2 };

static int64_t stop_at_ms = INT64_MAX; /* audits end there, in the middle: others write faster than they read */

/* All pages in one. */
struct audited {
	int64_t listed, rows;
	size_t pages, orphans, missing, removed, healed, taken;
	struct audit_orphan orphan;    /* the last */
	struct audit_missing one_lost; /* the last */
};

static enum err_code audit_pages(struct store *s, TALLOC_CTX *ctx, size_t window, int flags, struct audited *sum,
                                 struct err *e)
{
	struct audit_order order = {
	    .backend = s->current,
	    .window = window,
	    .remove_orphans = flags & REMOVE,
	    .mark_missing = flags & MARK,
	    .deadline_ms = clock_monotonic_ms() + 60000,
	};
	struct store_audit_reply page = {.more = true};

	*sum = (struct audited){0};
	while (page.more && clock_monotonic_ms() < stop_at_ms) {
		page = (struct store_audit_reply){0};
		TRY(audit_page(s, ctx, &order, &page, e));
		assert_true(!page.more || page.last > order.after);
		order.after = page.last;
		sum->pages++;
		sum->listed += page.listed;
		sum->rows += page.rows;
		sum->orphans += page.orphans_count;
		sum->missing += page.missing_count;
		for (size_t i = 0; i < page.orphans_count; i++) {
			sum->orphan = page.orphans[i];
			sum->removed += page.orphans[i].removed;
			sum->taken += page.orphans[i].taken;
		}
		for (size_t i = 0; i < page.missing_count; i++) {
			sum->one_lost = page.missing[i];
			sum->healed += page.missing[i].healed;
		}
	}
	return ERR_OK;
}

static struct audited audit(struct store *s, TALLOC_CTX *ctx, size_t window, int flags)
{
	struct audited sum;
	struct err e;

	fixture_must(audit_pages(s, ctx, window, flags, &sum, &e), &e);
	return sum;
}

static void put_many(struct store *s, int count)
{
	char key[16];

	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "doc %d", i);
		must_put(s, key, key);
	}
}

static struct location stray(struct store *s, int64_t number, const char *text)
{
	struct location at = {digest_of(text, strlen(text)), number};
	struct err e;

	fixture_must(s->current->driver->put(s->current->conn, &at, text, strlen(text), &e), &e);
	return at;
}

/* ---- what is found ---- */

static void where_all_is_well_nothing_is_reported(void **state)
{
	static const size_t windows[] = {1, 7, 10, 11, AUDIT_WINDOW};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		SCRATCH_CTX(ctx);

		assert_int_equal(audit(&f->store, ctx, 10, REMOVE | MARK).rows, 0);
		put_many(&f->store, 10);
		put_many(&f->archive, 5);
		for (size_t w = 0; w < ARRAY_SIZE(windows); w++) {
			struct audited sum = audit(&f->store, ctx, windows[w], REMOVE | MARK);

			assert_int_equal(sum.listed, 10);
			assert_int_equal(sum.rows, 10);
			assert_int_equal(sum.orphans + sum.missing, 0);
			assert_in_range(sum.pages, 10 / windows[w], 10 / windows[w] + 1);
		}
		must_get(&f->store, "doc 7", "doc 7");
		fixture_free(f);
	}
}

static void bytes_without_a_row_are_found_and_removed_when_asked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		SCRATCH_CTX(ctx);
		struct location at;
		struct audited sum;

		put_many(&f->store, 6);
		fixture_sql(f, "SELECT setval('objects.chunk_id_seq', 100)");
		put_many(&f->archive, 1);
		must_put(&f->store, "last", "last");
		at = stray(&f->store, 50, "nobody knows this");
		for (size_t window = 3; window < 12; window += 5) {
			sum = audit(&f->store, ctx, window, MARK);
			assert_int_equal(sum.orphans, 1);
			assert_int_equal(sum.removed, 0);
			assert_int_equal(sum.missing, 0);
			assert_int_equal(sum.orphan.number, 50);
			assert_true(digest_equal(&sum.orphan.sha256, &at.sha256));
			assert_int_equal(sum.rows, 7);
			assert_int_equal(sum.listed, 8);
		}
		sum = audit(&f->store, ctx, 5, REMOVE);
		assert_int_equal(sum.removed, 1);
		assert_int_equal(audit(&f->store, ctx, 5, REPORT).orphans, 0);
		must_get(&f->store, "last", "last");
		must_get(&f->store, "doc 0", "doc 0");
		fixture_free(f);
	}
}

static void rows_without_bytes_are_found_marked_and_healed_when_asked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		SCRATCH_CTX(ctx);
		struct audited sum;

		put_many(&f->store, 8);
		must_put(&f->store, "twin", "doc 4");
		must_put(&f->archive, "copy", "doc 2");
		lose(&f->store, "doc 4");
		lose(&f->store, "doc 2");
		for (size_t window = 1; window < 10; window += 4) {
			sum = audit(&f->store, ctx, window, REMOVE);
			assert_int_equal(sum.missing, 2);
			assert_int_equal(sum.orphans, 0);
			assert_int_equal(sum.listed, 6);
			assert_int_equal(sum.rows, 8);
			assert_int_equal(sum.one_lost.objects.count, 2);
			assert_string_equal(sum.one_lost.objects.items[1], "acme/docs/twin");
		}
		assert_int_equal(count_marked(f), 0);
		sum = audit(&f->store, ctx, 100, MARK);
		assert_int_equal(sum.missing, 2);
		assert_int_equal(sum.healed, 1);
		assert_int_equal(count_marked(f), 1);
		must_get(&f->store, "doc 2", "doc 2");
		assert_int_equal(audit(&f->store, ctx, 100, REPORT).missing, 1);
		fixture_free(f);
	}
}

static void what_is_being_written_or_removed_is_neither(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		static const char *const halves[] = {"writing", "deleting"};
		struct fixture *f = damage_fixture(kinds[i]);
		SCRATCH_CTX(ctx);
		struct audited sum;
		char sql[200];

		put_many(&f->store, 4);
		for (size_t h = 0; h < ARRAY_SIZE(halves); h++) {
			/* With bytes, and without. */
			snprintf(sql, sizeof(sql), "UPDATE objects.chunk SET state = '%s' WHERE id = %zu", halves[h],
			         h + 1);
			fixture_sql(f, sql);
			snprintf(sql, sizeof(sql),
			         "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, state)"
			         " SELECT store, sha256, size, stored_size, codec, backend, '%s'"
			         " FROM objects.chunk WHERE id = 3",
			         halves[h]);
			fixture_sql(f, sql);
		}
		sum = audit(&f->store, ctx, 100, REMOVE | MARK);
		assert_int_equal(sum.rows, 6);
		assert_int_equal(sum.listed, 4);
		assert_int_equal(sum.orphans + sum.missing, 0);
		fixture_free(f);
	}
}

/* Rows were lost, and their numbers given out again. */
static void a_number_that_has_a_row_keeps_its_bytes_whatever_their_name(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_LOCALFS);
	SCRATCH_CTX(ctx);
	struct audited sum;

	(void)state;
	put_many(&f->store, 3);
	stray(&f->store, 2, "of another life");
	sum = audit(&f->store, ctx, 100, REMOVE | MARK);
	assert_int_equal(sum.orphans, 1);
	assert_int_equal(sum.taken, 1);
	assert_int_equal(sum.removed, 0);
	assert_int_equal(sum.missing, 0);
	/* The row's own bytes are looked for by their whole name. */
	lose(&f->store, "doc 1");
	sum = audit(&f->store, ctx, 100, REPORT);
	assert_int_equal(sum.taken, 1);
	assert_int_equal(sum.missing, 1);
	fixture_free(f);
}

static void two_stores_in_one_place_explain_each_other(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_DB);
	SCRATCH_CTX(ctx);
	struct store archive;
	struct audited sum;

	(void)state;
	fixture_open_store(f, &archive, "analysis_archive", &driver_db, NULL);
	put_many(&f->store, 5);
	put_many(&archive, 3);
	stray(&f->store, 1000, "nobody's");
	sum = audit(&f->store, ctx, 2, REPORT);
	assert_int_equal(sum.rows, 5);
	assert_int_equal(sum.orphans, 1);
	assert_int_equal(sum.missing, 0);
	sum = audit(&archive, ctx, 100, REMOVE | MARK);
	assert_int_equal(sum.rows, 3);
	assert_int_equal(sum.removed, 1);
	must_get(&f->store, "doc 4", "doc 4");
	must_get(&archive, "doc 2", "doc 2");
	/* A row of the one is missing in an audit of the one. */
	lose(&archive, "doc 1");
	assert_int_equal(audit(&f->store, ctx, 100, REPORT).missing, 0);
	assert_int_equal(audit(&archive, ctx, 100, REPORT).missing, 1);
	backends_close(&archive);
	fixture_free(f);
}

static void a_back_end_of_the_past_is_audited_like_the_current_one(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_LOCALFS);
	struct backend *first = f->store.current;
	SCRATCH_CTX(ctx);
	struct audited sum;
	struct store open;

	(void)state;
	put_many(&f->store, 5);
	stray(&f->store, 1000, "stray");
	change_backend(f, &open, &driver_db);
	must_put(&f->store, "new", "new");
	assert_int_equal(audit(&f->store, ctx, 100, REPORT).rows, 1);
	change_back(f, &open, first);
	sum = audit(&f->store, ctx, 100, REPORT);
	assert_int_equal(sum.rows, 5);
	assert_int_equal(sum.orphans, 1);
	fixture_free(f);
}

static void more_than_a_reply_holds_is_on_the_next_page(void **state)
{
	enum { MANY = AUDIT_FOUND_MAX * 2 + 10 };
	struct fixture *f = damage_fixture(BACKEND_MEM);
	SCRATCH_CTX(ctx);
	struct audited sum;

	(void)state;
	for (int64_t n = 1; n <= MANY; n++)
		stray(&f->store, 100 + n, "stray");
	put_many(&f->store, 2);
	sum = audit(&f->store, ctx, AUDIT_WINDOW, REMOVE);
	assert_int_equal(sum.orphans, MANY);
	assert_int_equal(sum.removed, MANY);
	assert_int_equal(sum.listed, MANY + 2);
	assert_int_equal(sum.pages, 3);
	assert_int_equal(audit(&f->store, ctx, AUDIT_WINDOW, REMOVE).listed, 2);
	fixture_free(f);
}

/* ---- back ends on bad days ---- */

static void a_failure_names_the_back_end_and_removes_nothing(void **state)
{
	static const enum fault faults[] = {FAULT_LIST_FAILS, FAULT_REMOVE_BEFORE};
	struct fixture *f = damage_fixture(BACKEND_FAULTY_MEM);
	SCRATCH_CTX(ctx);

	(void)state;
	put_many(&f->store, 3);
	stray(&f->store, 1000, "stray");
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct audited sum;
		struct err e = {0};

		atomic_store(&f->faults.left[faults[i]], 1);
		assert_int_equal(audit_pages(&f->store, ctx, 100, REMOVE, &sum, &e), ERR_UNAVAILABLE);
		assert_non_null(strstr(e.text, "back end faulty"));
		assert_int_equal(audit(&f->store, ctx, 100, REPORT).orphans, 1);
	}
	lose(&f->store, "doc 1");
	atomic_store(&f->faults.left[FAULT_GET_FAILS], 1);
	{
		struct audited sum;
		struct err e = {0};

		assert_int_equal(audit_pages(&f->store, ctx, 100, MARK, &sum, &e), ERR_UNAVAILABLE);
	}
	assert_int_equal(count_marked(f), 0);
	fixture_free(f);
}

/* A server whose list shows for a while what was removed, and lacks what was put. */
static struct location shown_late;

static enum err_code late_list(struct driver_conn *conn, const struct location *after, struct location *into,
                               size_t max, size_t *count, struct err *e)
{
	if (after && after->number >= shown_late.number)
		return driver_mem.list(conn, after, into, 0, count, e);
	into[0] = shown_late;
	*count = 1;
	(void)max;
	return ERR_OK;
}

static void what_only_a_late_list_shows_is_no_orphan(void **state)
{
	struct fixture *f = damage_fixture(BACKEND_MEM);
	struct driver late = driver_mem;
	SCRATCH_CTX(ctx);
	struct audited sum;

	(void)state;
	late.list = late_list;
	late.lists_late = true;
	put_many(&f->store, 3);
	f->store.current->driver = &late;
	/* Number 50 was removed, and the three others are not listed yet. */
	shown_late = (struct location){digest_of("x", 1), 50};
	sum = audit(&f->store, ctx, 100, REMOVE | MARK);
	assert_int_equal(sum.orphans + sum.missing, 0);
	stray(&f->store, 50, "x");
	sum = audit(&f->store, ctx, 100, REPORT);
	assert_int_equal(sum.orphans, 1);
	f->store.current->driver = &driver_mem;
	fixture_free(f);
}

/* ---- in the middle of a look ---- */

/* What others do before the list of the n-th look, and between that list and the rows. */
static struct {
	struct fixture *f;
	int look;
	void (*before)(struct fixture *f, int look), (*after)(struct fixture *f, int look);
} meanwhile;

static enum err_code watched_list(struct driver_conn *conn, const struct location *after, struct location *into,
                                  size_t max, size_t *count, struct err *e)
{
	meanwhile.look += !after;
	if (!after && meanwhile.before)
		meanwhile.before(meanwhile.f, meanwhile.look);
	TRY(driver_mem.list(conn, after, into, max, count, e));
	if (!after && meanwhile.after)
		meanwhile.after(meanwhile.f, meanwhile.look);
	return ERR_OK;
}

static void delete_one(struct fixture *f, int look)
{
	if (look == 1) {
		must_delete(&f->store, "doc 1");
		assert_int_equal(sweep(&f->store), 1);
	}
}

static void put_one(struct fixture *f, int look)
{
	(void)look;
	must_put(&f->store, "new", "new");
}

/* The end of a put that took longer than gc_write_grace: its bytes are there without a row, until it removes them. */
static void end_a_slow_put(struct fixture *f, int look)
{
	struct location at = {digest_of("slow", 4), 50};
	struct err e;

	if (look == 1)
		stray(&f->store, at.number, "slow");
	if (look == 3)
		fixture_must(driver_mem.remove(f->store.current->conn, &at, 1, &e), &e);
}

static void what_happens_in_the_middle_of_a_look_is_not_reported(void **state)
{
	static const struct {
		void (*before)(struct fixture *f, int look), (*after)(struct fixture *f, int look);
		int looks;
	} cases[] = {{NULL, delete_one, 2}, {NULL, put_one, 1}, {end_a_slow_put, NULL, 3}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture *f = damage_fixture(BACKEND_MEM);
		struct driver watched = driver_mem;
		SCRATCH_CTX(ctx);
		struct audited sum;

		put_many(&f->store, 4);
		watched.list = watched_list;
		f->store.current->driver = &watched;
		meanwhile.f = f;
		meanwhile.look = 0;
		meanwhile.before = cases[i].before;
		meanwhile.after = cases[i].after;
		sum = audit(&f->store, ctx, 100, REMOVE | MARK);
		assert_int_equal(meanwhile.look, cases[i].looks);
		assert_int_equal(sum.orphans + sum.missing, 0);
		assert_int_equal(count_marked(f), 0);
		f->store.current->driver = &driver_mem;
		fixture_free(f);
	}
}

/* ---- while everything goes on ---- */

static void what_comes_and_goes_meanwhile_is_never_reported(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fixture *f = damage_fixture(kinds[i]);
		struct crowd crowd;
		int64_t listed = 0;

		put_many(&f->store, 20);
		crowd_start(&crowd, f);
		stop_at_ms = clock_monotonic_ms() + 4000;
		for (size_t window = 20; clock_monotonic_ms() < stop_at_ms; window += 20) {
			SCRATCH_CTX(ctx);
			struct audited sum = audit(&f->store, ctx, window, REMOVE | MARK);

			assert_int_equal(sum.orphans, 0);
			assert_int_equal(sum.missing, 0);
			listed += sum.listed;
		}
		stop_at_ms = INT64_MAX;
		crowd_stop(&crowd);
		assert_true(listed > 20);
		assert_int_equal(count_marked(f), 0);
		must_get(&f->store, "doc 11", "doc 11");
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(where_all_is_well_nothing_is_reported),
	    cmocka_unit_test(bytes_without_a_row_are_found_and_removed_when_asked),
	    cmocka_unit_test(rows_without_bytes_are_found_marked_and_healed_when_asked),
	    cmocka_unit_test(what_is_being_written_or_removed_is_neither),
	    cmocka_unit_test(a_number_that_has_a_row_keeps_its_bytes_whatever_their_name),
	    cmocka_unit_test(two_stores_in_one_place_explain_each_other),
	    cmocka_unit_test(a_back_end_of_the_past_is_audited_like_the_current_one),
	    cmocka_unit_test(more_than_a_reply_holds_is_on_the_next_page),
	    cmocka_unit_test(a_failure_names_the_back_end_and_removes_nothing),
	    cmocka_unit_test(what_only_a_late_list_shows_is_no_orphan),
	    cmocka_unit_test(what_happens_in_the_middle_of_a_look_is_not_reported),
	    cmocka_unit_test(what_comes_and_goes_meanwhile_is_never_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
