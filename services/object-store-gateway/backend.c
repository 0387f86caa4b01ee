#include "services/object-store-gateway/backend.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <string.h>

#define NAMES_MAX 1000

/* One back end that this process has to do with. `backend` is filled when conn is set, and not changed afterwards. */
struct slot {
	struct backend backend;
	pthread_mutex_t mutex; /* guards what follows, and conn while it is not set */
	pthread_cond_t tried;  /* an attempt to open it is over */
	bool opening;          /* somebody is at it */
	int64_t retry_at_ms;   /* clock_monotonic_ms(); after a failure, not before */
	struct err failure;    /* of the last attempt; ERR_OK: there was none */
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
	pthread_condattr_t attributes;

	ASSERT(slot && pthread_mutex_init(&slot->mutex, NULL) == 0 && pthread_condattr_init(&attributes) == 0);
	ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
	ASSERT(pthread_cond_init(&slot->tried, &attributes) == 0);
	pthread_condattr_destroy(&attributes);
	return slot;
}

static void slot_free(struct slot *slot)
{
	if (slot->backend.conn)
		slot->backend.driver->close(slot->backend.conn);
	pthread_cond_destroy(&slot->tried);
	pthread_mutex_destroy(&slot->mutex);
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

/* rows: name, driver, identity, config. */
static enum err_code read_config(struct store *s, TALLOC_CTX *ctx, const struct db_rows *rows, size_t row, char **text,
                                 struct err *e)
{
	const char *context = vault_context(ctx, s, db_text(rows, row, 1), db_text(rows, row, 2));
	size_t len = 0;
	const void *sealed = db_bytes(rows, row, 3, &len);

	if (!sealed || !s->vault)
		return ERR(e, ERR_UNAVAILABLE, "its configuration was not remembered; start once with it");
	if (vault_open(s->vault, ctx, context, sealed, len, text, e) != ERR_OK)
		return ERR(e, ERR_UNAVAILABLE,
		           "its configuration was sealed with another cluster secret; start once"
		           " with it, or with that secret as the previous one");
	return ERR_OK;
}

/* rows: name, driver, identity, config, id. */
static enum err_code renew_one(struct store *s, struct db *db, const struct db_rows *rows, size_t row, struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *context = vault_context(ctx, s, db_text(rows, row, 1), db_text(rows, row, 2));
	size_t len, renewed_len;
	const void *sealed = db_bytes(rows, row, 3, &len);
	void *renewed;
	struct err why;

	if (vault_renew(s->vault, ctx, context, sealed, len, &renewed, &renewed_len, &why) != ERR_OK) {
		LOG_WARN("back end of the past cannot be reached", LOG_TEXT("store", s->name),
		         LOG_TEXT("backend", db_text(rows, row, 0)), LOG_ERR(&why));
		return ERR_OK;
	}
	if (!renewed)
		return ERR_OK;
	return db_query(db, NULL, NULL, e, "UPDATE objects.backend SET config = $2 WHERE id = $1 AND config = $3",
	                DB_NUMBER(db_number(rows, row, 4)), DB_BYTES(renewed, renewed_len), DB_BYTES(sealed, len));
}

enum err_code backends_renew(struct store *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT name, driver, identity, config, id FROM objects.backend"
	             " WHERE store = $1 AND config IS NOT NULL ORDER BY id",
	             DB_TEXT(s->name)));
	for (size_t i = 0; i < db_count(rows); i++)
		TRY(renew_one(s, db, rows, i, e));
	return ERR_OK;
}

static enum err_code read_with_chunks(struct store *s, TALLOC_CTX *ctx, const struct driver *driver,
                                      struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	return db_query(db, ctx, rows, e,
	                "SELECT name, driver, identity, config FROM objects.backend b WHERE store = $1 AND driver = $2"
	                " AND EXISTS (SELECT 1 FROM objects.chunk c WHERE c.backend = b.id"
	                "   AND c.state IN ('live', 'spare'))",
	                DB_TEXT(s->name), DB_TEXT(driver->name));
}

/* What the configuration names is not there, for the reason in e. It is not made where chunks should be in it: a disk
 * that is not mounted looks like that, and what is written in its place is lost from sight when it is again. */
static enum err_code may_be_made(struct store *s, const struct driver *driver, const struct config_node *config,
                                 struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct err why = *e;
	struct db_rows *rows;
	char *text;

	if (!s->vault)
		return ERR_OK;
	TRY(config_render(ctx, config, &text, e));
	TRY(read_with_chunks(s, ctx, driver, &rows, e));
	for (size_t i = 0; i < db_count(rows); i++) {
		char *before;

		if (read_config(s, ctx, rows, i, &before, e) == ERR_OK && strcmp(before, text) == 0)
			return ERR(e, ERR_PRECONDITION,
			           "back end %s (%s) has chunks, and is not there: %s; is it mounted? To do without"
			           " what was in it, make it by hand",
			           db_text(rows, i, 0), db_text(rows, i, 2), why.text);
	}
	return ERR_OK;
}

enum err_code backends_open(struct store *s, const struct driver *driver, const struct config_node *config,
                            struct err *e)
{
	struct driver_setup setup = {.store = s->name, .config = config, .db = s->db, .must_exist = true};
	struct slot *slot = slot_new();
	struct driver_conn *conn;
	enum err_code code = driver->open(slot, &setup, &conn, e);

	if (code == ERR_NOT_FOUND) {
		setup.must_exist = false;
		code = may_be_made(s, driver, config, e);
		if (code == ERR_OK)
			code = driver->open(slot, &setup, &conn, e);
	}
	if (code != ERR_OK) {
		slot_free(slot);
		return code;
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

/* Into *out, for the caller to put into the slot. */
static enum err_code open_remembered(struct store *s, struct slot *slot, const struct db_rows *rows,
                                     struct backend *out, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct driver_setup setup = {.store = s->name, .db = s->db, .must_exist = true};
	const char *identity = db_text(rows, 0, 2);
	char *text;

	out->id = slot->backend.id;
	out->driver = driver_find(db_text(rows, 0, 1));
	if (!out->driver)
		return ERR(e, ERR_UNAVAILABLE, "this version has no driver %s", db_text(rows, 0, 1));
	TRY(read_config(s, ctx, rows, 0, &text, e));
	TRY(config_from_text(ctx, "remembered configuration", text, &setup.config, e));
	TRY(out->driver->open(slot, &setup, &out->conn, e));
	if (strcmp(out->driver->identity(out->conn), identity) != 0) {
		ERR(e, ERR_UNAVAILABLE, "it was %s and is %s now", identity, out->driver->identity(out->conn));
		out->driver->close(out->conn);
		return ERR_UNAVAILABLE;
	}
	out->name = talloc_strdup(slot, db_text(rows, 0, 0));
	out->identity = talloc_strdup(slot, identity);
	ASSERT(out->name && out->identity);
	LOG_INFO("back end of an earlier configuration opened", LOG_TEXT("store", s->name),
	         LOG_TEXT("backend", out->name), LOG_TEXT("identity", out->identity));
	return ERR_OK;
}

/* *away: it could not be opened; whatever the reason, it is the back end that cannot be used for now. Otherwise what
 * failed is the database, which is asked again. */
static enum err_code open_slot(struct store *s, struct slot *slot, struct backend *out, bool *away, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct err why;

	*away = false;
	TRY(read_row(s, ctx, slot->backend.id, &rows, e));
	*away = open_remembered(s, slot, rows, out, &why) != ERR_OK;
	if (!*away)
		return ERR_OK;
	ERR(e, ERR_UNAVAILABLE, "%s: back end %s (%s), which the configuration does not name: %s", s->name,
	    db_text(rows, 0, 0), db_text(rows, 0, 2), why.text);
	LOG_WARN("back end of an earlier configuration cannot be opened", LOG_ERR(e));
	return ERR_UNAVAILABLE;
}

/* With the slot's mutex, which is free while the back end is asked. */
static enum err_code try_slot(struct store *s, struct slot *slot, struct err *e)
{
	struct backend opened = {0};
	enum err_code code;
	struct err why;
	bool away;

	slot->opening = true;
	pthread_mutex_unlock(&slot->mutex);
	code = open_slot(s, slot, &opened, &away, &why);
	pthread_mutex_lock(&slot->mutex);
	slot->opening = false;
	pthread_cond_broadcast(&slot->tried);
	if (code == ERR_OK) {
		slot->backend = opened;
		return ERR_OK;
	}
	if (away) {
		slot->failure = why;
		slot->retry_at_ms = clock_monotonic_ms() + BACKEND_RETRY_MS;
	}
	return fail_as(&why, e);
}

/* With the slot's mutex. Who comes while somebody opens it waits a little, once: of a back end that was away the last
 * time, it is known why. */
static void await_attempt(struct slot *slot)
{
	int64_t until_ms = clock_monotonic_ms() + BACKEND_WAIT_MS;
	struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	while (slot->opening && slot->failure.code == ERR_OK &&
	       pthread_cond_timedwait(&slot->tried, &slot->mutex, &at) == 0)
		;
}

static enum err_code use_slot(struct store *s, struct slot *slot, struct err *e)
{
	await_attempt(slot);
	if (slot->backend.conn)
		return ERR_OK;
	if (slot->failure.code != ERR_OK && (slot->opening || clock_monotonic_ms() < slot->retry_at_ms))
		return fail_as(&slot->failure, e);
	if (slot->opening)
		return ERR(e, ERR_UNAVAILABLE,
		           "%s: back end number %lld, which the configuration does not name, is being opened", s->name,
		           (long long)slot->backend.id);
	return try_slot(s, slot, e);
}

enum err_code backend_by_id(struct store *s, int64_t id, struct backend **out, struct err *e)
{
	enum err_code code;
	struct slot *slot;

	*out = s->current;
	if (id == s->current->id)
		return ERR_OK;
	slot = slot_of(s, id);
	pthread_mutex_lock(&slot->mutex);
	code = use_slot(s, slot, e);
	pthread_mutex_unlock(&slot->mutex);
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
