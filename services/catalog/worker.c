#include "services/catalog/worker.h"

#define NOTE_EVERY_MS 5000 /* no more often: an idle worker asks again and again */
#define ALIVE_MS 15000     /* a note, the request that waits, the next note */
#define SHOWN_MS 60000
#define WORKERS_MAX 1000

enum err_code worker_note(struct db *db, const char *name, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.worker AS w (name, seen_at) VALUES ($1, catalog.now_ms())"
	                " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at"
	                " WHERE w.seen_at < excluded.seen_at - $2::bigint",
	                DB_TEXT(name), DB_NUMBER(NOTE_EVERY_MS));
}

enum err_code worker_leave(struct db *db, const char *name, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.worker (name, seen_at, left_at)"
	                " VALUES ($1, catalog.now_ms(), catalog.now_ms())"
	                " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, left_at = excluded.left_at",
	                DB_TEXT(name));
}

enum err_code worker_has_left(struct db *db, const char *name, bool *left, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.worker WHERE name = $1 AND left_at IS NOT NULL",
	             DB_TEXT(name)));
	*left = db_count(rows) > 0;
	return ERR_OK;
}

enum err_code worker_list(struct db *db, TALLOC_CTX *ctx, int64_t lease_ms, struct worker_item **items, size_t *count,
                          struct err *e)
{
	struct db_rows *rows;

	/* A worker whose slots are all busy asks for nothing, but renews its leases. */
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT coalesce(w.name, j.worker), coalesce(j.jobs, 0),"
	             " greatest(catalog.now_ms() - greatest(w.seen_at, j.renewed_at), 0)"
	             " FROM (SELECT name, seen_at FROM catalog.worker WHERE left_at IS NULL"
	             "  AND seen_at > catalog.now_ms() - $1::bigint) w"
	             " FULL JOIN (SELECT worker, count(*) AS jobs, max(lease_until) - $2::bigint AS renewed_at"
	             "  FROM catalog.job WHERE state = 'leased' GROUP BY worker) j ON j.worker = w.name"
	             " ORDER BY 1 LIMIT $3",
	             DB_NUMBER(SHOWN_MS), DB_NUMBER(lease_ms), DB_NUMBER(WORKERS_MAX)));
	*count = db_count(rows);
	*items = talloc_zero_array(ctx, struct worker_item, *count + 1);
	ASSERT(*items);
	for (size_t i = 0; i < *count; i++)
		(*items)[i] = (struct worker_item){
		    .worker = db_text(rows, i, 0),
		    .jobs = db_number(rows, i, 1),
		    .seen_ms = db_number(rows, i, 2),
		    .alive = db_number(rows, i, 2) < ALIVE_MS,
		};
	return ERR_OK;
}
