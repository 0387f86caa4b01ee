#include "services/object-store-gateway/drivers/db_compact.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define WAIT_MS 10000              /* for a connection */
#define BATCH_BYTES (4 * MIB)      /* moved in one transaction */
#define BATCH_ROWS 2000            /* looked at for one batch */
#define SLACK ((int64_t)(4 * MIB)) /* what cannot give that much back is left alone */
#define SAMPLE_PAGES 8192          /* read to measure a table; more is extrapolated */

/* What a row of n bytes takes, packed: with its header, its place in the index, and out of line in pieces of 1996
 * bytes, which do not fill their pages when the last piece is short. Measured: for 1 byte to 256 KiB it is 93 to 107
 * percent of the files of a fresh table. */
#define PACKED "CASE WHEN n > 1950 THEN n / 1996 * 2060 + least(n / 1996 * 400 + 300, 1400) + 130 ELSE n + 115 END"

/* One call of compact. */
struct run {
	struct segments *segments;
	struct db_pool *pool;
	const struct compact_order *order;
	struct compaction *done;
	uint64_t skipped; /* by slot: not again in this call */
	uint64_t failed;  /* those of them that are not merely in use */
	struct err failure;
};

static bool time_is_up(const struct run *r)
{
	return clock_monotonic_ms() >= r->order->until_ms;
}

/* In use is no failure: it is tried again with the next call. */
static void skip(struct run *r, const struct segment *s, const struct err *why)
{
	uint64_t bit = (uint64_t)1 << s->slot;

	r->skipped |= bit;
	if (why->code == ERR_DEADLINE) {
		r->done->waiting = true;
		return;
	}
	r->failed |= bit;
	if (!r->failure.code)
		ERR(&r->failure, why->code, "%s: %s", segment_name(s->slot).text, why->text);
}

static bool is_skipped(const struct run *r, const struct segment *s)
{
	return r->skipped >> s->slot & 1;
}

/* ---- moving ---- */

struct batch {
	struct run *run;
	int from, to;
	int64_t after, last; /* chunk numbers: moved are those between, and the last */
	int64_t rows, bytes;
};

/* Whole chunks, and as few as have enough bytes. */
static enum err_code choose(struct db *db, struct batch *b, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	char sql[640];

	snprintf(sql, sizeof(sql),
	         "SELECT coalesce(max(chunk), 0) FROM ("
	         "  SELECT chunk, sum(bytes) OVER (ORDER BY chunk) - bytes AS before FROM ("
	         "    SELECT chunk, sum(octet_length(bytes))::bigint AS bytes FROM ("
	         "      SELECT chunk, bytes FROM ONLY %s WHERE chunk > $1 ORDER BY chunk, seq LIMIT $2) AS r"
	         "    GROUP BY chunk) AS c) AS w WHERE before < $3",
	         segment_name(b->from).text);
	TRY(db_query_once(db, ctx, &rows, e, sql, DB_NUMBER(b->after), DB_NUMBER(BATCH_ROWS), DB_NUMBER(BATCH_BYTES)));
	b->last = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code move_body(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct batch *b = arg;
	struct db_rows *rows;
	char sql[640];

	b->rows = b->bytes = 0;
	TRY(db_query(db, NULL, NULL, e, "SET LOCAL lock_timeout = '2s'"));
	TRY(db_query(db, NULL, NULL, e, "SELECT pg_advisory_xact_lock($1)", DB_NUMBER(SEGMENT_MOVE_LOCK)));
	TRY(choose(db, b, e));
	if (!b->last)
		return ERR_OK;
	segments_target_failed(b->run->segments); /* what was known may be draining */
	TRY(segments_target(b->run->segments, db, &b->to, e));
	if (b->to == b->from)
		return ERR(e, ERR_DEADLINE, "no segment is open to move to");
	snprintf(sql, sizeof(sql),
	         "WITH gone AS (DELETE FROM ONLY %s WHERE chunk > $1 AND chunk <= $2"
	         "   RETURNING chunk, seq, sha256, bytes),"
	         " here AS (INSERT INTO %s (chunk, seq, sha256, bytes) SELECT chunk, seq, sha256, bytes FROM gone"
	         "   RETURNING octet_length(bytes) AS n)"
	         " SELECT count(*), coalesce(sum(n), 0) FROM here",
	         segment_name(b->from).text, segment_name(b->to).text);
	TRY(db_query_once(db, ctx, &rows, e, sql, DB_NUMBER(b->after), DB_NUMBER(b->last)));
	b->rows = db_number(rows, 0, 0);
	b->bytes = db_number(rows, 0, 1);
	FAULT_POINT("compact-moving");
	return ERR_OK;
}

/* Until none is left, as far as can be seen, or the time is up; *all says which. */
static enum err_code move_rows(struct run *r, const struct segment *s, bool *all, struct err *e)
{
	struct batch b = {.run = r, .from = s->slot};
	bool moved = true;

	*all = false;
	while (moved && !time_is_up(r)) {
		int64_t began = clock_monotonic_us();

		TRY(db_transaction(r->pool, move_body, &b, e));
		r->done->moved_rows += b.rows;
		r->done->moved_bytes += b.bytes;
		moved = b.last > 0;
		*all = !moved && b.after == 0;
		moved |= b.after > 0; /* from the start again: somebody may have come late */
		b.after = b.last;
		if (b.rows)
			FAULT_POINT("compact-after-move");
		if (r->order->gentle)
			usleep((useconds_t)MIN(clock_monotonic_us() - began, (int64_t)500000));
	}
	return ERR_OK;
}

static enum err_code drain(struct run *r, const struct segment *s, struct err *e)
{
	bool all, dropped;

	TRY(move_rows(r, s, &all, e));
	if (!all)
		return ERR_OK;
	if (s->state_ms < SEGMENT_SETTLED_MS)
		return ERR(e, ERR_DEADLINE, "a writer may still be inserting");
	TRY(segments_drop(r->segments, s, &dropped, e));
	if (!dropped)
		return ERR_OK;
	r->done->dropped++;
	r->done->freed_bytes += s->bytes;
	return ERR_OK;
}

/* ---- measuring ---- */

/* Bytes that the rows would take in a fresh table. */
static enum err_code measure(struct run *r, const struct segment *s, int64_t *packed, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	const struct segment_name table = segment_name(s->slot);
	struct db_rows *rows;
	int64_t pages;
	double percent;
	char sql[512];

	TRY(db_acquire(r->pool, WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e, "SELECT pg_relation_size($1::text::regclass) / 8192", DB_TEXT(table.text)));
	pages = db_number(rows, 0, 0);
	percent = pages > SAMPLE_PAGES ? 100.0 * SAMPLE_PAGES / (double)pages : 100;
	snprintf(sql, sizeof(sql),
	         "SELECT (coalesce(sum(" PACKED "), 0) * 100 / %.6f)::bigint FROM ("
	         " SELECT octet_length(bytes)::bigint AS n FROM ONLY %s TABLESAMPLE SYSTEM (%.6f)) AS r",
	         percent, table.text, percent);
	TRY(db_query_once(db, ctx, &rows, e, sql));
	*packed = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code note_look(struct run *r, const struct segment *s, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(r->pool, WAIT_MS, &db, e));
	return db_query(db, NULL, NULL, e,
	                "UPDATE objects.chunk_segment SET looked_at = clock_timestamp() WHERE id = $1",
	                DB_NUMBER(s->id));
}

static bool is_sparse(const struct run *r, const struct segment *s, int64_t packed)
{
	return s->bytes - packed >= SLACK && packed < s->bytes / 100 * r->order->percent;
}

static enum err_code look(struct run *r, const struct segment *s, bool newest, struct err *e)
{
	int64_t packed;

	TRY(measure(r, s, &packed, e));
	if (!is_sparse(r, s, packed))
		return note_look(r, s, e);
	if (newest)
		TRY(segments_open(r->segments, s->id, e));
	TRY(segments_drain(r->segments, s, e));
	LOG_INFO("sparse table is emptied", LOG_TEXT("table", segment_name(s->slot).text),
	         LOG_NUMBER("bytes", s->bytes), LOG_NUMBER("used", packed));
	return ERR_OK;
}

/* ---- what to do next ---- */

static bool is_left(const struct run *r, const struct segment *s)
{
	return s->draining || (r->order->percent > 0 && s->looked_ms < r->order->before_ms);
}

/* What was begun comes first: it gives space back soonest. */
static const struct segment *choose_segment(const struct run *r, const struct segment *list, size_t count)
{
	const struct segment *due = NULL;

	for (size_t i = 0; i < count; i++) {
		if (is_skipped(r, &list[i]) || !is_left(r, &list[i]))
			continue;
		if (list[i].draining)
			return &list[i];
		if (!due)
			due = &list[i];
	}
	return due;
}

/* Writers go on with the one that is full, so a failure is nothing to complain about. */
static void open_if_full(struct run *r, const struct segment *list, size_t count)
{
	const struct segment *newest = segments_newest(list, count);
	struct err ignored;

	if (!segments_newest_is_full(r->segments, list, count))
		return;
	if (segments_open(r->segments, newest ? newest->id : 0, &ignored) != ERR_OK)
		LOG_DEBUG("no new table for chunks", LOG_ERR(&ignored));
}

static enum err_code step(struct run *r, bool *idle, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct segment *s;
	struct segment *list;
	struct err why;
	size_t count;
	enum err_code code;

	TRY(segments_list(r->segments, ctx, &list, &count, e));
	open_if_full(r, list, count);
	s = choose_segment(r, list, count);
	*idle = !s;
	if (!s)
		return ERR_OK;
	if (s->draining)
		code = drain(r, s, &why);
	else
		code = look(r, s, s == segments_newest(list, count), &why);
	if (code != ERR_OK)
		skip(r, s, &why);
	return ERR_OK;
}

static enum err_code sum_up(struct run *r, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct segment *list;
	size_t count;

	TRY(segments_list(r->segments, ctx, &list, &count, e));
	for (size_t i = 0; i < count; i++) {
		r->done->held_bytes += list[i].bytes;
		r->done->more |= is_left(r, &list[i]) && !(r->failed >> list[i].slot & 1);
	}
	if (!r->done->more && r->failure.code)
		return ERR(e, r->failure.code, "%s", r->failure.text);
	return ERR_OK;
}

enum err_code db_compact(struct segments *s, struct db_pool *pool, const struct compact_order *order,
                         struct compaction *done, struct err *e)
{
	struct run r = {.segments = s, .pool = pool, .order = order, .done = done};
	bool idle = false;

	*done = (struct compaction){0};
	do
		TRY(step(&r, &idle, e));
	while (!idle && !time_is_up(&r));
	return sum_up(&r, e);
}
