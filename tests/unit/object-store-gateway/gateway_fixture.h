/*
 * gateway_fixture: a database with the schema of the gateway, and stores on any driver, without a process around them.
 *
 *     struct fixture *f = fixture_new(BACKEND_FAULTY_MEM);     -- NULL: no database is there, skip
 *     ... f->store ...
 *     fixture_free(f);
 *
 * STOWAGE_TEST_DB names the database, which belongs to the test: what was in its schema `objects` is dropped.
 */
#ifndef TESTS_UNIT_GATEWAY_FIXTURE_H
#define TESTS_UNIT_GATEWAY_FIXTURE_H

#include "common/clock.h"
#include "services/object-store-gateway/backend.h"
#include "services/object-store-gateway/drivers/faulty.h"
#include "services/object-store-gateway/migrations.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum fixture_kind {
	BACKEND_MEM,
	BACKEND_DB,
	BACKEND_LOCALFS,
	BACKEND_FAULTY_MEM,
	BACKEND_FAULTY_DB,      /* in steps */
	BACKEND_FAULTY_LOCALFS, /* in steps */
	BACKEND_FAULTY_WITHIN,  /* db, within the transaction */
	BACKENDS
};

static const struct {
	const char *name;
	const struct driver *inner, *outer; /* outer NULL: as it is */
} fixture_backends[] = {
    [BACKEND_MEM] = {"mem", &driver_mem, NULL},
    [BACKEND_DB] = {"db", &driver_db, NULL},
    [BACKEND_LOCALFS] = {"localfs", &driver_localfs, NULL},
    [BACKEND_FAULTY_MEM] = {"faulty mem", &driver_mem, &driver_faulty},
    [BACKEND_FAULTY_DB] = {"faulty db", &driver_db, &driver_faulty},
    [BACKEND_FAULTY_LOCALFS] = {"faulty localfs", &driver_localfs, &driver_faulty},
    [BACKEND_FAULTY_WITHIN] = {"faulty db within", &driver_db, &driver_faulty_within},
};

#define EACH_READ 2 /* gets: what seems to be damaged is read once more */

struct fixture {
	struct db_pool *pool;
	struct faults faults;
	struct store store, archive; /* the archive is in memory, whatever the store is */
	char dir[64];                /* of localfs */
};

static inline void fixture_must(enum err_code code, const struct err *e)
{
	if (code == ERR_OK)
		return;
	fprintf(stderr, "fixture: %s: %s\n", err_name(code), e->text);
	abort();
}

/* A configuration tree comes from a file only. */
static inline const struct config_node *fixture_driver_config(struct fixture *f, const struct driver *d)
{
	static const struct config_option options[] = {
	    {.path = "config", .type = CONFIG_TREE},
	    CONFIG_END,
	};
	const struct config_node *node = NULL;
	const char *path;
	struct err e;
	FILE *file;

	if (d != &driver_localfs)
		return NULL;
	path = talloc_asprintf(f, "%s/c.yaml", f->dir);
	file = fopen(path, "w");
	ASSERT(file && fprintf(file, "config: {archive_data_dir: \"%s/data\"}\n", f->dir) > 0);
	ASSERT(fclose(file) == 0);
	fixture_must(config_load(f, &path, 1, options, &node, &e), &e);
	return node;
}

static inline void fixture_open_store(struct fixture *f, struct store *s, const char *name, const struct driver *inner,
                                      const struct driver *outer)
{
	struct driver_setup setup = {name, fixture_driver_config(f, inner), f->pool};
	struct driver_conn *conn;
	struct err e;

	*s = (struct store){
	    .name = name,
	    .compress = true,
	    .compress_min = KIB,
	    .level = 3,
	    .db = f->pool,
	    .grace_ms = 3600000,
	    .write_grace_ms = 3600000,
	};
	fixture_must(inner->open(f, &setup, &conn, &e), &e);
	if (outer)
		conn = faulty_wrap(f, inner, conn, &f->faults);
	fixture_must(backends_adopt(s, outer ? outer : inner, conn, setup.config, &e), &e);
}

static inline void fixture_sql(struct fixture *f, const char *sql)
{
	struct db *db = NULL;
	struct err e;

	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_query(db, NULL, NULL, &e, sql), &e);
	db_release(db);
}

/* The number that a statement answers. */
static inline int64_t fixture_number(struct fixture *f, const char *sql)
{
	SCRATCH_CTX(ctx);
	struct db *db = NULL;
	struct db_rows *rows;
	int64_t number;
	struct err e;

	fixture_must(db_acquire(f->pool, 10000, &db, &e), &e);
	fixture_must(db_query(db, ctx, &rows, &e, sql), &e);
	number = db_count(rows) ? db_number(rows, 0, 0) : -1;
	db_release(db);
	return number;
}

static inline struct fixture *fixture_new(enum fixture_kind backend)
{
	const char *url = getenv("STOWAGE_TEST_DB");
	struct fixture *f;
	struct err e;

	if (!url)
		return NULL;
	f = talloc_zero(NULL, struct fixture);
	ASSERT(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/stowage-gateway-test-XXXXXX");
	ASSERT(mkdtemp(f->dir));
	f->pool = db_pool_new(f, &(struct db_options){.url = url, .connections = 24, .statement_ms = 60000});
	fixture_sql(f, "DROP SCHEMA IF EXISTS objects CASCADE");
	fixture_must(db_migrate(f->pool, "objects", gateway_migrations, gateway_migration_count, &e), &e);
	fixture_open_store(f, &f->store, "object_store", fixture_backends[backend].inner,
	                   fixture_backends[backend].outer);
	fixture_open_store(f, &f->archive, "analysis_archive", &driver_mem, NULL);
	return f;
}

static inline int fixture_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static inline void fixture_free(struct fixture *f)
{
	ASSERT(f);
	backends_close(&f->store);
	backends_close(&f->archive);
	nftw(f->dir, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	talloc_free(f);
}

/* Bytes that do not compress, and are others for each seed. */
static inline void fixture_noise(void *into, size_t len, uint64_t seed)
{
	uint8_t *at = into;
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at[i] = (uint8_t)(x >> 32);
	}
}

/* How many chunks the back end of the store holds, and whether each has a row of that number. */
static inline size_t fixture_held(struct fixture *f, bool *all_have_rows)
{
	struct location at[64], last = {0};
	size_t total = 0, count;
	char sql[128];
	struct err e;

	*all_have_rows = true;
	for (;;) {
		fixture_must(f->store.current->driver->list(f->store.current->conn, total ? &last : NULL, at,
		                                            ARRAY_SIZE(at), &count, &e),
		             &e);
		if (!count)
			return total;
		for (size_t i = 0; i < count; i++) {
			snprintf(sql, sizeof(sql),
			         "SELECT count(*) FROM objects.chunk WHERE store = 'object_store' AND id = %lld",
			         (long long)at[i].number);
			*all_have_rows &= fixture_number(f, sql) == 1;
		}
		total += count;
		last = at[count - 1];
	}
}

#endif
