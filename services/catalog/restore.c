#include "services/catalog/restore.h"

#include "services/catalog/account.h"
#include "services/catalog/array.h"
#include "services/catalog/detail.h"
#include "services/catalog/event.h"
#include "services/catalog/job.h"
#include "services/catalog/layer.h"
#include "services/catalog/result.h"
#include "services/catalog/set.h"
#include "services/catalog/set_store.h"
#include "services/catalog/stored.h"
#include "services/catalog/tag.h"

#include <inttypes.h>
#include <string.h>

#define PACKAGES_BYTES_MAX (256 * MIB)

/* ---- going ---- */

enum err_code restore_export(struct db *db, TALLOC_CTX *ctx, struct image *image, struct portable *p, struct err *e)
{
	const struct digest_text name = digest_text(&image->digest);

	if (!image->analysed_at)
		return ERR(e, ERR_PRECONDITION, "image %s was never analysed: it is %s", name.text,
		           analysis_status_text(image->status));
	if (image->status != ANALYSIS_ANALYSED)
		return ERR(e, ERR_CONFLICT, "image %s is being analysed again", name.text);
	if (image->residence == RESIDENCE_ARCHIVED)
		return ERR(e, ERR_PRECONDITION, "image %s is in the archive only", name.text);
	return detail_read(db, ctx, image->id, &p->image, &p->documents, e);
}

enum err_code restore_note_archived(struct db *db, struct image *image, int64_t analysed_at, struct err *e)
{
	SCRATCH_CTX(ctx);

	if (image->residence != RESIDENCE_ARCHIVED && analysed_at && analysed_at != image->analysed_at)
		return ERR(e, ERR_PRECONDITION, "image %s was analysed again: %" PRId64 ", the copy is of %" PRId64,
		           digest_text(&image->digest).text, image->analysed_at, analysed_at);
	TRY(db_query(db, ctx, NULL, e, "UPDATE catalog.image SET archived_analysis = $2 WHERE id = $1",
	             DB_NUMBER(image->id), DB_NUMBER(analysed_at ? analysed_at : image->analysed_at)));
	if (image->residence != RESIDENCE_WORKING)
		return ERR_OK;
	return image_move(db, image, image->state, RESIDENCE_BOTH, e);
}

/* ---- coming back: the intent ---- */

static enum err_code add_tags(struct db *db, const char *account, const struct image *image, const struct portable *p,
                              struct err *e)
{
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < p->image.tags.count; i++) {
		struct reference r;
		struct db_rows *rows;

		TRY(reference_parse(p->image.tags.items[i], &r, e));
		TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.tag WHERE account = $1 AND name = $2",
		             DB_TEXT(account), DB_TEXT(tag_name(ctx, &r))));
		/* A name that another image has meanwhile stays with it. */
		if (db_count(rows) == 0)
			TRY(tag_set(db, account, &r, image->id, &image->digest, e));
	}
	return ERR_OK;
}

static enum err_code make_row(struct db *db, TALLOC_CTX *ctx, const char *account, const struct portable *p,
                              struct image *image, struct err *e)
{
	const struct image_detail *d = &p->image;
	struct db_rows *rows;
	bool found;

	TRY(account_check(db, account, e));
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.image (account, digest, status, residence, source, reference, platform,"
	             " parent_digest, annotations, added_at, analysed_at, archived_analysis)"
	             " VALUES ($1, $2, 'analysed', 'archived', $3, $4, $5, $6, $7, $8, $9, $9)"
	             " ON CONFLICT (account, digest) DO NOTHING",
	             DB_TEXT(account), DB_DIGEST(&d->digest),
	             DB_TEXT(d->source ? image_source_text(d->source) : image_source_text(IMAGE_FROM_REGISTRY)),
	             DB_TEXT(d->reference), DB_TEXT(d->platform),
	             digest_is_none(&d->parent_digest) ? DB_NULL : DB_DIGEST(&d->parent_digest),
	             DB_TEXT(stored_map_write(ctx, &d->annotations)), DB_NUMBER(d->added_at),
	             DB_NUMBER(d->analysed_at)));
	TRY(image_find_digest(db, ctx, account, &d->digest, image, &found, e));
	if (!found)
		return ERR(e, ERR_CONFLICT, "image %s was removed in this moment", digest_text(&d->digest).text);
	return db_affected(rows) == 1 ? add_tags(db, account, image, p, e) : ERR_OK;
}

static enum err_code begin_layers(struct db *db, TALLOC_CTX *ctx, const char *account, const struct portable *p,
                                  bool **skip, struct err *e)
{
	struct array *digests = array_new(ctx), *revisions = array_new(ctx);
	struct db_rows *rows;

	*skip = talloc_zero_array(ctx, bool, p->image.layers_count + 1);
	ASSERT(*skip);
	for (size_t i = 0; i < p->image.layers_count; i++) {
		array_add_digest(digests, &p->image.layers[i].digest);
		array_add_text(revisions, p->image.layers[i].revision);
	}
	/* A layer being deleted is left out here, and then missed by layer_use. */
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.layer AS l (account, digest, revision, state)"
	             " SELECT DISTINCT $1::text, u.digest, u.revision, 'pending' FROM unnest($2::bytea[], $3::text[])"
	             " AS u (digest, revision) ORDER BY 2, 3 ON CONFLICT (account, digest, revision)"
	             " DO UPDATE SET touched_at = catalog.now_ms() WHERE l.state <> 'deleting'"
	             " RETURNING l.digest, l.revision, l.state",
	             DB_TEXT(account), array_param(digests), array_param(revisions)));
	for (size_t i = 0; i < p->image.layers_count; i++)
		for (size_t row = 0; row < db_count(rows); row++) {
			struct digest digest = db_digest(rows, row, 0);

			if (digest_equal(&digest, &p->image.layers[i].digest) &&
			    strcmp(db_text(rows, row, 1), p->image.layers[i].revision) == 0)
				(*skip)[i] = strcmp(db_text(rows, row, 2), "known") == 0;
		}
	return ERR_OK;
}

static enum err_code check_layers(const struct portable *p, struct err *e)
{
	for (size_t i = 0; i < p->image.layers_count; i++)
		if (!p->image.layers[i].revision || !*p->image.layers[i].revision)
			return ERR(e, ERR_CORRUPT, "layer %s of the record has no revision",
			           digest_text(&p->image.layers[i].digest).text);
	return ERR_OK;
}

/* Locked, and with no analysis under way. */
static enum err_code lock_idle(struct db *db, TALLOC_CTX *ctx, struct image *image, struct err *e)
{
	TRY(image_lock(db, ctx, image->id, image, e));
	TRY(image_check_present(image, e));
	if (image->status == ANALYSIS_QUEUED || image->status == ANALYSIS_ANALYSING)
		return ERR(e, ERR_CONFLICT, "image %s is being analysed by job %" PRId64,
		           digest_text(&image->digest).text, image->job);
	return ERR_OK;
}

enum err_code restore_begin(struct db *db, TALLOC_CTX *ctx, const char *account, const struct portable *p, bool **skip,
                            bool *needless, struct err *e)
{
	struct image image;

	TRY(check_layers(p, e));
	TRY(make_row(db, ctx, account, p, &image, e));
	TRY(lock_idle(db, ctx, &image, e));
	*needless = image.residence != RESIDENCE_ARCHIVED;
	if (*needless)
		return ERR_OK;
	TRY(begin_layers(db, ctx, account, p, skip, e));
	return layer_use(db, account, image.id, p->image.layers, p->image.layers_count, true, e);
}

/* ---- coming back: the end ---- */

static enum err_code know_layers(struct db *db, TALLOC_CTX *ctx, const char *account, const struct portable *p,
                                 struct err *e)
{
	enum { DIGEST, REVISION, DIFF_ID, SIZE, CONTENT, ENTRIES, COLUMNS };
	struct array *c[COLUMNS];

	for (size_t i = 0; i < COLUMNS; i++)
		c[i] = array_new(ctx);
	for (size_t i = 0; i < p->image.layers_count; i++) {
		const struct layer_item *l = &p->image.layers[i];

		array_add_digest(c[DIGEST], &l->digest);
		array_add_text(c[REVISION], l->revision);
		array_add_digest(c[DIFF_ID], &l->diff_id);
		array_add_number(c[SIZE], l->size);
		array_add_number(c[CONTENT], l->content_bytes);
		array_add_number(c[ENTRIES], l->entries);
	}
	return db_query(db, ctx, NULL, e,
	                "UPDATE catalog.layer l SET state = 'known', diff_id = u.diff_id, size = u.size,"
	                " content_bytes = u.content, entries = u.entries, touched_at = catalog.now_ms()"
	                " FROM unnest($2::bytea[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[])"
	                " AS u (digest, revision, diff_id, size, content, entries)"
	                " WHERE l.account = $1 AND l.digest = u.digest AND l.revision = u.revision"
	                " AND l.state = 'pending'",
	                DB_TEXT(account), array_param(c[DIGEST]), array_param(c[REVISION]), array_param(c[DIFF_ID]),
	                array_param(c[SIZE]), array_param(c[CONTENT]), array_param(c[ENTRIES]));
}

static enum err_code write_result(struct db *db, struct image *image, const struct portable *p, struct err *e)
{
	const struct image_detail *d = &p->image;
	struct result result = {
	    .platform = d->platform,
	    .created_at = d->created_at,
	    .size = d->size,
	    .files = d->files,
	    .analysed_at = d->analysed_at,
	    .distribution = d->distribution,
	    .cost = d->cost,
	    .incomplete = &d->incomplete,
	    .documents = &p->documents,
	};

	TRY(set_use(db, image->id, d->sets, d->sets_count, &result.packages, e));
	TRY(result_write_layers(db, image->id, d->layers, d->layers_count, e));
	return result_write(db, image->id, &result, e);
}

struct finish {
	TALLOC_CTX *ctx;
	const char *account;
	const struct portable *p;
	struct proto_digests missing; /* sets */
};

static enum err_code finish(struct db *db, void *arg, struct err *e)
{
	struct finish *f = arg;
	const struct image_detail *d = &f->p->image;
	struct digest_text subject = digest_text(&d->digest);
	struct event event = {.account = f->account, .kind = "image.restored", .subject = subject.text};
	struct image image;
	bool found;

	TRY(image_find_digest(db, f->ctx, f->account, &d->digest, &image, &found, e));
	if (!found)
		return ERR(e, ERR_CONFLICT, "image %s was removed: begin again", subject.text);
	TRY(lock_idle(db, f->ctx, &image, e));
	if (image.residence != RESIDENCE_ARCHIVED)
		return ERR_OK;
	TRY(layer_use(db, f->account, image.id, d->layers, d->layers_count, true, e));
	TRY(know_layers(db, f->ctx, f->account, f->p, e));
	TRY(write_result(db, &image, f->p, e));
	TRY(image_move(db, &image, IMAGE_PRESENT, RESIDENCE_BOTH, e));
	return event_add(db, &event, e);
}

static enum err_code find_missing(struct db *db, void *arg, struct err *e)
{
	struct finish *f = arg;
	struct proto_digests sets = {.items = talloc_zero_array(f->ctx, struct digest, f->p->image.sets_count + 1),
	                             .count = f->p->image.sets_count};

	ASSERT(sets.items);
	for (size_t i = 0; i < sets.count; i++)
		sets.items[i] = f->p->image.sets[i].digest;
	return set_need(db, f->ctx, &sets, &f->missing, e);
}

static enum err_code make_sets(struct catalog *c, struct finish *f, struct err *e)
{
	const struct image_detail *d = &f->p->image;
	char *key = talloc_asprintf(f->ctx, "%s/" PORTABLE_PACKAGES_DOCUMENT, digest_hex(&d->digest).text);
	struct portable_set *sets;
	void *text;
	size_t len;

	TRY(c->objects.get(c->objects.arg, f->ctx, f->account, "images", key, PACKAGES_BYTES_MAX, &text, &len, e));
	TRY(portable_read_packages(f->ctx, f->p, text, len, &sets, e));
	for (size_t i = 0; i < d->sets_count; i++)
		TRY(set_store_whole(c->db, sets[i].set, sets[i].packages, sets[i].count, e));
	return ERR_OK;
}

enum err_code restore_finish(struct catalog *c, TALLOC_CTX *ctx, const char *account, const struct portable *p,
                             struct err *e)
{
	struct finish f = {.ctx = ctx, .account = account, .p = p};

	TRY(check_layers(p, e));
	TRY(db_transaction(c->db, find_missing, &f, e));
	if (f.missing.count > 0)
		TRY(make_sets(c, &f, e));
	return db_transaction(c->db, finish, &f, e);
}
