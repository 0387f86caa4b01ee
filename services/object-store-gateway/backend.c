#include "services/object-store-gateway/backend.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <string.h>

#define NAMES_MAX 1000

/* One back end that this process has to do with. `backend` is filled when conn is set, and not changed afterwards. */
struct slot {
	struct backend backend;
	pthread_mutex_t opening; /* guards what follows, and conn while it is not set */
	int64_t retry_at_ms;     /* clock_monotonic_ms(); after a failure, not before */
	struct err failure;
	struct slot *next;
};

struct backends {
	pthread_mutex_t mutex; /* guards the list; slots stay */
	struct slot *slots;
};

static const char *vault_context(TALLOC_CTX *ctx, const struct store *s, const char *driver, const char *identity)
{
	return talloc_asprintf(ctx, "backend/%s/%s/%s", s->name, driver, identity);
}

/* Slots are roots of their own: threads must not share a talloc tree. */
static struct slot *slot_new(void)
{
	struct slot *slot = talloc_zero(NULL, struct slot);

	ASSERT(slot && pthread_mutex_init(&slot->opening, NULL) == 0);
	return slot;
}

static void slot_free(struct slot *slot)
{
	if (slot->backend.conn)
		slot->backend.driver->close(slot->backend.conn);
	pthread_mutex_destroy(&slot->opening);
	talloc_free(slot);
}

static void add_slot(struct store *s, struct slot *slot)
{
	slot->next = s->backends->slots;
	s->backends->slots = slot;
}

/* ---- registering ---- */

struct registration {
	const struct store *store;
	const char *driver, *identity;
	const void *sealed; /* configuration; NULL: is not remembered */
	size_t sealed_len;
	int64_t id;
	char name[64];
};

static struct db_param sealed_param(const struct registration *r)
{
	return r->sealed ? DB_BYTES(r->sealed, r->sealed_len) : DB_NULL;
}

static void note_registered(struct registration *r, const struct db_rows *rows)
{
	r->id = db_number(rows, 0, 0);
	snprintf(r->name, sizeof(r->name), "%s", db_text(rows, 0, 1));
}

/* Known already, or (identity empty) left by a version that did not keep identities. */
static enum err_code find_known(struct db *db, TALLOC_CTX *ctx, struct registration *r, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE objects.backend SET identity = $3, config = coalesce($4, config), opened_at = now()"
	             " WHERE id = (SELECT id FROM objects.backend WHERE store = $1 AND driver = $2"
	             "   AND identity IN ($3, '') ORDER BY identity = '' LIMIT 1) RETURNING id, name",
	             DB_TEXT(r->store->name), DB_TEXT(r->driver), DB_TEXT(r->identity), sealed_param(r)));
	if (db_count(rows))
		note_registered(r, rows);
	return ERR_OK;
}

/* The driver's name, with a number where there are several. */
static enum err_code insert_new(struct db *db, TALLOC_CTX *ctx, struct registration *r, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.backend (store, driver, identity, config, name)"
	             " SELECT $1, $2, $3, $4, n.name FROM ("
	             "   SELECT i, CASE i WHEN 1 THEN $2::text ELSE $2::text || '-' || i END AS name"
	             "   FROM generate_series(1, $5::integer) AS i) AS n"
	             " WHERE NOT EXISTS (SELECT 1 FROM objects.backend b WHERE b.store = $1 AND b.name = n.name)"
	             " ORDER BY n.i LIMIT 1 RETURNING id, name",
	             DB_TEXT(r->store->name), DB_TEXT(r->driver), DB_TEXT(r->identity), sealed_param(r),
	             DB_NUMBER(NAMES_MAX)));
	if (!db_count(rows))
		return ERR(e, ERR_EXHAUSTED, "%s knows %d back ends of driver %s already", r->store->name, NAMES_MAX,
		           r->driver);
	note_registered(r, rows);
	return ERR_OK;
}

static enum err_code register_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct registration *r = arg;

	r->id = 0;
	TRY(db_query(db, NULL, NULL, e, "LOCK TABLE objects.backend IN SHARE ROW EXCLUSIVE MODE"));
	TRY(find_known(db, ctx, r, e));
	return r->id ? ERR_OK : insert_new(db, ctx, r, e);
}

static enum err_code enter(struct store *s, const struct driver *driver, struct driver_conn *conn,
                           const struct config_node *config, struct slot *slot, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct registration r = {.store = s, .driver = driver->name, .identity = driver->identity(conn)};

	if (s->vault) {
		void *sealed;
		char *text;

		TRY(config_render(ctx, config, &text, e));
		TRY(vault_seal(s->vault, ctx, vault_context(ctx, s, r.driver, r.identity), text, &sealed, &r.sealed_len,
		               e));
		r.sealed = sealed;
	}
	TRY(db_transaction(s->db, register_body, &r, e));
	slot->backend = (struct backend){
	    .id = r.id,
	    .name = talloc_strdup(slot, r.name),
	    .identity = talloc_strdup(slot, r.identity),
	    .driver = driver,
	    .conn = conn,
	};
	ASSERT(slot->backend.name && slot->backend.identity);
	return ERR_OK;
}

static void backends_init(struct store *s)
{
	s->backends = talloc_zero(NULL, struct backends);
	ASSERT(s->backends && pthread_mutex_init(&s->backends->mutex, NULL) == 0);
}

static enum err_code adopt(struct store *s, struct slot *slot, const struct driver *driver, struct driver_conn *conn,
                           const struct config_node *config, struct err *e)
{
	enum err_code code = enter(s, driver, conn, config, slot, e);

	if (code != ERR_OK) {
		driver->close(conn);
		slot_free(slot);
		return code;
	}
	if (!s->backends)
		backends_init(s);
	add_slot(s, slot);
	s->current = &slot->backend;
	return ERR_OK;
}

enum err_code backends_adopt(struct store *s, const struct driver *driver, struct driver_conn *conn,
                             const struct config_node *config, struct err *e)
{
	return adopt(s, slot_new(), driver, conn, config, e);
}

enum err_code backends_open(struct store *s, const struct driver *driver, const struct config_node *config,
                            struct err *e)
{
	struct slot *slot = slot_new();
	struct driver_conn *conn;

	if (driver->open(slot, &(struct driver_setup){s->name, config, s->db}, &conn, e) != ERR_OK) {
		slot_free(slot);
		return e->code;
	}
	return adopt(s, slot, driver, conn, config, e);
}

void backends_close(struct store *s)
{
	struct slot *next;

	for (struct slot *slot = s->backends->slots; slot; slot = next) {
		next = slot->next;
		slot_free(slot);
	}
	pthread_mutex_destroy(&s->backends->mutex);
	talloc_free(s->backends);
	s->backends = NULL;
	s->current = NULL;
}

/* ---- those of earlier configurations ---- */

static enum err_code fail_as(const struct err *failure, struct err *e)
{
	if (e)
		*e = *failure;
	return failure->code;
}

static struct slot *slot_of(struct store *s, int64_t id)
{
	struct slot *slot;

	pthread_mutex_lock(&s->backends->mutex);
	for (slot = s->backends->slots; slot && slot->backend.id != id; slot = slot->next)
		;
	if (!slot) {
		slot = slot_new();
		slot->backend.id = id;
		add_slot(s, slot);
	}
	pthread_mutex_unlock(&s->backends->mutex);
	return slot;
}

static enum err_code read_row(struct store *s, TALLOC_CTX *ctx, int64_t id, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, rows, e,
	             "SELECT name, driver, identity, config FROM objects.backend WHERE store = $1 AND id = $2",
	             DB_TEXT(s->name), DB_NUMBER(id)));
	if (!db_count(*rows))
		return ERR(e, ERR_UNAVAILABLE, "%s has no back end number %lld", s->name, (long long)id);
	return ERR_OK;
}

static enum err_code read_config(struct store *s, TALLOC_CTX *ctx, const struct db_rows *rows,
                                 const struct config_node **config, struct err *e)
{
	const char *context = vault_context(ctx, s, db_text(rows, 0, 1), db_text(rows, 0, 2));
	size_t len = 0;
	const void *sealed = db_bytes(rows, 0, 3, &len);
	char *text;

	if (!sealed || !s->vault)
		return ERR(e, ERR_UNAVAILABLE, "its configuration was not remembered; start once with it");
	if (vault_open(s->vault, ctx, context, sealed, len, &text, e) != ERR_OK)
		return ERR(e, ERR_UNAVAILABLE,
		           "its configuration was sealed with another cluster secret; start once"
		           " with it, or with that secret as the previous one");
	return config_from_text(ctx, "remembered configuration", text, config, e);
}

static enum err_code open_remembered(struct store *s, struct slot *slot, const struct db_rows *rows, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct driver *driver = driver_find(db_text(rows, 0, 1));
	const char *identity = db_text(rows, 0, 2);
	const struct config_node *config;
	struct driver_conn *conn;

	if (!driver)
		return ERR(e, ERR_UNAVAILABLE, "this version has no driver %s", db_text(rows, 0, 1));
	TRY(read_config(s, ctx, rows, &config, e));
	TRY(driver->open(slot, &(struct driver_setup){s->name, config, s->db}, &conn, e));
	if (strcmp(driver->identity(conn), identity) != 0) {
		ERR(e, ERR_UNAVAILABLE, "it was %s and is %s now", identity, driver->identity(conn));
		driver->close(conn);
		return ERR_UNAVAILABLE;
	}
	slot->backend.name = talloc_strdup(slot, db_text(rows, 0, 0));
	slot->backend.identity = talloc_strdup(slot, identity);
	ASSERT(slot->backend.name && slot->backend.identity);
	slot->backend.driver = driver;
	slot->backend.conn = conn;
	LOG_INFO("back end of an earlier configuration opened", LOG_TEXT("store", s->name),
	         LOG_TEXT("backend", slot->backend.name), LOG_TEXT("identity", slot->backend.identity));
	return ERR_OK;
}

/* Whatever ended it, it is the back end that cannot be used for now. */
static enum err_code open_slot(struct store *s, struct slot *slot, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct err why;

	TRY(read_row(s, ctx, slot->backend.id, &rows, e));
	if (open_remembered(s, slot, rows, &why) == ERR_OK)
		return ERR_OK;
	ERR(&slot->failure, ERR_UNAVAILABLE, "%s: back end %s (%s), which the configuration does not name: %s", s->name,
	    db_text(rows, 0, 0), db_text(rows, 0, 2), why.text);
	slot->retry_at_ms = clock_monotonic_ms() + BACKEND_RETRY_MS;
	LOG_WARN("back end of an earlier configuration cannot be opened", LOG_ERR(&slot->failure));
	return fail_as(&slot->failure, e);
}

enum err_code backend_by_id(struct store *s, int64_t id, struct backend **out, struct err *e)
{
	enum err_code code = ERR_OK;
	struct slot *slot;

	*out = s->current;
	if (id == s->current->id)
		return ERR_OK;
	slot = slot_of(s, id);
	pthread_mutex_lock(&slot->opening);
	if (!slot->backend.conn && clock_monotonic_ms() < slot->retry_at_ms)
		code = fail_as(&slot->failure, e);
	else if (!slot->backend.conn)
		code = open_slot(s, slot, e);
	pthread_mutex_unlock(&slot->opening);
	*out = &slot->backend;
	return code;
}

enum err_code backend_by_name(struct store *s, const char *name, struct backend **out, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;
	char *known;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, name FROM objects.backend WHERE store = $1 ORDER BY name = $2 DESC, id",
	             DB_TEXT(s->name), DB_TEXT(name)));
	db_release(db);
	db = NULL;
	ASSERT(db_count(rows) > 0);
	if (strcmp(db_text(rows, 0, 1), name) == 0)
		return backend_by_id(s, db_number(rows, 0, 0), out, e);
	known = talloc_strdup(ctx, db_text(rows, 0, 1));
	for (size_t i = 1; i < db_count(rows) && i < 20; i++)
		known = talloc_asprintf_append(known, ", %s", db_text(rows, i, 1));
	return ERR(e, ERR_NOT_FOUND, "%s has no back end \"%s\"; it has %s", s->name, name, known);
}
