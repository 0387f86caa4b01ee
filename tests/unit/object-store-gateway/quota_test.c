#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/object.h"
#include "services/object-store-gateway/quota.h"
#include "tests/unit/object-store-gateway/gateway_fixture.h"

#include <pthread.h>

static struct fixture *fresh(void)
{
	struct fixture *f = fixture_new(BACKEND_DB);

	if (!f)
		skip();
	return f;
}

static enum err_code put(struct fixture *f, const char *account, const char *key, const char *text, struct err *e)
{
	struct object_path path = {account, "b", key};
	struct object_content content = {.size = (int64_t)strlen(text), .sha256 = digest_of(text, strlen(text))};
	size_t stored;
	bool replaced;

	return object_put(&f->store, &path, &content, text, &replaced, &stored, e);
}

static void must_put(struct fixture *f, const char *account, const char *key, const char *text)
{
	struct err e = {0};

	if (put(f, account, key, text, &e) != ERR_OK)
		fail_msg("put: %s", e.text);
}

static struct quota_item used(struct fixture *f, TALLOC_CTX *ctx, const char *account)
{
	struct quota_list_reply reply = {0};
	struct err e = {0};

	fixture_must(quota_list(f->pool, ctx, "object_store", account, &reply, 10, &e), &e);
	assert_int_equal(reply.items_count, 1);
	return reply.items[0];
}

static void assert_used(struct fixture *f, const char *account, int64_t bytes, int64_t objects)
{
	SCRATCH_CTX(ctx);
	struct quota_item q = used(f, ctx, account);

	assert_int_equal(q.used_bytes, bytes);
	assert_int_equal(q.used_objects, objects);
}

static void set(struct fixture *f, const char *account, int64_t bytes, int64_t objects)
{
	struct err e = {0};

	fixture_must(quota_set(&f->store, account, bytes, objects, &e), &e);
}

static void growth_beyond_a_limit_is_refused_and_names_it(void **state)
{
	struct fixture *f = fresh();
	struct err e = {0};

	(void)state;
	set(f, "a", 10, 2);
	must_put(f, "a", "one", "12345");
	assert_int_equal(put(f, "a", "two", "123456", &e), ERR_EXHAUSTED);
	assert_non_null(strstr(e.text, "account a"));
	assert_non_null(strstr(e.text, "10 bytes"));
	assert_used(f, "a", 5, 1);
	must_put(f, "a", "two", "12345");
	assert_int_equal(put(f, "a", "three", "", &e), ERR_EXHAUSTED);
	assert_non_null(strstr(e.text, "2 objects"));
	assert_used(f, "a", 10, 2);
	/* Others have none, and their own store is another one. */
	must_put(f, "b", "large", "1234567890123");
	fixture_free(f);
}

static void replacing_and_removing_count(void **state)
{
	struct fixture *f = fresh();
	struct object_path path = {"a", "b", "one"}, all = {"a", "b", "k"};
	struct err e = {0};
	int64_t deleted;
	bool existed, more;

	(void)state;
	set(f, "a", 10, 0);
	must_put(f, "a", "one", "1234567890");
	must_put(f, "a", "one", "1234567890"); /* a message that came twice */
	assert_used(f, "a", 10, 1);
	must_put(f, "a", "one", "123");
	assert_used(f, "a", 3, 1);
	assert_int_equal(put(f, "a", "one", "12345678901", &e), ERR_EXHAUSTED);
	assert_used(f, "a", 3, 1);
	must_put(f, "a", "k1", "12");
	must_put(f, "a", "k2", "34");
	assert_used(f, "a", 7, 3);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_used(f, "a", 4, 2);
	assert_int_equal(object_delete_prefix(&f->store, &all, &deleted, &more, &e), ERR_OK);
	assert_used(f, "a", 0, 0);
	fixture_free(f);
}

static void links_count_although_they_store_nothing(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh();
	struct object_path from = {"a", "b", "one"}, to = {"a", "b", "two"};
	struct object linked;
	struct err e = {0};

	(void)state;
	must_put(f, "a", "one", "123456");
	set(f, "a", 12, 0);
	assert_int_equal(object_link(&f->store, ctx, &from, &to, &linked, &e), ERR_OK);
	assert_used(f, "a", 12, 2);
	to.key = "three";
	assert_int_equal(object_link(&f->store, ctx, &from, &to, &linked, &e), ERR_EXHAUSTED);
	assert_used(f, "a", 12, 2);
	fixture_free(f);
}

static void a_limit_below_what_is_there_lets_it_shrink(void **state)
{
	struct fixture *f = fresh();
	struct object_path path = {"a", "b", "one"};
	struct err e = {0};
	bool existed;

	(void)state;
	must_put(f, "a", "one", "1234567890");
	must_put(f, "a", "two", "1234567890");
	set(f, "a", 5, 1);
	assert_used(f, "a", 20, 2);
	must_put(f, "a", "two", "123456789");
	assert_int_equal(put(f, "a", "two", "1234567890", &e), ERR_EXHAUSTED);
	assert_int_equal(object_delete(&f->store, &path, &existed, &e), ERR_OK);
	assert_used(f, "a", 9, 1);
	assert_int_equal(quota_set(&f->store, "a", 0, 0, &e), ERR_INVALID);
	assert_int_equal(quota_remove(&f->store, "a", &existed, &e), ERR_OK);
	assert_true(existed);
	assert_int_equal(quota_remove(&f->store, "a", &existed, &e), ERR_OK);
	assert_false(existed);
	must_put(f, "a", "three", "12345678901234567890");
	fixture_free(f);
}

/* Everybody who writes waits behind who waits for the others to be over. */
static void a_writer_that_does_not_end_is_not_waited_for_long(void **state)
{
	struct fixture *f = fresh();
	struct db *db = NULL;
	struct err e = {0};

	(void)state;
	must_put(f, "a", "one", "12345");
	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_begin(db, &e), &e);
	fixture_must(db_query(db, NULL, NULL, &e, "UPDATE objects.object SET size = size"), &e);
	assert_int_equal(quota_set(&f->store, "a", 10, 0, &e), ERR_DEADLINE);
	assert_non_null(strstr(e.text, "account a"));
	must_put(f, "b", "one", "12345");
	db_release(db);
	set(f, "a", 10, 0);
	assert_used(f, "a", 5, 1);
	fixture_free(f);
}

/* ---- many at once ---- */

struct crowd {
	struct fixture *f;
	int number, made;
};

static void *put_many(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < 20; i++) {
		char key[32];
		struct err e;

		snprintf(key, sizeof(key), "%d-%d", c->number, i);
		c->made += put(c->f, "a", key, key, &e) == ERR_OK;
	}
	return NULL;
}

/* A quota that is set in the middle counts what is there, and no more than its limit gets in. */
static void a_crowd_gets_in_up_to_the_limit_and_no_further(void **state)
{
	enum { MEMBERS = 6 };
	struct fixture *f = fresh();
	struct crowd crowd[MEMBERS];
	pthread_t threads[MEMBERS];
	int made = 0;

	(void)state;
	for (int i = 0; i < MEMBERS; i++) {
		crowd[i] = (struct crowd){f, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, put_many, &crowd[i]), 0);
	}
	set(f, "a", 0, 70);
	for (int i = 0; i < MEMBERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		made += crowd[i].made;
	}
	assert_true(made >= 70);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.object"), made);
	assert_int_equal(fixture_number(f, "SELECT used_objects FROM objects.quota"), made);
	assert_int_equal(
	    fixture_number(f, "SELECT used_bytes - (SELECT sum(size) FROM objects.object) FROM objects.quota"), 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(growth_beyond_a_limit_is_refused_and_names_it),
	    cmocka_unit_test(replacing_and_removing_count),
	    cmocka_unit_test(links_count_although_they_store_nothing),
	    cmocka_unit_test(a_limit_below_what_is_there_lets_it_shrink),
	    cmocka_unit_test(a_writer_that_does_not_end_is_not_waited_for_long),
	    cmocka_unit_test(a_crowd_gets_in_up_to_the_limit_and_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
