/*
 * fixture: a catalog on the test's database, with objects in memory, and the few steps that most tests begin with.
 *
 *     static void something_holds(void **state)
 *     {
 *             struct fixture *f = *state;
 *             int64_t image = given_image(f, "a");
 *             ...
 *     }
 *     FIXTURE_MAIN(cmocka_unit_test_setup_teardown(something_holds, fixture_setup, fixture_teardown))
 *
 * Every test has empty tables. f->db is one connection; in_tx runs a call between BEGIN and COMMIT on it.
 */
#ifndef TESTS_CATALOG_FIXTURE_H
#define TESTS_CATALOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "proto/document/package_set.h"
#include "services/catalog/admission.h"
#include "services/catalog/catalog.h"
#include "services/catalog/job_lease.h"
#include "services/catalog/layer.h"
#include "services/catalog/migrations.h"
#include "services/catalog/result.h"
#include "services/catalog/set_store.h"
#include "tests/unit/catalog/memory_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REVISION "r1"

struct fixture {
	TALLOC_CTX *ctx;
	struct settings settings;
	struct catalog c;
	struct db_pool *pool;
	struct db *db;
	struct memory_objects *store;
	struct err e;
};

#define assert_ok(call)                                                                                                \
	do {                                                                                                           \
		f->e.text[0] = '\0';                                                                                   \
		if ((call) != ERR_OK) {                                                                                \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, f->e.text);                      \
			fail();                                                                                        \
		}                                                                                                      \
	} while (0)

#define in_tx(call)                                                                                                    \
	do {                                                                                                           \
		assert_ok(db_begin(f->db, &f->e));                                                                     \
		assert_ok(call);                                                                                       \
		assert_ok(db_commit(f->db, &f->e));                                                                    \
	} while (0)

/* The call fails with that code, and nothing of it stays. */
#define in_tx_fails(code, call)                                                                                        \
	do {                                                                                                           \
		assert_ok(db_begin(f->db, &f->e));                                                                     \
		assert_int_equal((call), (code));                                                                      \
		db_rollback(f->db);                                                                                    \
	} while (0)

/* ---- the database ---- */

static inline struct db_pool *fixture_pool(TALLOC_CTX *ctx, size_t connections)
{
	struct db_options options = {.url = getenv("STOWAGE_TEST_DB"),
	                             .application = "catalog test",
	                             .connections = connections,
	                             .statement_ms = 30000};

	return db_pool_new(ctx, &options);
}

static inline void run_sql(struct fixture *f, const char *sql)
{
	assert_ok(db_query(f->db, f->ctx, NULL, &f->e, sql));
}

static inline int64_t number_of(struct fixture *f, const char *sql)
{
	struct db_rows *rows;

	assert_ok(db_query(f->db, f->ctx, &rows, &f->e, sql));
	assert_int_equal(db_count(rows), 1);
	return db_number(rows, 0, 0);
}

static inline const char *text_of(struct fixture *f, const char *sql)
{
	struct db_rows *rows;

	assert_ok(db_query(f->db, f->ctx, &rows, &f->e, sql));
	assert_int_equal(db_count(rows), 1);
	return db_text(rows, 0, 0) ? db_text(rows, 0, 0) : "(null)";
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);

	ASSERT(f);
	f->ctx = f;
	f->settings = (struct settings){.lease_ms = 30000,
	                                .max_deaths = 5,
	                                .max_attempts = 8,
	                                .retry_base_ms = 1,
	                                .retry_cap_ms = 10,
	                                .sweep_lease_ms = 30000,
	                                .upload_expiry_ms = 86400000,
	                                .event_keep = 1000,
	                                .event_age_ms = 86400000,
	                                .job_age_ms = 86400000};
	f->pool = fixture_pool(f, 24);
	f->store = memory_objects_new(f);
	assert_ok(db_migrate(f->pool, CATALOG_SCHEMA, catalog_migrations, catalog_migration_count, &f->e));
	assert_ok(db_acquire(f->pool, 5000, &f->db, &f->e));
	run_sql(f, "TRUNCATE catalog.account, catalog.event, catalog.tag_history, catalog.layer, catalog.package,"
	           " catalog.package_set, catalog.upload, catalog.worker, catalog.audit, catalog.lease CASCADE");
	run_sql(f, "INSERT INTO catalog.account (name) VALUES ('default'), ('other')");
	f->c = (struct catalog){.settings = &f->settings,
	                        .instance = "test",
	                        .db = f->pool,
	                        .hub = hub_new(f, 8, NULL, NULL),
	                        .objects = memory_objects_table(f->store)};
	assert_ok(
	    vault_new(f, VAULT_PURPOSE, &(struct rpc_secret){.current = "a secret of the tests"}, &f->c.vault, &f->e));
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	db_release(f->db);
	talloc_free(f);
	return 0;
}

#define FIXTURE_TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

#define FIXTURE_MAIN(...)                                                                                              \
	int main(void)                                                                                                 \
	{                                                                                                              \
		const struct CMUnitTest tests[] = {__VA_ARGS__};                                                       \
                                                                                                                       \
		if (!getenv("STOWAGE_TEST_DB")) {                                                                      \
			fprintf(stderr,                                                                                \
			        "STOWAGE_TEST_DB is not set: run this under tests/run/with-postgres --fast\n");        \
			return 1;                                                                                      \
		}                                                                                                      \
		return cmocka_run_group_tests(tests, NULL, NULL);                                                      \
	}

/* ---- steps ---- */

static inline struct digest digest_named(const char *name)
{
	return digest_of(name, strlen(name));
}

/* Its text, "sha256:...". */
static inline const char *name_of(struct fixture *f, const char *name)
{
	struct digest digest = digest_named(name);

	return talloc_strdup(f->ctx, digest_text(&digest).text);
}

/* An order for the image of that name, from a registry, without a tag. */
static inline struct order order_of(const char *account, const char *name)
{
	return (struct order){.account = account,
	                      .digest = digest_named(name),
	                      .reference = "registry.example/app:1",
	                      .source = {.source = IMAGE_FROM_REGISTRY, .reference = "registry.example/app:1"}};
}

static inline struct admission given_order(struct fixture *f, const char *account, const char *name)
{
	struct order order = order_of(account, name);
	struct admission admission;

	in_tx(admit(f->db, &order, &admission, &f->e));
	return admission;
}

static inline struct job lease_now(struct fixture *f, const char *worker, const char *request)
{
	struct job job;

	in_tx(job_lease(f->db, f->ctx, &f->settings, worker, request, &job, &f->e));
	return job;
}

/* A request id that no other call of this program has. */
static inline const char *new_request(struct fixture *f)
{
	static unsigned number;

	return talloc_asprintf(f->ctx, "request-%u", ++number);
}

static inline struct job given_lease(struct fixture *f)
{
	struct job job = lease_now(f, "w1", new_request(f));

	assert_int_not_equal(job.id, 0);
	return job;
}

/* A layer that is known, as a worker makes it, with its two objects. */
static inline void given_layer(struct fixture *f, const char *account, const char *name)
{
	struct digest digest = digest_named(name);
	struct layer_commit_request commit = {.revision = REVISION,
	                                      .layer = digest,
	                                      .diff_id = digest_named("content"),
	                                      .size = 10,
	                                      .content_bytes = 20,
	                                      .entries = 3};

	assert_ok(layer_begin(f->db, account, &digest, REVISION, &f->e));
	memory_objects_add(f->store, account, "layers",
	                   talloc_asprintf(f->ctx, "%sfiles", layer_prefix(f->ctx, &digest, REVISION)), "files");
	memory_objects_add(f->store, account, "layers",
	                   talloc_asprintf(f->ctx, "%ssummary", layer_prefix(f->ctx, &digest, REVISION)), "summary");
	assert_ok(layer_commit(f->db, account, &commit, &f->e));
}

/* n packages of that type, in set order. */
static inline struct package *some_packages(struct fixture *f, const char *type, const char *word, size_t n)
{
	struct package *packages = talloc_zero_array(f->ctx, struct package, n + 1);

	for (size_t i = 0; i < n; i++)
		packages[i] = (struct package){.type = type,
		                               .name = talloc_asprintf(f->ctx, "%s-%06zu", word, i),
		                               .version = "1.0",
		                               .purl = talloc_asprintf(f->ctx, "pkg:%s/%s-%06zu@1.0", type, word, i),
		                               .location = "var/lib/db"};
	return packages;
}

/* A set that is complete. */
static inline struct image_set given_set(struct fixture *f, const char *type, const char *word, size_t n)
{
	struct package *packages = some_packages(f, type, word, n);
	struct image_set set = {.type = type, .digest = package_set_digest(packages, n), .packages = (int64_t)n};

	assert_ok(set_store_whole(f->pool, &set, packages, n, &f->e));
	return set;
}

static inline struct layer_item layer_item_named(const char *name)
{
	return (struct layer_item){.digest = digest_named(name),
	                           .diff_id = digest_named("content"),
	                           .size = 10,
	                           .content_bytes = 20,
	                           .entries = 3,
	                           .revision = REVISION};
}

static const char *const fixture_documents[] = {"config", "manifest", "packages"};

static inline struct job_commit_request commit_of(const struct job *job, struct layer_item *layers, size_t layer_count,
                                                  struct image_set *sets, size_t set_count)
{
	return (struct job_commit_request){
	    .job = job->id,
	    .token = job->token,
	    .platform = "linux/amd64",
	    .size = 10,
	    .files = 3,
	    .layers = layers,
	    .layers_count = layer_count,
	    .sets = sets,
	    .sets_count = set_count,
	    .documents = {.items = (const char **)(uintptr_t)fixture_documents, .count = 3}};
}

/* An image that was analysed: one layer of its own, and those packages. Its id. */
static inline int64_t given_analysed(struct fixture *f, const char *account, const char *name, size_t packages)
{
	struct admission admission = given_order(f, account, name);
	struct layer_item layer = layer_item_named(name);
	struct image_set set;
	struct job_commit_request commit;
	struct digest digest = digest_named(name);
	struct job job;

	assert_int_not_equal(admission.job, 0);
	job = given_lease(f);
	assert_int_equal(job.image, admission.image);
	given_layer(f, account, name);
	set = given_set(f, "dpkg", name, packages);
	for (size_t i = 0; i < ARRAY_SIZE(fixture_documents); i++)
		memory_objects_add(f->store, account, "images",
		                   talloc_asprintf(f->ctx, "%s/%s", digest_hex(&digest).text, fixture_documents[i]),
		                   "document");
	commit = commit_of(&job, &layer, 1, &set, 1);
	in_tx(result_commit(f->db, &commit, &f->e));
	return admission.image;
}

static inline struct image image_now(struct fixture *f, int64_t id)
{
	struct image image;

	in_tx(image_lock(f->db, f->ctx, id, &image, &f->e));
	return image;
}

#endif
