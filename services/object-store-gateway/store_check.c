#include "common/clock.h"
#include "common/json.h"
#include "services/object-store-gateway/gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PROBE_BYTES 4096

/* What was found out about one store. */
struct finding {
	const char *driver, *identity;
	struct err why;
	int64_t took_ms;
};

/* A location that no chunk ever has: their numbers count from 1, and do not get this far. */
static struct location probe_location(const void *bytes, size_t len)
{
	uint64_t number;

	random_bytes(&number, sizeof(number));
	return (struct location){digest_of(bytes, len), (int64_t)(number >> 2 | UINT64_C(1) << 62)};
}

static enum err_code come_back(const struct driver *d, struct driver_conn *conn, const struct location *at,
                               const char *bytes, struct err *e)
{
	char back[PROBE_BYTES];
	size_t got = 0;

	if (d->get(conn, at, back, sizeof(back), &got, e) != ERR_OK)
		return err_wrap(e, "reading back what was just written");
	if (got != PROBE_BYTES || memcmp(back, bytes, got) != 0)
		return ERR(e, ERR_CORRUPT, "it gave back other bytes than were written");
	return ERR_OK;
}

static enum err_code try_chunk(const struct driver *d, struct driver_conn *conn, struct err *e)
{
	char bytes[PROBE_BYTES];
	struct location at;
	enum err_code code, removed;
	struct err ignored;

	random_bytes(bytes, sizeof(bytes));
	at = probe_location(bytes, sizeof(bytes));
	code = d->put(conn, &at, bytes, sizeof(bytes), e);
	if (code == ERR_OK)
		code = come_back(d, conn, &at, bytes, e);
	/* A put that failed may have got there all the same. */
	removed = d->remove(conn, &at, 1, code == ERR_OK ? e : &ignored);
	return code == ERR_OK ? removed : code;
}

/* Its tables may not be made yet: it is asked whether they can be made, or written to. */
static enum err_code try_database(struct db_pool *pool, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_acquire(pool, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT current_setting('transaction_read_only')::boolean,"
	             " CASE WHEN NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'objects')"
	             "     THEN has_database_privilege(current_database(), 'CREATE')"
	             "   WHEN NOT has_schema_privilege('objects', 'USAGE') THEN false"
	             "   WHEN to_regclass('objects.chunk_data') IS NULL THEN has_schema_privilege('objects', 'CREATE')"
	             "   ELSE has_table_privilege('objects.chunk_data', 'SELECT') AND"
	             "     has_table_privilege('objects.chunk_data', 'INSERT') END,"
	             " current_user::text, current_database()::text"));
	if (db_flag(rows, 0, 0))
		return ERR(e, ERR_FORBIDDEN, "database %s can only be read", db_text(rows, 0, 3));
	if (!db_flag(rows, 0, 1))
		return ERR(e, ERR_FORBIDDEN, "user %s may not keep chunks in database %s", db_text(rows, 0, 2),
		           db_text(rows, 0, 3));
	return ERR_OK;
}

static enum err_code try_driver(TALLOC_CTX *ctx, const struct driver_setup *setup, const struct driver *d,
                                struct finding *f)
{
	struct driver_conn *conn;
	enum err_code code;

	TRY(d->open(ctx, setup, &conn, &f->why));
	f->identity = talloc_strdup(ctx, d->identity(conn));
	code = d->put_within ? try_database(setup->db, &f->why) : try_chunk(d, conn, &f->why);
	d->close(conn);
	return code;
}

static enum err_code try_store(TALLOC_CTX *ctx, const char *name, const struct config_node *section, struct db_pool *db,
                               struct finding *f)
{
	int64_t began = clock_monotonic_ms();
	struct driver_setup setup = {.store = name, .db = db};
	const struct driver *driver;
	enum err_code code;

	TRY(store_driver(ctx, name, section, &driver, &setup.config, &f->why));
	f->driver = driver->name;
	code = try_driver(ctx, &setup, driver, f);
	f->took_ms = clock_monotonic_ms() - began;
	return code;
}

static void add_finding(cJSON *items, const char *store, enum err_code code, const struct finding *f)
{
	cJSON *item = cJSON_CreateObject();

	ASSERT(item && cJSON_AddItemToArray(items, item));
	ASSERT(cJSON_AddStringToObject(item, "store", store));
	ASSERT(cJSON_AddStringToObject(item, "driver", f->driver ? f->driver : "") &&
	       cJSON_AddStringToObject(item, "identity", f->identity ? f->identity : ""));
	ASSERT(cJSON_AddBoolToObject(item, "works", code == ERR_OK) &&
	       cJSON_AddNumberToObject(item, "milliseconds", (double)f->took_ms));
	if (code != ERR_OK)
		ASSERT(cJSON_AddStringToObject(item, "code", err_name(code)) &&
		       cJSON_AddStringToObject(item, "error", f->why.text));
}

static int print_line(const cJSON *document)
{
	char *text = cJSON_PrintUnformatted(document);
	bool done;

	ASSERT(text);
	done = printf("%s\n", text) > 0 && fflush(stdout) == 0;
	cJSON_free(text);
	return done ? 0 : 1;
}

int gateway_check(const void *config, struct db_pool *db)
{
	CLEANUP(json_cleanup) cJSON *document = cJSON_CreateObject();
	const struct settings *settings = config;
	const struct {
		const char *name;
		const struct config_node *section;
	} stores[STORES] = {
	    {"object_store", settings->object_store},
	    {"analysis_archive", archive_section(settings)},
	};
	cJSON *items = document ? cJSON_AddArrayToObject(document, "items") : NULL;
	int status = 0;

	ASSERT(items);
	for (size_t i = 0; i < STORES; i++) {
		SCRATCH_CTX(ctx);
		struct finding finding = {0};
		enum err_code code = try_store(ctx, stores[i].name, stores[i].section, db, &finding);

		add_finding(items, stores[i].name, code, &finding);
		status |= code != ERR_OK;
	}
	return print_line(document) | status;
}
