#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/object.h"
#include "tests/unit/object-store-gateway/chunk_support.h"

#include <pthread.h>

/* ---- a rewrite that is held up in its middle, and somebody who meets it there ---- */

static struct fixture *fresh(enum fixture_kind kind)
{
	struct fixture *f = fixture_new(kind);

	if (!f)
		skip();
	return f;
}

static void must_put_object(struct fixture *f, const char *key, const char *text)
{
	struct object_content content = {.size = (int64_t)strlen(text), .sha256 = digest_of(text, strlen(text))};
	struct object_path path = {"a", "b", key};
	struct err e = {0};
	size_t stored;
	bool replaced;

	fixture_must(object_put(&f->store, &path, &content, text, &replaced, &stored, &e), &e);
}

struct work {
	struct fixture *f;
	struct chunk old;
	const char *text;
	enum err_code (*meet)(struct fixture *f, const char *text, struct err *e);
	enum err_code code;
	struct err e;
	bool done;
};

static void *rewrite(void *arg)
{
	struct work *w = arg;
	struct store *s = &w->f->store;

	w->code = chunk_rewrite(s, &w->old, w->text, s->current, CHUNK_DELETING, &w->done, &w->e);
	return NULL;
}

static void *meet(void *arg)
{
	struct work *w = arg;

	w->code = w->meet(w->f, w->text, &w->e);
	return NULL;
}

static void await_waiting(struct fixture *f, int64_t count)
{
	int64_t waiting = 0;

	for (int i = 0; i < 1000 && waiting != count; i++) {
		usleep(10000);
		waiting = fixture_number(f, "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted");
	}
	assert_int_equal(waiting, count);
}

/* The rewrite has locked the old row and waits for the rows of object_chunk, which are held here; the other one comes
 * then, and goes on when the rewrite is over. */
static void meet_a_rewrite(struct fixture *f, const char *text,
                           enum err_code (*other)(struct fixture *f, const char *text, struct err *e))
{
	SCRATCH_CTX(ctx);
	struct work rewriting = {.f = f, .text = text}, meeting = {.f = f, .text = text, .meet = other};
	pthread_t threads[2];
	struct db *db = NULL;
	int64_t removed;
	struct err e = {0};

	assert_int_equal(sweep(f, &removed), ERR_OK); /* nothing is suspect any more */
	assert_true(find(f, ctx, text, strlen(text), &rewriting.old));
	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_begin(db, &e), &e);
	fixture_must(db_query(db, NULL, NULL, &e, "SELECT 1 FROM objects.object_chunk FOR UPDATE"), &e);
	assert_int_equal(pthread_create(&threads[0], NULL, rewrite, &rewriting), 0);
	await_waiting(f, 1);
	assert_int_equal(pthread_create(&threads[1], NULL, meet, &meeting), 0);
	await_waiting(f, 2);
	db_release(db);
	assert_int_equal(pthread_join(threads[0], NULL), 0);
	assert_int_equal(pthread_join(threads[1], NULL), 0);
	assert_int_equal(rewriting.code, ERR_OK);
	assert_true(rewriting.done);
	if (meeting.code != ERR_OK)
		fail_msg("%s", meeting.e.text);
}

static enum err_code remove_it(struct fixture *f, const char *text, struct err *e)
{
	bool existed;

	(void)text;
	return object_delete(&f->store, &(struct object_path){"a", "b", "k"}, &existed, e);
}

static enum err_code replace_it(struct fixture *f, const char *text, struct err *e)
{
	(void)text;
	(void)e;
	must_put_object(f, "k", "something else");
	return ERR_OK;
}

static enum err_code name_it_too(struct fixture *f, const char *text, struct err *e)
{
	struct digest d = digest_of(text, strlen(text));
	struct object_content content = {.size = (int64_t)strlen(text), .sha256 = d, .chunks = &d, .chunk_count = 1};
	bool replaced;

	return object_commit(&f->store, &(struct object_path){"a", "b", "too"}, &content, &replaced, e);
}

/* ---- tests ---- */

static void what_is_removed_while_it_is_written_anew_is_swept(void **state)
{
	struct fixture *f = fresh(BACKEND_MEM);
	int64_t removed;

	(void)state;
	must_put_object(f, "k", "content");
	meet_a_rewrite(f, "content", remove_it);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	nothing_half_there(f, 0);
	fixture_free(f);
}

static void what_is_replaced_while_it_is_written_anew_is_swept(void **state)
{
	struct fixture *f = fresh(BACKEND_MEM);
	int64_t removed;

	(void)state;
	must_put_object(f, "k", "content");
	meet_a_rewrite(f, "content", replace_it);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(rows_in(f, "live"), 1);
	must_get(f, "something else", 14);
	nothing_half_there(f, 1);
	fixture_free(f);
}

static void a_chunk_that_is_written_anew_can_be_named_all_the_time(void **state)
{
	struct fixture *f = fresh(BACKEND_MEM);
	int64_t removed;

	(void)state;
	must_put_object(f, "k", "content");
	meet_a_rewrite(f, "content", name_it_too);
	assert_int_equal(fixture_number(f, "SELECT count(DISTINCT chunk) FROM objects.object_chunk"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.object_chunk"), 2);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	must_get(f, "content", 7);
	nothing_half_there(f, 1);
	fixture_free(f);
}

/* A migration that kept its source's copies, and one back. */
static void what_comes_back_takes_the_place_of_its_spare_copy(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh(BACKEND_MEM);
	struct driver_conn *conn;
	struct backend *first;
	struct chunk chunk;
	struct err e = {0};
	int64_t removed;
	bool done;

	(void)state;
	must_put_object(f, "k", "content");
	first = f->store.current;
	fixture_must(driver_db.open(f, &(struct driver_setup){"object_store", NULL, f->pool}, &conn, &e), &e);
	fixture_must(backends_adopt(&f->store, &driver_db, conn, NULL, &e), &e);
	assert_true(find(f, ctx, "content", 7, &chunk));
	fixture_must(chunk_rewrite(&f->store, &chunk, "content", f->store.current, CHUNK_SPARE, &done, &e), &e);
	assert_int_equal(rows_in(f, "spare"), 1);
	assert_true(find(f, ctx, "content", 7, &chunk));
	fixture_must(chunk_rewrite(&f->store, &chunk, "content", first, CHUNK_SPARE, &done, &e), &e);
	assert_int_equal(rows_in(f, "spare"), 1);
	assert_int_equal(rows_in(f, "deleting"), 1);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 1);
	must_get(f, "content", 7);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_removed_while_it_is_written_anew_is_swept),
	    cmocka_unit_test(what_is_replaced_while_it_is_written_anew_is_swept),
	    cmocka_unit_test(a_chunk_that_is_written_anew_can_be_named_all_the_time),
	    cmocka_unit_test(what_comes_back_takes_the_place_of_its_spare_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
