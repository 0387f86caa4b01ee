/* Which images name which sets, and the sweep of those that none names. */
#include "services/catalog/array.h"
#include "services/catalog/set.h"

#define MARK_BATCH 100
#define MEMBER_BATCH 5000

static enum err_code check_all_found(const struct image_set *sets, size_t count, const struct db_rows *rows,
                                     struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		bool found = false;

		for (size_t row = 0; row < db_count(rows) && !found; row++) {
			struct digest digest = db_digest(rows, row, 1);

			found = digest_equal(&digest, &sets[i].digest);
		}
		if (!found)
			return ERR(e, ERR_CONFLICT, "package set %s (%s) is not complete", sets[i].type,
			           digest_text(&sets[i].digest).text);
	}
	return ERR_OK;
}

enum err_code set_use(struct db *db, int64_t image, const struct image_set *sets, size_t count, int64_t *packages,
                      struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *digests = array_new(ctx), *ids = array_new(ctx);
	struct db_rows *rows;

	*packages = 0;
	for (size_t i = 0; i < count; i++)
		array_add_digest(digests, &sets[i].digest);
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id, digest, packages FROM catalog.package_set WHERE digest = ANY ($1::bytea[])"
	             " AND state = 'complete' ORDER BY id FOR KEY SHARE",
	             array_param(digests)));
	TRY(check_all_found(sets, count, rows, e));
	for (size_t i = 0; i < db_count(rows); i++) {
		array_add_number(ids, db_number(rows, i, 0));
		*packages += db_number(rows, i, 2);
	}
	TRY(db_query(db, ctx, NULL, e,
	             "DELETE FROM catalog.image_set WHERE image = $1 AND NOT set_id = ANY ($2::bigint[])",
	             DB_NUMBER(image), array_param(ids)));
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.image_set (image, set_id) SELECT $1::bigint, s FROM unnest($2::bigint[]) s"
	                " ON CONFLICT DO NOTHING",
	                DB_NUMBER(image), array_param(ids));
}

enum err_code set_use_none(struct db *db, int64_t image, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.image_set WHERE image = $1", DB_NUMBER(image));
}

/* ---- sweeping ---- */

/* A job of any account may have touched it, since sets are shared. */
#define UNUSED_SET                                                                                                     \
	" s.digest IS NOT NULL AND s.touched_at <= catalog.now_ms() - $1::bigint"                                      \
	" AND NOT EXISTS (SELECT 1 FROM catalog.image_set x WHERE x.set_id = s.id)"                                    \
	" AND NOT EXISTS (SELECT 1 FROM catalog.job j WHERE j.state = 'leased' AND j.leased_at <= s.touched_at)"

enum err_code set_mark_unused(struct db *db, int64_t grace_ms, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *ids = array_new(ctx);
	struct db_rows *rows;

	/* As for layers: lock first, then decide with a snapshot that is younger than the locks. */
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT s.id FROM catalog.package_set s WHERE" UNUSED_SET
	             " ORDER BY s.id LIMIT $2 FOR UPDATE SKIP LOCKED",
	             DB_NUMBER(grace_ms), DB_NUMBER(MARK_BATCH)));
	for (size_t i = 0; i < db_count(rows); i++)
		array_add_number(ids, db_number(rows, i, 0));
	TRY(db_query(db, ctx, &rows, e,
	             "UPDATE catalog.package_set s SET digest = NULL WHERE s.id = ANY ($2::bigint[]) AND" UNUSED_SET,
	             DB_NUMBER(grace_ms), array_param(ids)));
	*count = db_affected(rows);
	return ERR_OK;
}

#define NOBODYS " AND NOT EXISTS (SELECT 1 FROM catalog.set_member m WHERE m.package = p.id)"

/* Of these packages, those that no set has. One that somebody is adding to a set is locked, and stepped over. */
static enum err_code remove_packages(struct db *db, struct array *packages, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *nobodys = array_new(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT p.id FROM catalog.package p WHERE p.id = ANY ($1::bigint[])" NOBODYS
	             " FOR UPDATE SKIP LOCKED",
	             array_param(packages)));
	for (size_t i = 0; i < db_count(rows); i++)
		array_add_number(nobodys, db_number(rows, i, 0));
	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.package p WHERE p.id = ANY ($1::bigint[])" NOBODYS,
	                array_param(nobodys));
}

enum err_code set_remove_strays(struct db *db, int64_t *after, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *packages = array_new(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT id FROM catalog.package WHERE id > $1 ORDER BY id LIMIT $2",
	             DB_NUMBER(*after), DB_NUMBER(MEMBER_BATCH)));
	for (size_t i = 0; i < db_count(rows); i++)
		array_add_number(packages, db_number(rows, i, 0));
	*after = db_count(rows) == MEMBER_BATCH ? db_number(rows, MEMBER_BATCH - 1, 0) : 0;
	return remove_packages(db, packages, e);
}

static enum err_code remove_members(struct db *db, int64_t set, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *packages = array_new(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "DELETE FROM catalog.set_member WHERE set_id = $1 AND position IN (SELECT position FROM"
	             " catalog.set_member WHERE set_id = $1 ORDER BY position LIMIT $2) RETURNING package",
	             DB_NUMBER(set), DB_NUMBER(MEMBER_BATCH)));
	*count = db_count(rows);
	for (size_t i = 0; i < *count; i++)
		array_add_number(packages, db_number(rows, i, 0));
	return *count > 0 ? remove_packages(db, packages, e) : ERR_OK;
}

enum err_code set_remove_some(struct db *db, bool *more, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	size_t count;

	*more = false;
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT id FROM catalog.package_set WHERE digest IS NULL ORDER BY id LIMIT 1"
	             " FOR UPDATE SKIP LOCKED"));
	if (db_count(rows) == 0)
		return ERR_OK;
	*more = true;
	TRY(remove_members(db, db_number(rows, 0, 0), &count, e));
	if (count == MEMBER_BATCH)
		return ERR_OK;
	return db_query(db, ctx, NULL, e, "DELETE FROM catalog.package_set WHERE id = $1",
	                DB_NUMBER(db_number(rows, 0, 0)));
}
