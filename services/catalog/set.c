#include "services/catalog/set.h"

#include "proto/document/package_set.h"
#include "services/catalog/array.h"
#include "services/catalog/package_rows.h"
#include "services/catalog/stored.h"

#include <inttypes.h>
#include <stdlib.h>

#define VERIFY_PAGE 2000

/* ---- a part ---- */

static enum err_code check_request(const struct set_put_request *r, struct err *e)
{
	if (r->part >= r->parts)
		return ERR(e, ERR_INVALID, "part %" PRId64 " of a set of %" PRId64, r->part, r->parts);
	for (size_t i = 1; i < r->packages_count; i++)
		if (package_set_compare(&r->packages[i - 1], &r->packages[i]) >= 0)
			return ERR(e, ERR_INVALID, "package %s %s is not in set order", r->packages[i].name,
			           r->packages[i].version ? r->packages[i].version : "");
	return ERR_OK;
}

/* The sweep removes it. */
static enum err_code drop(struct db *db, int64_t set, struct err *e)
{
	SCRATCH_CTX(ctx);

	return db_query(db, ctx, NULL, e, "UPDATE catalog.package_set SET digest = NULL WHERE id = $1", DB_NUMBER(set));
}

/* The set's row, locked: parts of one set come one after the other. */
static enum err_code claim(struct db *db, const struct set_put_request *r, int64_t *set, bool *complete, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	for (int tries = 0; tries < 2; tries++) {
		TRY(db_query(
		    db, ctx, NULL, e,
		    "INSERT INTO catalog.package_set (digest, type, state, parts) VALUES ($1, $2, 'partial', $3)"
		    " ON CONFLICT (digest) DO NOTHING",
		    DB_DIGEST(&r->digest), DB_TEXT(r->type), DB_NUMBER(r->parts)));
		TRY(db_query(db, ctx, &rows, e,
		             "UPDATE catalog.package_set SET touched_at = catalog.now_ms() WHERE digest = $1"
		             " RETURNING id, state = 'complete', type = $2 AND parts = $3",
		             DB_DIGEST(&r->digest), DB_TEXT(r->type), DB_NUMBER(r->parts)));
		if (db_count(rows) == 0)
			break;
		*set = db_number(rows, 0, 0);
		*complete = db_flag(rows, 0, 1);
		if (*complete || db_flag(rows, 0, 2))
			return ERR_OK;
		/* Somebody cut it another way, and did not finish. */
		TRY(drop(db, *set, e));
	}
	return ERR(e, ERR_CONFLICT, "package set %s is just being removed", digest_text(&r->digest).text);
}

/* Packages in order of their hashes: two transactions that add the same ones then never wait for each other in a
 * circle. */
struct hashed {
	struct digest hash;
	const struct package *package;
};

static int compare_hashed(const void *a, const void *b)
{
	return digest_compare(&((const struct hashed *)a)->hash, &((const struct hashed *)b)->hash);
}

static const char *or_null(const char *text)
{
	return text && *text ? text : NULL;
}

static enum err_code add_packages(struct db *db, const struct hashed *sorted, size_t count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *columns[8];

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		columns[i] = array_new(ctx);
	for (size_t i = 0; i < count; i++) {
		const struct package *p = sorted[i].package;

		array_add_digest(columns[0], &sorted[i].hash);
		array_add_text(columns[1], p->type);
		array_add_text(columns[2], p->name);
		array_add_text(columns[3], p->version ? p->version : "");
		array_add_text(columns[4], or_null(p->arch));
		array_add_text(columns[5], p->purl);
		array_add_text(columns[6], or_null(p->source));
		array_add_text(columns[7], stored_texts_write(ctx, &p->licenses));
	}
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.package (hash, type, name, version, arch, purl, source, licenses)"
	                " SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
	                " $7::text[], $8::text[]) AS u (hash) ORDER BY u.hash ON CONFLICT (hash) DO NOTHING",
	                array_param(columns[0]), array_param(columns[1]), array_param(columns[2]),
	                array_param(columns[3]), array_param(columns[4]), array_param(columns[5]),
	                array_param(columns[6]), array_param(columns[7]));
}

static enum err_code add_members(struct db *db, int64_t set, int64_t first, const struct hashed *in_order, size_t count,
                                 struct err *e)
{
	SCRATCH_CTX(ctx);
	struct array *hashes = array_new(ctx), *locations = array_new(ctx);
	struct db_rows *rows;

	for (size_t i = 0; i < count; i++) {
		array_add_digest(hashes, &in_order[i].hash);
		array_add_text(locations, or_null(in_order[i].package->location));
	}
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.set_member (set_id, position, package, location)"
	             " SELECT $1::bigint, $2::bigint + u.n - 1, p.id, u.location"
	             " FROM unnest($3::bytea[], $4::text[]) WITH ORDINALITY AS u (hash, location, n)"
	             " JOIN catalog.package p ON p.hash = u.hash",
	             DB_NUMBER(set), DB_NUMBER(first), array_param(hashes), array_param(locations)));
	if (db_affected(rows) != count)
		return ERR(e, ERR_CONFLICT, "packages of the set were swept in this moment");
	return ERR_OK;
}

static enum err_code add_part(struct db *db, const struct set_put_request *r, int64_t set, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct hashed *in_order = talloc_zero_array(ctx, struct hashed, r->packages_count + 1), *sorted;
	struct db_rows *rows;

	ASSERT(in_order);
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.set_part (set_id, part) VALUES ($1, $2) ON CONFLICT DO NOTHING",
	             DB_NUMBER(set), DB_NUMBER(r->part)));
	if (db_affected(rows) == 0 || r->packages_count == 0)
		return ERR_OK;
	for (size_t i = 0; i < r->packages_count; i++)
		in_order[i] = (struct hashed){package_digest(&r->packages[i]), &r->packages[i]};
	sorted = talloc_memdup(ctx, in_order, r->packages_count * sizeof(*sorted));
	ASSERT(sorted);
	qsort(sorted, r->packages_count, sizeof(*sorted), compare_hashed);
	TRY(add_packages(db, sorted, r->packages_count, e));
	return add_members(db, set, r->part * SET_PART_MAX, in_order, r->packages_count, e);
}

/* ---- the whole ---- */

/* Reads the set back and computes what it is; *ordered: it is in set order across its parts, too. */
static enum err_code measure(struct db *db, int64_t set, struct digest *digest, int64_t *packages, bool *ordered,
                             struct err *e)
{
	SCRATCH_CTX(ctx);
	struct package_set_hash *hash = package_set_hash_new(ctx);
	TALLOC_CTX *page = talloc_new(ctx), *before_page = NULL;
	struct package before;
	int64_t after = -1;
	size_t count;

	*packages = 0;
	*ordered = true;
	do {
		struct db_rows *rows;

		TRY(package_page(db, page, set, after, VERIFY_PAGE, &rows, e));
		count = db_count(rows);
		for (size_t i = 0; i < count; i++) {
			struct package package;

			TRY(package_from_row(rows, i, 1, page, &package, e));
			*ordered = *ordered && (*packages == 0 || package_set_compare(&before, &package) < 0);
			package_set_hash_add(hash, &package);
			before = package;
			after = db_number(rows, i, 0);
			++*packages;
		}
		/* The last package of a page is compared with the first of the next one. */
		talloc_free(before_page);
		before_page = page;
		page = talloc_new(ctx);
	} while (count == VERIFY_PAGE);
	*digest = package_set_hash_finish(hash);
	return ERR_OK;
}

static enum err_code seal(struct db *db, int64_t set, int64_t packages, struct err *e)
{
	SCRATCH_CTX(ctx);

	TRY(db_query(db, ctx, NULL, e, "DELETE FROM catalog.set_part WHERE set_id = $1", DB_NUMBER(set)));
	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.package_set SET state = 'complete', packages = $2 WHERE id = $1",
	                DB_NUMBER(set), DB_NUMBER(packages));
}

static enum err_code finish(struct db *db, const struct set_put_request *r, int64_t set, enum set_outcome *outcome,
                            struct err *e)
{
	SCRATCH_CTX(ctx);
	struct digest digest;
	struct db_rows *rows;
	int64_t packages;
	bool ordered = true;

	TRY(db_query(db, ctx, &rows, e, "SELECT count(*) FROM catalog.set_part WHERE set_id = $1", DB_NUMBER(set)));
	if (db_number(rows, 0, 0) < r->parts) {
		*outcome = SET_PARTIAL;
		return ERR_OK;
	}
	if (r->parts == 1) {
		digest = package_set_digest(r->packages, r->packages_count);
		packages = (int64_t)r->packages_count;
	} else {
		TRY(measure(db, set, &digest, &packages, &ordered, e));
	}
	if (!ordered || !digest_equal(&digest, &r->digest)) {
		*outcome = SET_CORRUPT;
		return drop(db, set, e);
	}
	*outcome = SET_COMPLETE;
	return seal(db, set, packages, e);
}

enum err_code set_put(struct db *db, const struct set_put_request *request, enum set_outcome *outcome, struct err *e)
{
	int64_t set;
	bool complete;

	TRY(check_request(request, e));
	TRY(claim(db, request, &set, &complete, e));
	*outcome = SET_COMPLETE;
	if (complete)
		return ERR_OK;
	TRY(add_part(db, request, set, e));
	return finish(db, request, set, outcome, e);
}

enum err_code set_need(struct db *db, TALLOC_CTX *ctx, const struct proto_digests *sets, struct proto_digests *missing,
                       struct err *e)
{
	struct array *digests = array_new(ctx);
	struct db_rows *rows;

	for (size_t i = 0; i < sets->count; i++)
		array_add_digest(digests, &sets->items[i]);
	TRY(db_query(db, ctx, &rows, e,
	             "WITH found AS (SELECT id FROM catalog.package_set WHERE digest = ANY ($1::bytea[])"
	             " AND state = 'complete' ORDER BY id FOR NO KEY UPDATE)"
	             " UPDATE catalog.package_set s SET touched_at = catalog.now_ms() FROM found WHERE s.id = found.id"
	             " RETURNING s.digest",
	             array_param(digests)));
	missing->items = talloc_zero_array(ctx, struct digest, sets->count + 1);
	ASSERT(missing->items);
	missing->count = 0;
	for (size_t i = 0; i < sets->count; i++) {
		bool found = false;

		for (size_t row = 0; row < db_count(rows) && !found; row++) {
			struct digest digest = db_digest(rows, row, 0);

			found = digest_equal(&digest, &sets->items[i]);
		}
		if (!found)
			missing->items[missing->count++] = sets->items[i];
	}
	return ERR_OK;
}
