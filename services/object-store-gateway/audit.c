#include "services/object-store-gateway/audit.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/sql_array.h"

#include <string.h>
#include <time.h>

#define OBJECTS_SHOWN 20
#define TOLD_MAX (512 * KIB) /* bytes of names in one reply, before it ends */

static struct metric removed_total =
    METRIC_COUNTER("stowage_audit_orphans_removed_total", "Bytes without a row that audits removed.");

struct entry {
	struct location at;
	bool own;  /* a row: of the back end itself, and not of another store's that is the same place */
	bool kept; /* a row: live or spare */
};

/* Both sides from `after` up to `upto`, each in the order of numbers. */
struct look {
	struct entry *listed, *rows;
	size_t listed_count, row_count;
	int64_t upto;
};

enum suspicion { ORPHAN, TAKEN, MISSING };

struct suspect {
	struct location at;
	enum suspicion what;
};

struct audit {
	struct store *store;
	TALLOC_CTX *ctx;
	const struct audit_order *order;
	struct store_audit_reply *reply;
	struct look look;
	struct suspect *suspects; /* in the order of numbers */
	size_t suspect_count;
	size_t told;
	void *room; /* for one chunk's bytes */
};

static enum err_code name_backend(const struct audit *a, struct err *e)
{
	return err_wrap(e, "%s: back end %s", a->store->name, a->order->backend->name);
}

/* ---- one look: the list first, then the rows ---- */

static enum err_code list_all(struct audit *a, TALLOC_CTX *ctx, struct look *l, struct err *e)
{
	const struct backend *b = a->order->backend;
	size_t max = a->order->window, count = 1;
	struct location *at = talloc_array(ctx, struct location, max);
	struct location after = {.number = a->order->after};

	l->listed = talloc_zero_array(ctx, struct entry, max);
	ASSERT(at && l->listed);
	while (count && l->listed_count < max) {
		if (b->driver->list(b->conn, after.number ? &after : NULL, at, max - l->listed_count, &count, e) !=
		    ERR_OK)
			return name_backend(a, e);
		for (size_t i = 0; i < count; i++)
			l->listed[l->listed_count++].at = at[i];
		if (count)
			after = at[count - 1];
	}
	l->upto = l->listed_count == max ? after.number : INT64_MAX;
	talloc_free(at);
	return ERR_OK;
}

/* Where two stores have the same place, as with the driver `db`, the other's rows explain bytes, too. */
static enum err_code read_rows(struct audit *a, TALLOC_CTX *ctx, struct look *l, struct err *e)
{
	SCRATCH_CTX(scratch);
	CLEANUP(db_cleanup) struct db *db = NULL;
	const struct backend *b = a->order->backend;
	struct db_rows *rows;

	TRY(db_acquire(a->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, scratch, &rows, e,
	             "SELECT c.id, c.sha256, c.backend = $1, c.state IN ('live', 'spare') FROM objects.chunk c"
	             " WHERE c.backend IN (SELECT id FROM objects.backend WHERE driver = $2 AND identity = $3)"
	             " AND c.id > $4 AND c.id <= $5 ORDER BY c.id LIMIT $6",
	             DB_NUMBER(b->id), DB_TEXT(b->driver->name), DB_TEXT(b->identity), DB_NUMBER(a->order->after),
	             DB_NUMBER(l->upto), DB_NUMBER(a->order->window)));
	l->row_count = db_count(rows);
	l->rows = talloc_zero_array(ctx, struct entry, l->row_count + 1);
	ASSERT(l->rows);
	for (size_t i = 0; i < l->row_count; i++)
		l->rows[i] = (struct entry){
		    .at = {db_digest(rows, i, 1), db_number(rows, i, 0)},
		    .own = db_flag(rows, i, 2),
		    .kept = db_flag(rows, i, 3),
		};
	if (l->row_count == a->order->window)
		l->upto = MIN(l->upto, l->rows[l->row_count - 1].at.number);
	return ERR_OK;
}

static enum err_code look(struct audit *a, TALLOC_CTX *ctx, struct look *l, struct err *e)
{
	*l = (struct look){0};
	TRY(list_all(a, ctx, l, e));
	return read_rows(a, ctx, l, e);
}

/* ---- what is on one side only ---- */

static void suspect(struct audit *a, const struct location *at, enum suspicion what)
{
	a->suspects[a->suspect_count++] = (struct suspect){*at, what};
}

/* All entries of one number: some that are listed, and a row or none. Returns how many of the listed ones they are. */
static size_t compare_number(struct audit *a, const struct look *l, size_t from, const struct entry *row)
{
	int64_t number = l->listed[from].at.number;
	bool found = false;
	size_t i = from;

	for (; i < l->listed_count && l->listed[i].at.number == number; i++) {
		bool same = row && digest_equal(&l->listed[i].at.sha256, &row->at.sha256);

		found |= same;
		if (!same)
			suspect(a, &l->listed[i].at, row ? TAKEN : ORPHAN);
	}
	if (row && !found && row->own && row->kept)
		suspect(a, &row->at, MISSING);
	return i - from;
}

static void compare(struct audit *a, const struct look *l)
{
	size_t i = 0, r = 0;

	a->suspects = talloc_array(a->ctx, struct suspect, l->listed_count + l->row_count + 1);
	ASSERT(a->suspects);
	a->suspect_count = 0;
	while (i < l->listed_count || r < l->row_count) {
		int64_t listed = i < l->listed_count ? l->listed[i].at.number : INT64_MAX;
		int64_t row = r < l->row_count ? l->rows[r].at.number : INT64_MAX;

		if (MIN(listed, row) > l->upto)
			break;
		if (listed <= row)
			i += compare_number(a, l, i, listed == row ? &l->rows[r] : NULL);
		else if (l->rows[r].own && l->rows[r].kept)
			suspect(a, &l->rows[r].at, MISSING);
		r += row <= listed;
	}
}

/* ---- further looks at orphans ---- */

static bool has_unexplained(const struct audit *a)
{
	for (size_t i = 0; i < a->suspect_count; i++)
		if (a->suspects[i].what != MISSING)
			return true;
	return false;
}

static bool is_suspected(const struct suspect *list, size_t count, const struct suspect *wanted)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list[middle].at.number < wanted->at.number)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < count && list[low].at.number == wanted->at.number; low++)
		if (list[low].what != MISSING && digest_equal(&list[low].at.sha256, &wanted->at.sha256))
			return true;
	return false;
}

static void pause_ms(int64_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Keeps what both looks have, as the second sees it. */
static enum err_code look_again(struct audit *a, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct suspect *first = a->suspects;
	size_t first_count = a->suspect_count, kept = 0;
	struct look second;

	TRY(look(a, scratch, &second, e));
	/* What the shorter look did not reach is the next page's. */
	second.upto = a->look.upto = MIN(second.upto, a->look.upto);
	compare(a, &second);
	for (size_t i = 0; i < a->suspect_count; i++)
		if (a->suspects[i].what == MISSING || is_suspected(first, first_count, &a->suspects[i]))
			a->suspects[kept++] = a->suspects[i];
	a->suspect_count = kept;
	return ERR_OK;
}

/* ---- one suspect ---- */

static enum err_code is_there(struct audit *a, const struct location *at, bool *there, struct err *e)
{
	const struct backend *b = a->order->backend;
	enum err_code code;
	size_t got;

	if (!a->room)
		a->room = talloc_size(a->ctx, STORED_MAX);
	ASSERT(a->room);
	code = b->driver->get(b->conn, at, a->room, STORED_MAX, &got, e);
	*there = code != ERR_NOT_FOUND;
	return code == ERR_OK || code == ERR_CORRUPT || code == ERR_NOT_FOUND ? ERR_OK : name_backend(a, e);
}

static enum err_code judge_orphan(struct audit *a, const struct suspect *s, struct err *e)
{
	struct store_audit_reply *reply = a->reply;
	bool there = true;

	if (a->order->backend->driver->lists_late)
		TRY(is_there(a, &s->at, &there, e));
	if (there)
		reply->orphans[reply->orphans_count++] =
		    (struct audit_orphan){.sha256 = s->at.sha256, .number = s->at.number, .taken = s->what == TAKEN};
	return ERR_OK;
}

static enum err_code read_kept(struct store *s, int64_t id, bool *found, struct chunk_kept *kept, struct err *e)
{
	SCRATCH_CTX(ctx);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct db_rows *rows;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT " CHUNK_KEPT_COLUMNS " FROM objects.chunk c WHERE id = $1 AND state IN ('live', 'spare')",
	             DB_NUMBER(id)));
	*found = db_count(rows) == 1;
	if (*found)
		*kept = chunk_kept_from_row(rows, 0);
	return ERR_OK;
}

static enum err_code note_missing(struct audit *a, const struct chunk_kept *kept, struct err *e)
{
	struct store_audit_reply *reply = a->reply;
	struct audit_missing *m = &reply->missing[reply->missing_count];
	struct err why;

	*m = (struct audit_missing){.sha256 = kept->chunk.sha256, .number = kept->chunk.id, .spare = kept->spare};
	if (!kept->spare)
		TRY(chunk_objects(a->store, a->ctx, &m->sha256, OBJECTS_SHOWN, &m->objects, e));
	for (size_t i = 0; i < m->objects.count; i++)
		a->told += strlen(m->objects.items[i]);
	if (a->order->mark_missing) {
		m->healed = chunk_check(a->store, kept, true, &why) == CHUNK_HEALED;
		FAULT_POINT("audit-after-mark");
	}
	reply->missing_count++;
	return ERR_OK;
}

static enum err_code judge_missing(struct audit *a, const struct suspect *s, struct err *e)
{
	struct chunk_kept kept;
	bool there, found;

	TRY(is_there(a, &s->at, &there, e));
	if (there)
		return ERR_OK;
	TRY(read_kept(a->store, s->at.number, &found, &kept, e));
	return found ? note_missing(a, &kept, e) : ERR_OK;
}

static bool is_full(const struct audit *a)
{
	return a->reply->orphans_count == AUDIT_FOUND_MAX || a->reply->missing_count == AUDIT_FOUND_MAX ||
	       a->told > TOLD_MAX || clock_monotonic_ms() > a->order->deadline_ms;
}

/* Those of one number stay together: a page ends between two numbers, after one at least. */
static enum err_code judge(struct audit *a, struct err *e)
{
	int64_t done = a->order->after;

	for (size_t i = 0; i < a->suspect_count; i++) {
		const struct suspect *s = &a->suspects[i];

		if (i > 0 && s->at.number != done && is_full(a)) {
			a->look.upto = s->at.number - 1;
			return ERR_OK;
		}
		TRY(s->what == MISSING ? judge_missing(a, s, e) : judge_orphan(a, s, e));
		done = s->at.number;
	}
	return ERR_OK;
}

/* ---- removing ---- */

/* Which of these have a row, whatever its back end? Asked right before they go. */
static enum err_code drop_known(struct audit *a, TALLOC_CTX *ctx, struct location *at, size_t *count, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	int64_t *ids = talloc_array(ctx, int64_t, *count + 1);
	struct db_rows *rows;
	size_t kept = 0, row = 0;

	ASSERT(ids);
	for (size_t i = 0; i < *count; i++)
		ids[i] = at[i].number;
	TRY(db_acquire(a->store->db, DB_WAIT_MS, &db, e));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT c.id FROM objects.chunk c JOIN objects.backend b ON b.id = c.backend"
	             " WHERE c.id = ANY ($1::bigint[]) AND b.driver = $2 AND b.identity = $3 ORDER BY c.id",
	             DB_TEXT(sql_numbers(ctx, ids, *count)), DB_TEXT(a->order->backend->driver->name),
	             DB_TEXT(a->order->backend->identity)));
	for (size_t i = 0; i < *count; i++) {
		while (row < db_count(rows) && db_number(rows, row, 0) < at[i].number)
			row++;
		if (row == db_count(rows) || db_number(rows, row, 0) != at[i].number)
			at[kept++] = at[i];
	}
	*count = kept;
	return ERR_OK;
}

static void note_removed(struct audit *a, const struct location *at, size_t count)
{
	for (size_t i = 0, n = 0; i < a->reply->orphans_count; i++) {
		struct audit_orphan *o = &a->reply->orphans[i];

		o->removed = n < count && at[n].number == o->number && digest_equal(&at[n].sha256, &o->sha256);
		n += o->removed;
	}
	metric_add(&removed_total, (int64_t)count);
	LOG_INFO("audit removed bytes without a row", LOG_TEXT("store", a->store->name),
	         LOG_TEXT("backend", a->order->backend->name), LOG_NUMBER("count", count));
}

static enum err_code remove_orphans(struct audit *a, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct backend *b = a->order->backend;
	struct location *at = talloc_array(ctx, struct location, a->reply->orphans_count + 1);
	size_t count = 0;

	ASSERT(at);
	for (size_t i = 0; i < a->reply->orphans_count; i++)
		if (!a->reply->orphans[i].taken)
			at[count++] = (struct location){a->reply->orphans[i].sha256, a->reply->orphans[i].number};
	TRY(drop_known(a, ctx, at, &count, e));
	if (!count)
		return ERR_OK;
	FAULT_POINT("audit-before-remove");
	if (b->driver->remove(b->conn, at, count, e) != ERR_OK)
		return name_backend(a, e);
	FAULT_POINT("audit-after-remove");
	note_removed(a, at, count);
	return ERR_OK;
}

/* ---- a page ---- */

static int64_t count_upto(const struct entry *list, size_t count, int64_t upto, bool own_only)
{
	int64_t n = 0;

	for (size_t i = 0; i < count && list[i].at.number <= upto; i++)
		n += !own_only || list[i].own;
	return n;
}

enum err_code audit_page(struct store *s, TALLOC_CTX *ctx, const struct audit_order *order,
                         struct store_audit_reply *reply, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct audit a = {.store = s, .ctx = ctx, .order = order, .reply = reply};
	struct look *l = &a.look;

	TRY(look(&a, scratch, l, e));
	compare(&a, l);
	for (int i = 0; i < 2 && has_unexplained(&a); i++) {
		pause_ms(i * AUDIT_PAUSE_MS);
		TRY(look_again(&a, e));
	}
	reply->orphans = talloc_zero_array(ctx, struct audit_orphan, a.suspect_count + 1);
	reply->missing = talloc_zero_array(ctx, struct audit_missing, a.suspect_count + 1);
	ASSERT(reply->orphans && reply->missing);
	TRY(judge(&a, e));
	if (order->remove_orphans)
		TRY(remove_orphans(&a, e));
	reply->listed = count_upto(l->listed, l->listed_count, l->upto, false);
	reply->rows = count_upto(l->rows, l->row_count, l->upto, true);
	reply->more = l->upto < INT64_MAX;
	reply->last = reply->more ? l->upto : order->after;
	return ERR_OK;
}
