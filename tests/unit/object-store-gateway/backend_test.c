#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/chunk_support.h"

#include <errno.h>
#include <pthread.h>

static const char secret[] = "the secret of these tests", other_secret[] = "the secret of another installation";

/* ---- a store that starts again with another configuration ---- */

static const struct config_node *config_of(struct fixture *f, const char *dir)
{
	const char *text = talloc_asprintf(f, "{\"archive_data_dir\": \"%s/%s\"}", f->dir, dir);
	const struct config_node *node;
	struct err e;

	fixture_must(config_from_text(f, "test", text, &node, &e), &e);
	return node;
}

static enum err_code start(struct fixture *f, struct store *s, const char *cluster_secret, const struct driver *driver,
                           const struct config_node *config, struct err *e)
{
	struct vault *vault;

	fixture_must(vault_new(f, BACKEND_VAULT_PURPOSE, &(struct rpc_secret){.current = cluster_secret}, &vault, e),
	             e);
	*s = (struct store){.name = "object_store",
	                    .compress = true,
	                    .compress_min = KIB,
	                    .level = 3,
	                    .db = f->pool,
	                    .vault = vault,
	                    .grace_ms = 3600000,
	                    .write_grace_ms = 3600000};
	return backends_open(s, driver, config, e);
}

static void must_start(struct fixture *f, const char *cluster_secret, const struct driver *driver, const char *dir)
{
	struct err e = {0};

	backends_close(&f->store);
	fixture_must(start(f, &f->store, cluster_secret, driver, dir ? config_of(f, dir) : NULL, &e), &e);
}

static struct fixture *fresh(void)
{
	struct fixture *f = fixture_new(BACKEND_DB);

	if (!f)
		skip();
	return f;
}

/* ---- tests ---- */

static void what_was_stored_stays_readable_when_the_driver_changes(void **state)
{
	struct fixture *f = fresh();
	int64_t removed;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "in one", 6);
	must_start(f, secret, &driver_localfs, "two");
	must_put(f, "in two", 6);
	must_start(f, secret, &driver_db, NULL);
	must_put(f, "in the database", 15);
	must_get(f, "in one", 6);
	must_get(f, "in two", 6);
	must_get(f, "in the database", 15);
	assert_int_equal(fixture_number(f, "SELECT count(DISTINCT backend) FROM objects.chunk"), 3);
	/* What is known is not written again, wherever it is. */
	must_put(f, "in one", 6);
	assert_int_equal(rows_in(f, "live"), 3);
	/* And the sweep finds each where it is. */
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 3);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	fixture_free(f);
}

static void the_same_place_is_the_same_back_end_at_every_start(void **state)
{
	struct fixture *f = fresh();
	int64_t id;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	id = f->store.current->id;
	assert_string_equal(f->store.current->name, "localfs");
	must_start(f, secret, &driver_localfs, "./one/../one/");
	assert_int_equal(f->store.current->id, id);
	must_start(f, secret, &driver_localfs, "two");
	assert_int_not_equal(f->store.current->id, id);
	assert_string_equal(f->store.current->name, "localfs-2");
	must_start(f, secret, &driver_localfs, "three");
	assert_string_equal(f->store.current->name, "localfs-3");
	must_start(f, secret, &driver_localfs, "one");
	assert_int_equal(f->store.current->id, id);
	fixture_free(f);
}

static void rows_of_a_version_without_identities_are_taken_over(void **state)
{
	struct fixture *f = fresh();

	(void)state;
	fixture_sql(f, "INSERT INTO objects.backend (id, store, name, driver, identity)"
	               " VALUES (1000, 'object_store', 'localfs', 'localfs', '')");
	must_start(f, secret, &driver_localfs, "one");
	assert_int_equal(f->store.current->id, 1000);
	must_start(f, secret, &driver_localfs, "two");
	assert_int_not_equal(f->store.current->id, 1000);
	fixture_free(f);
}

static void back_ends_are_found_by_their_names(void **state)
{
	struct fixture *f = fresh();
	struct backend *b;
	struct err e = {0};

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_start(f, secret, &driver_db, NULL);
	assert_int_equal(backend_by_name(&f->store, "localfs", &b, &e), ERR_OK);
	assert_ptr_equal(b->driver, &driver_localfs);
	assert_int_equal(backend_by_name(&f->store, "tape", &b, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "tape"));
	assert_non_null(strstr(e.text, "localfs"));
	assert_int_equal(backend_by_id(&f->store, 424242, &b, &e), ERR_UNAVAILABLE);
	fixture_free(f);
}

/* Nothing is lost while a back end is away: its chunks wait, and what is elsewhere goes on. */
static void a_back_end_that_is_away_holds_up_only_its_own(void **state)
{
	struct fixture *f = fresh();
	const char *dir = talloc_asprintf(f, "%s/one", f->dir), *away = talloc_asprintf(f, "%s/away", f->dir);
	struct err e = {0};
	int64_t removed;
	FILE *in_the_way;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "in one", 6);
	must_start(f, secret, &driver_db, NULL);
	must_put(f, "here", 4);
	assert_int_equal(rename(dir, away), 0);
	in_the_way = fopen(dir, "w");
	assert_non_null(in_the_way);
	assert_int_equal(fclose(in_the_way), 0);
	assert_int_equal(get(f, "in one", 6, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "localfs"));
	assert_non_null(strstr(e.text, dir));
	must_get(f, "here", 4);
	assert_int_equal(sweep(f, &removed), ERR_UNAVAILABLE);
	assert_int_equal(removed, 1);
	assert_int_equal(rows_in(f, "deleting"), 1);
	/* It is back, and asked again after a while: at once by a new process. */
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(rename(away, dir), 0);
	must_start(f, secret, &driver_db, NULL);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 1);
	fixture_free(f);
}

/* A disk that is not mounted. */
static void a_place_that_has_chunks_is_not_made_anew(void **state)
{
	struct fixture *f = fresh();
	const char *dir = talloc_asprintf(f, "%s/one", f->dir), *away = talloc_asprintf(f, "%s/away", f->dir);
	struct err e = {0};

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	backends_close(&f->store);
	assert_int_equal(rename(dir, away), 0);
	/* Nothing is in it yet. */
	assert_int_equal(start(f, &f->store, secret, &driver_localfs, config_of(f, "one"), &e), ERR_OK);
	must_put(f, "in one", 6);
	backends_close(&f->store);
	assert_int_equal(nftw(away, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(rename(dir, away), 0);
	assert_int_equal(start(f, &f->store, secret, &driver_localfs, config_of(f, "one"), &e), ERR_PRECONDITION);
	assert_non_null(strstr(e.text, dir));
	assert_int_not_equal(access(dir, F_OK), 0);
	assert_int_equal(start(f, &f->store, secret, &driver_db, NULL, &e), ERR_OK);
	assert_int_equal(get(f, "in one", 6, &e), ERR_UNAVAILABLE);
	assert_int_not_equal(access(dir, F_OK), 0);
	assert_int_equal(rename(away, dir), 0);
	must_start(f, secret, &driver_localfs, "one");
	must_get(f, "in one", 6);
	fixture_free(f);
}

static void a_directory_that_goes_while_it_is_in_use_is_no_damage(void **state)
{
	struct fixture *f = fresh();
	const char *dir = talloc_asprintf(f, "%s/one", f->dir);
	struct err e = {0};
	size_t stored;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "in one", 6);
	assert_int_equal(nftw(dir, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(get(f, "in one", 6, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, dir));
	assert_int_equal(put(f, "more", 4, &stored), ERR_UNAVAILABLE);
	fixture_free(f);
}

struct seeker {
	struct fixture *f;
	int64_t id;
	enum err_code code;
};

static void *seek(void *arg)
{
	struct seeker *s = arg;
	struct backend *b;
	struct err e;

	s->code = backend_by_id(&s->f->store, s->id, &b, &e);
	return NULL;
}

/* A back end that takes minutes to say nothing must not hold up all threads. Here it is the lock: what is remembered
 * of it cannot be read. */
static void only_who_opens_a_back_end_waits_for_it(void **state)
{
	struct fixture *f = fresh();
	struct seeker first = {.f = f}, second = {.f = f};
	struct timespec soon;
	pthread_t threads[2];
	struct err e = {0};
	struct db *db;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	first.id = second.id = f->store.current->id;
	must_start(f, secret, &driver_db, NULL);
	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_begin(db, &e), &e);
	fixture_must(db_query(db, NULL, NULL, &e, "LOCK TABLE objects.backend"), &e);
	assert_int_equal(pthread_create(&threads[0], NULL, seek, &first), 0);
	usleep(200000);
	assert_int_equal(pthread_create(&threads[1], NULL, seek, &second), 0);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec += 3 + BACKEND_WAIT_MS / 1000;
	assert_int_equal(pthread_timedjoin_np(threads[1], NULL, &soon), 0);
	assert_int_equal(second.code, ERR_UNAVAILABLE);
	assert_int_equal(pthread_tryjoin_np(threads[0], NULL), EBUSY);
	db_release(db);
	assert_int_equal(pthread_join(threads[0], NULL), 0);
	assert_int_equal(first.code, ERR_OK);
	seek(&second);
	assert_int_equal(second.code, ERR_OK);
	fixture_free(f);
}

static void a_configuration_opens_with_the_secret_that_it_was_kept_with(void **state)
{
	struct fixture *f = fresh();
	struct err e = {0};

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "in one", 6);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.backend"
	                                   " WHERE position('archive_data_dir' IN encode(config, 'escape')) > 0"),
	                 0);
	must_start(f, other_secret, &driver_db, NULL);
	assert_int_equal(get(f, "in one", 6, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "another cluster secret"));
	/* A row that was copied to another place does not open there. */
	must_start(f, secret, &driver_db, NULL);
	fixture_sql(f, "UPDATE objects.backend SET identity = '/elsewhere' WHERE driver = 'localfs'");
	assert_int_equal(get(f, "in one", 6, &e), ERR_UNAVAILABLE);
	fixture_free(f);
}

/* A cluster secret is rotated in three steps: the new one is accepted, is used, is the only one. */
static void a_configuration_outlives_the_secret_that_sealed_it(void **state)
{
	const struct rpc_secret both = {.current = other_secret, .previous = secret};
	struct fixture *f = fresh();
	struct vault *vault;
	struct err e = {0};

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "in one", 6);
	must_start(f, secret, &driver_db, NULL);
	fixture_must(vault_new(f, BACKEND_VAULT_PURPOSE, &both, &vault, &e), &e);
	f->store.vault = vault;
	fixture_must(backends_renew(&f->store, &e), &e);
	fixture_must(backends_renew(&f->store, &e), &e);
	must_start(f, other_secret, &driver_db, NULL);
	fixture_must(get(f, "in one", 6, &e), &e);
	fixture_must(backends_renew(&f->store, &e), &e);
	/* What cannot be opened stays for the secret that can. */
	must_start(f, secret, &driver_db, NULL);
	fixture_must(backends_renew(&f->store, &e), &e);
	must_start(f, other_secret, &driver_db, NULL);
	fixture_must(get(f, "in one", 6, &e), &e);
	fixture_free(f);
}

/* ---- one chunk in the place of another ---- */

static struct chunk must_find(struct fixture *f, TALLOC_CTX *ctx, const void *bytes, size_t len)
{
	struct chunk chunk;

	assert_true(find(f, ctx, bytes, len, &chunk));
	return chunk;
}

static void a_rewritten_chunk_is_named_by_the_same_objects(void **state)
{
	SCRATCH_CTX(ctx);
	struct fixture *f = fresh();
	struct chunk old, fresh_one;
	struct backend *to;
	struct err e = {0};
	int64_t removed;
	bool done;

	(void)state;
	must_start(f, secret, &driver_localfs, "one");
	must_put(f, "moved", 5);
	old = must_find(f, ctx, "moved", 5);
	fixture_sql(f, "INSERT INTO objects.object (id, store, account, bucket, key, size, sha256)"
	               " SELECT 1, 'object_store', 'a', 'b', 'k', 5, sha256 FROM objects.chunk");
	fixture_sql(f, "INSERT INTO objects.object_chunk SELECT 1, 0, id FROM objects.chunk");
	must_start(f, secret, &driver_db, NULL);
	assert_int_equal(backend_by_name(&f->store, "db", &to, &e), ERR_OK);
	assert_int_equal(chunk_rewrite(&f->store, &old, "moved", to, CHUNK_SPARE, &done, &e), ERR_OK);
	assert_true(done);
	fresh_one = must_find(f, ctx, "moved", 5);
	assert_int_equal(fresh_one.backend, to->id);
	assert_int_equal(fixture_number(f, "SELECT chunk FROM objects.object_chunk"), fresh_one.id);
	must_get(f, "moved", 5);
	/* The spare copy stays as long as the content does. */
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 0);
	assert_int_equal(rows_in(f, "spare"), 1);
	fixture_sql(f, "DELETE FROM objects.object");
	fixture_sql(f, "UPDATE objects.chunk SET suspect = true WHERE state = 'live'");
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(removed, 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	/* What is gone is not brought back. */
	assert_int_equal(chunk_rewrite(&f->store, &old, "moved", to, CHUNK_DELETING, &done, &e), ERR_OK);
	assert_false(done);
	assert_int_equal(rows_in(f, "live"), 0);
	assert_int_equal(sweep(f, &removed), ERR_OK);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk"), 0);
	fixture_free(f);
}

static void a_copy_that_does_not_come_back_right_replaces_nothing(void **state)
{
	static const enum fault faults[] = {FAULT_GET_FLIPS, FAULT_GET_SHORT,  FAULT_GET_NOTHING,
	                                    FAULT_GET_FAILS, FAULT_PUT_BEFORE, FAULT_PUT_AFTER};
	struct fixture *f = fixture_new(BACKEND_FAULTY_MEM);

	(void)state;
	if (!f)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		SCRATCH_CTX(ctx);
		struct err e = {0};
		struct chunk old;
		bool done;

		must_put(f, "precious", 8);
		old = must_find(f, ctx, "precious", 8);
		spoil(f, faults[i], 1);
		assert_int_not_equal(
		    chunk_rewrite(&f->store, &old, "precious", f->store.current, CHUNK_DELETING, &done, &e), ERR_OK);
		assert_true(e.text[0]);
		assert_false(done);
		assert_int_equal(must_find(f, ctx, "precious", 8).id, old.id);
		must_get(f, "precious", 8);
	}
	fixture_free(f);
}

static void a_put_replaces_a_damaged_chunk(void **state)
{
	static const enum fixture_kind kinds[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_WITHIN, BACKEND_FAULTY_LOCALFS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		SCRATCH_CTX(ctx);
		struct fixture *f = fixture_new(kinds[i]);
		struct digest d = digest_of("precious", 8), missing;
		struct chunk chunk;
		struct err e = {0};
		int64_t removed;
		size_t count;

		if (!f)
			skip();
		must_put(f, "precious", 8);
		chunk = must_find(f, ctx, "precious", 8);
		spoil(f, FAULT_GET_FLIPS, EACH_READ);
		assert_int_equal(get(f, "precious", 8, &e), ERR_CORRUPT);
		chunk_note_damage(&f->store, &chunk, &e);
		/* Whoever has the content is asked for it. */
		assert_int_equal(chunk_need(&f->store, &d, 1, &missing, &count, &e), ERR_OK);
		assert_int_equal(count, 1);
		must_put(f, "precious", 8);
		assert_int_not_equal(must_find(f, ctx, "precious", 8).id, chunk.id);
		must_get(f, "precious", 8);
		assert_int_equal(chunk_need(&f->store, &d, 1, &missing, &count, &e), ERR_OK);
		assert_int_equal(count, 0);
		assert_int_equal(sweep(f, &removed), ERR_OK);
		assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE damaged"), 0);
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_stored_stays_readable_when_the_driver_changes),
	    cmocka_unit_test(the_same_place_is_the_same_back_end_at_every_start),
	    cmocka_unit_test(rows_of_a_version_without_identities_are_taken_over),
	    cmocka_unit_test(back_ends_are_found_by_their_names),
	    cmocka_unit_test(a_back_end_that_is_away_holds_up_only_its_own),
	    cmocka_unit_test(a_place_that_has_chunks_is_not_made_anew),
	    cmocka_unit_test(a_directory_that_goes_while_it_is_in_use_is_no_damage),
	    cmocka_unit_test(only_who_opens_a_back_end_waits_for_it),
	    cmocka_unit_test(a_configuration_opens_with_the_secret_that_it_was_kept_with),
	    cmocka_unit_test(a_configuration_outlives_the_secret_that_sealed_it),
	    cmocka_unit_test(a_rewritten_chunk_is_named_by_the_same_objects),
	    cmocka_unit_test(a_copy_that_does_not_come_back_right_replaces_nothing),
	    cmocka_unit_test(a_put_replaces_a_damaged_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
