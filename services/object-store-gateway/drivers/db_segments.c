#include "services/object-store-gateway/drivers/db_segments.h"

#include "common/clock.h"
#include "common/fault.h"

#include <pthread.h>
#include <stdio.h>

#define WAIT_MS 10000 /* for a connection */
#define PART 4        /* a segment may take this part of the whole */

#define LOCK_BRIEFLY "SET LOCAL lock_timeout = '200ms'"
/* An autovacuum gives way to who waited for deadlock_timeout, a second; readers do not wait behind this one. */
#define LOCK_PATIENTLY "SET LOCAL lock_timeout = '3s'"

/* As the first table has them; what is removed should be found again soon. */
#define VACUUM_SETTINGS                                                                                                \
	"autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 2,"  \
	" toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 2000,"                      \
	" toast.autovacuum_vacuum_cost_delay = 2"

struct segments {
	struct db_pool *pool;
	int64_t limit;
	pthread_mutex_t mutex; /* guards what follows */
	int target;            /* a slot; -1: not known */
	int64_t look_at_ms;    /* clock_monotonic_ms(): not before */
};

static int segments_destroy(struct segments *s)
{
	pthread_mutex_destroy(&s->mutex);
	return 0;
}

struct segments *segments_new(TALLOC_CTX *ctx, struct db_pool *pool, int64_t limit)
{
	struct segments *s = talloc_zero(ctx, struct segments);

	ASSERT(s && pthread_mutex_init(&s->mutex, NULL) == 0);
	talloc_set_destructor(s, segments_destroy);
	s->pool = pool;
	s->limit = limit;
	s->target = -1;
	return s;
}

struct segment_name segment_name(int slot)
{
	struct segment_name name = {"objects.chunk_data"};

	ASSERT(slot >= 0 && slot < SEGMENT_SLOTS);
	if (slot > 0)
		snprintf(name.text, sizeof(name.text), "objects.chunk_data_%d", slot);
	return name;
}

/* ---- where writers insert ---- */

/* Who finds it too old looks it up; the others go on with what was known. */
static bool is_known(struct segments *s, int *slot)
{
	int64_t now = clock_monotonic_ms();
	bool known;

	pthread_mutex_lock(&s->mutex);
	known = s->target >= 0 && now < s->look_at_ms;
	s->look_at_ms = known ? s->look_at_ms : now + SEGMENT_TARGET_MS;
	*slot = s->target;
	pthread_mutex_unlock(&s->mutex);
	return known;
}

void segments_target_failed(struct segments *s)
{
	pthread_mutex_lock(&s->mutex);
	s->target = -1;
	pthread_mutex_unlock(&s->mutex);
}

static enum err_code newest_slot(struct db *db, int *slot, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT slot FROM objects.chunk_segment WHERE state = 'open' ORDER BY id DESC LIMIT 1"));
	*slot = db_count(rows) ? (int)db_number(rows, 0, 0) : 0;
	return ERR_OK;
}

enum err_code segments_target(struct segments *s, struct db *db, int *slot, struct err *e)
{
	enum err_code code;

	if (is_known(s, slot))
		return ERR_OK;
	code = newest_slot(db, slot, e);
	pthread_mutex_lock(&s->mutex);
	s->target = code == ERR_OK ? *slot : -1;
	pthread_mutex_unlock(&s->mutex);
	return code;
}

/* ---- which there are ---- */

enum err_code segments_list(struct segments *s, TALLOC_CTX *ctx, struct segment **list, size_t *count, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->pool, WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, slot, state = 'draining', (extract(epoch FROM now() - since) * 1000)::bigint,"
	             " (extract(epoch FROM looked_at) * 1000)::bigint,"
	             " pg_total_relation_size(to_regclass('objects.chunk_data' ||"
	             "   CASE slot WHEN 0 THEN '' ELSE '_' || slot END))"
	             " FROM objects.chunk_segment ORDER BY id"));
	*count = db_count(rows);
	*list = talloc_zero_array(ctx, struct segment, *count + 1);
	ASSERT(*list);
	for (size_t i = 0; i < *count; i++)
		(*list)[i] = (struct segment){
		    .id = db_number(rows, i, 0),
		    .slot = (int)db_number(rows, i, 1),
		    .draining = db_flag(rows, i, 2),
		    .state_ms = db_number(rows, i, 3),
		    .looked_ms = db_number(rows, i, 4),
		    .bytes = db_number(rows, i, 5),
		};
	return ERR_OK;
}

const struct segment *segments_newest(const struct segment *list, size_t count)
{
	while (count > 0)
		if (!list[--count].draining)
			return &list[count];
	return NULL;
}

bool segments_newest_is_full(const struct segments *s, const struct segment *list, size_t count)
{
	const struct segment *newest = segments_newest(list, count);
	int64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += list[i].bytes;
	return !newest || newest->bytes >= MAX(s->limit, total / PART);
}

/* ---- changes ---- */

struct change {
	const struct segment *segment;
	int64_t newest;
	bool done;
};

static enum err_code run_text(struct db *db, const char *before, int slot, const char *after, struct err *e)
{
	char sql[640];

	snprintf(sql, sizeof(sql), "%s %s %s", before, segment_name(slot).text, after);
	return db_query_once(db, NULL, NULL, e, sql);
}

/* The lowest that is free; SEGMENT_SLOTS: none. */
static enum err_code free_slot(struct db *db, int *slot, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT coalesce(min(n), $1::bigint) FROM generate_series(0, $1::bigint - 1) AS n"
	             " WHERE n NOT IN (SELECT slot FROM objects.chunk_segment)",
	             DB_NUMBER(SEGMENT_SLOTS)));
	*slot = (int)db_number(rows, 0, 0);
	return *slot < SEGMENT_SLOTS ? ERR_OK : ERR(e, ERR_EXHAUSTED, "all %d segments are in use", SEGMENT_SLOTS);
}

/* A backup holds its locks for an hour. Waiting for it, even briefly, would make readers wait for nothing. What other
 * roles do cannot be seen; it is taken for something long. */
static enum err_code nobody_stays_long(struct db *db, int slot, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT 1 FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
	             " WHERE l.locktype = 'relation' AND l.relation = $1::text::regclass"
	             " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	             " AND l.pid IS DISTINCT FROM pg_backend_pid()"
	             " AND coalesce(a.xact_start, '-infinity') < clock_timestamp() - interval '1 second' LIMIT 1",
	             DB_TEXT(segment_name(slot).text)));
	return db_count(rows) ? ERR(e, ERR_DEADLINE, "%s is in use", segment_name(slot).text) : ERR_OK;
}

static enum err_code make_table(struct db *db, int slot, struct err *e)
{
	if (slot == 0) /* is there, and every plan knows it */
		return ERR_OK;
	TRY(nobody_stays_long(db, 0, e));
	TRY(db_query(db, NULL, NULL, e, LOCK_BRIEFLY));
	TRY(db_query(db, NULL, NULL, e, "LOCK TABLE ONLY objects.chunk_data IN ACCESS EXCLUSIVE MODE"));
	return run_text(db, "CREATE TABLE", slot,
	                "(PRIMARY KEY (chunk, seq)) INHERITS (objects.chunk_data) WITH (" VACUUM_SETTINGS ")", e);
}

static enum err_code open_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct change *c = arg;
	struct db_rows *rows;
	int slot;

	TRY(db_query(db, NULL, NULL, e, LOCK_PATIENTLY));
	TRY(db_query(db, NULL, NULL, e, "LOCK TABLE objects.chunk_segment IN SHARE ROW EXCLUSIVE MODE"));
	TRY(db_query(db, ctx, &rows, e, "SELECT coalesce(max(id), 0) FROM objects.chunk_segment WHERE state = 'open'"));
	if (db_number(rows, 0, 0) != c->newest)
		return ERR_OK;
	TRY(free_slot(db, &slot, e));
	TRY(make_table(db, slot, e));
	TRY(db_query(db, NULL, NULL, e, "INSERT INTO objects.chunk_segment (slot) VALUES ($1)", DB_NUMBER(slot)));
	FAULT_POINT("compact-opening");
	return ERR_OK;
}

enum err_code segments_open(struct segments *s, int64_t newest, struct err *e)
{
	struct change c = {.newest = newest};

	TRY(db_transaction(s->pool, open_body, &c, e));
	FAULT_POINT("compact-after-open");
	segments_target_failed(s);
	return ERR_OK;
}

/* The row of the catalogue, held; *there: it is in this state. */
static enum err_code hold(struct db *db, const struct segment *segment, const char *state, bool *there, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM objects.chunk_segment WHERE id = $1 AND state = $2 FOR UPDATE",
	             DB_NUMBER(segment->id), DB_TEXT(state)));
	*there = db_count(rows) == 1;
	return ERR_OK;
}

/* A vacuum would be in the way of the drop, and is of no use to what goes. */
static enum err_code drain_body(struct db *db, void *arg, struct err *e)
{
	struct change *c = arg;

	TRY(db_query(db, NULL, NULL, e, LOCK_PATIENTLY));
	TRY(hold(db, c->segment, "open", &c->done, e));
	if (!c->done)
		return ERR_OK;
	TRY(run_text(db, "ALTER TABLE ONLY", c->segment->slot,
	             "SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)", e));
	return db_query(db, NULL, NULL, e,
	                "UPDATE objects.chunk_segment SET state = 'draining', since = now() WHERE id = $1",
	                DB_NUMBER(c->segment->id));
}

enum err_code segments_drain(struct segments *s, const struct segment *segment, struct err *e)
{
	struct change c = {.segment = segment};

	TRY(db_transaction(s->pool, drain_body, &c, e));
	FAULT_POINT("compact-after-drain");
	return ERR_OK;
}

static enum err_code is_empty(struct db *db, int slot, bool *empty, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT 1 FROM ONLY %s LIMIT 1", segment_name(slot).text);
	TRY(db_query_once(db, ctx, &rows, e, sql));
	*empty = db_count(rows) == 0;
	return ERR_OK;
}

static enum err_code destroy(struct db *db, int slot, struct err *e)
{
	if (slot > 0)
		return run_text(db, "DROP TABLE", slot, "", e);
	TRY(run_text(db, "TRUNCATE ONLY", slot, "", e));
	return run_text(db, "ALTER TABLE ONLY", slot, "RESET (autovacuum_enabled, toast.autovacuum_enabled)", e);
}

/* The look may take long where much was there: it stops writers that are late, and removals, but no reader. */
static enum err_code drop_body(struct db *db, void *arg, struct err *e)
{
	struct change *c = arg;
	int slot = c->segment->slot;

	c->done = false;
	TRY(db_query(db, NULL, NULL, e, LOCK_BRIEFLY));
	TRY(hold(db, c->segment, "draining", &c->done, e));
	if (!c->done)
		return ERR_OK;
	TRY(nobody_stays_long(db, slot, e));
	TRY(run_text(db, "LOCK TABLE ONLY", slot, "IN SHARE MODE", e));
	TRY(is_empty(db, slot, &c->done, e));
	if (!c->done)
		return ERR_OK;
	TRY(run_text(db, "LOCK TABLE ONLY", slot, "IN ACCESS EXCLUSIVE MODE", e));
	TRY(destroy(db, slot, e));
	TRY(db_query(db, NULL, NULL, e, "DELETE FROM objects.chunk_segment WHERE id = $1", DB_NUMBER(c->segment->id)));
	FAULT_POINT("compact-dropping");
	return ERR_OK;
}

enum err_code segments_drop(struct segments *s, const struct segment *segment, bool *dropped, struct err *e)
{
	struct change c = {.segment = segment};

	TRY(db_transaction(s->pool, drop_body, &c, e));
	*dropped = c.done;
	if (c.done)
		FAULT_POINT("compact-after-drop");
	return ERR_OK;
}
