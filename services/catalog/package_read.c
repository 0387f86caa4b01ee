#include "services/catalog/package_read.h"

#include "services/catalog/array.h"
#include "services/catalog/budget.h"
#include "services/catalog/package_rows.h"
#include "services/catalog/stored.h"
#include "services/catalog/tag.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500
#define HIT_PAGE 100
#define HIT_TAGS 50

/* Types that a word of a user stands for, as an argument of = ANY. SQL NULL: all. */
static struct db_param types_of(TALLOC_CTX *ctx, const char *word)
{
	static const char *const os[] = {"dpkg", "deb", "apk", "rpm"};
	struct array *types;

	if (!word || !*word)
		return DB_NULL;
	types = array_new(ctx);
	if (strcmp(word, "os") != 0)
		array_add_text(types, word);
	else
		for (size_t i = 0; i < ARRAY_SIZE(os); i++)
			array_add_text(types, os[i]);
	return array_param(types);
}

/* "1.22.333": numbers that are not negative, with dots between them. No text leaves them as they are. */
static bool read_cursor(const char *text, int64_t *const *numbers, size_t count)
{
	char *end;

	if (!text || !*text)
		return true;
	for (size_t i = 0; i < count; i++) {
		if (*text < '0' || *text > '9')
			return false;
		errno = 0;
		*numbers[i] = strtoll(text, &end, 10);
		if (errno || *end != (i + 1 < count ? '.' : '\0'))
			return false;
		text = end + 1;
	}
	return true;
}

/* ---- of an image ---- */

struct page {
	struct image_packages_reply *reply;
	struct budget budget;
	size_t limit;
	int64_t set, position; /* the last one taken */
	bool full;             /* there is more than fits */
};

static size_t size_of(const struct package *p)
{
	const char *const texts[] = {p->type, p->name, p->version, p->arch, p->purl, p->source, p->location};
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		size += budget_text_size(texts[i]);
	for (size_t i = 0; i < p->licenses.count; i++)
		size += budget_text_size(p->licenses.items[i]);
	return size;
}

/* Takes what still fits of one set. */
static enum err_code take_set(struct db *db, TALLOC_CTX *ctx, struct page *page, int64_t set, int64_t after,
                              struct err *e)
{
	size_t room = page->limit - page->reply->items_count;
	struct db_rows *rows;

	TRY(package_page(db, ctx, set, after, room + 1, &rows, e));
	for (size_t i = 0; i < db_count(rows); i++) {
		struct package *package = &page->reply->items[page->reply->items_count];

		if (i == room) {
			page->full = true;
			return ERR_OK;
		}
		TRY(package_from_row(rows, i, 1, ctx, package, e));
		page->full = !budget_take(&page->budget, size_of(package));
		if (page->full)
			return ERR_OK;
		page->reply->items_count++;
		page->set = set;
		page->position = db_number(rows, i, 0);
	}
	return ERR_OK;
}

static enum err_code sets_of(struct db *db, TALLOC_CTX *ctx, int64_t image, const char *type, struct db_rows **rows,
                             struct err *e)
{
	return db_query(
	    db, ctx, rows, e,
	    "SELECT s.id FROM catalog.image_set x JOIN catalog.package_set s ON s.id = x.set_id"
	    " WHERE x.image = $1 AND ($2::text[] IS NULL OR s.type = ANY ($2::text[])) ORDER BY s.type, s.id",
	    DB_NUMBER(image), types_of(ctx, type));
}

/* Where in the list of sets a page begins. */
static enum err_code find_start(const struct db_rows *sets, int64_t set, size_t *start, struct err *e)
{
	for (*start = 0; set && *start < db_count(sets); ++*start)
		if (db_number(sets, *start, 0) == set)
			return ERR_OK;
	if (set)
		return ERR(e, ERR_CONFLICT, "the image was analysed again: begin with its first page");
	return ERR_OK;
}

enum err_code package_read_image(struct db *db, TALLOC_CTX *ctx, int64_t image,
                                 const struct image_packages_request *request, struct image_packages_reply *reply,
                                 struct err *e)
{
	struct page page = {
	    .reply = reply, .budget = BUDGET_REPLY, .limit = request->limit ? (size_t)request->limit : PAGE};
	struct db_rows *sets;
	int64_t set = 0, after = -1;
	size_t start;

	if (!read_cursor(request->after, (int64_t *const[]){&set, &after}, 2))
		return ERR(e, ERR_INVALID, "\"%.60s\" is no cursor of a page of packages", request->after);
	TRY(sets_of(db, ctx, image, request->type, &sets, e));
	TRY(find_start(sets, set, &start, e));
	reply->items = talloc_zero_array(ctx, struct package, page.limit + 1);
	ASSERT(reply->items);
	for (size_t i = start; i < db_count(sets) && !page.full; i++)
		TRY(take_set(db, ctx, &page, db_number(sets, i, 0), i == start ? after : -1, e));
	if (page.full)
		reply->cursor = talloc_asprintf(ctx, "%" PRId64 ".%" PRId64, page.set, page.position);
	return ERR_OK;
}

/* ---- images that have a package ---- */

struct place { /* in the order of hits; the version is that of the package */
	int64_t package, image, set, position;
};

static enum err_code query_hits(struct db *db, TALLOC_CTX *ctx, const char *account,
                                const struct package_find_request *r, const struct place *after, size_t limit,
                                struct db_rows **rows, struct err *e)
{
	const char *version = r->version && *r->version ? tag_like(ctx, r->version) : NULL;

	/* Tags are looked up for the rows of the page alone. */
	return db_query(db, ctx, rows, e,
	                "SELECT h.*, (SELECT json_agg(n.name)::text FROM (SELECT t.name FROM catalog.tag t"
	                " WHERE t.image = h.image ORDER BY t.name LIMIT $10) n) FROM ("
	                "SELECT i.digest, i.residence, s.type, p.name, p.version, p.purl, m.location,"
	                " p.id AS package, i.id AS image, m.set_id, m.position"
	                " FROM catalog.package p JOIN catalog.set_member m ON m.package = p.id"
	                " JOIN catalog.package_set s ON s.id = m.set_id JOIN catalog.image_set x ON x.set_id = m.set_id"
	                " JOIN catalog.image i ON i.id = x.image"
	                " WHERE i.account = $1 AND p.name = $2 AND ($3::text IS NULL OR p.version LIKE $3)"
	                " AND ($4::text[] IS NULL OR s.type = ANY ($4::text[]) OR p.type = ANY ($4::text[]))"
	                " AND ($5::bigint = 0 OR (p.version, p.id, i.id, m.set_id, m.position) >"
	                " ((SELECT version FROM catalog.package WHERE id = $5), $5::bigint, $6::bigint, $7::bigint,"
	                " $8::bigint))"
	                " ORDER BY p.version, p.id, i.id, m.set_id, m.position LIMIT $9) h"
	                " ORDER BY h.version, h.package, h.image, h.set_id, h.position",
	                DB_TEXT(account), DB_TEXT(r->name), DB_TEXT(version), types_of(ctx, r->type),
	                DB_NUMBER(after->package), DB_NUMBER(after->image), DB_NUMBER(after->set),
	                DB_NUMBER(after->position), DB_NUMBER(limit + 1), DB_NUMBER(HIT_TAGS));
}

static enum err_code read_hit(const struct db_rows *rows, size_t i, TALLOC_CTX *ctx, struct package_hit *hit,
                              struct err *e)
{
	*hit = (struct package_hit){
	    .image = db_digest(rows, i, 0),
	    .residence = residence_value(db_text(rows, i, 1)),
	    .type = db_text(rows, i, 2),
	    .name = db_text(rows, i, 3),
	    .version = db_text(rows, i, 4),
	    .purl = db_text(rows, i, 5),
	    .location = db_text(rows, i, 6),
	    .cursor = talloc_asprintf(ctx, "%s.%s.%s.%s", db_text(rows, i, 7), db_text(rows, i, 8), db_text(rows, i, 9),
	                              db_text(rows, i, 10)),
	};
	return stored_texts_read(ctx, db_text(rows, i, 11), &hit->tags, e);
}

static size_t size_of_hit(const struct package_hit *hit)
{
	size_t size = budget_text_size(hit->name) + budget_text_size(hit->version) + budget_text_size(hit->purl) +
	              budget_text_size(hit->location);

	for (size_t i = 0; i < hit->tags.count; i++)
		size += budget_text_size(hit->tags.items[i]);
	return size;
}

static enum err_code check_package(struct db *db, int64_t id, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	if (!id)
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e, "SELECT 1 FROM catalog.package WHERE id = $1", DB_NUMBER(id)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_CONFLICT, "the package where the last page ended is gone: begin with the first page");
	return ERR_OK;
}

enum err_code package_read_hits(struct db *db, TALLOC_CTX *ctx, const char *account,
                                const struct package_find_request *request, struct package_find_reply *reply,
                                struct err *e)
{
	size_t limit = request->limit ? (size_t)request->limit : HIT_PAGE;
	struct budget budget = BUDGET_REPLY;
	struct place after = {0};
	struct db_rows *rows;

	if (!read_cursor(request->after, (int64_t *const[]){&after.package, &after.image, &after.set, &after.position},
	                 4))
		return ERR(e, ERR_INVALID, "\"%.60s\" is no cursor of a page of hits", request->after);
	TRY(check_package(db, after.package, e));
	TRY(query_hits(db, ctx, account, request, &after, limit, &rows, e));
	reply->items = talloc_zero_array(ctx, struct package_hit, db_count(rows) + 1);
	ASSERT(reply->items);
	for (size_t i = 0; i < MIN(db_count(rows), limit); i++) {
		TRY(read_hit(rows, i, ctx, &reply->items[i], e));
		if (!budget_take(&budget, size_of_hit(&reply->items[i])))
			break;
		reply->items_count++;
	}
	reply->more = db_count(rows) > reply->items_count;
	return ERR_OK;
}
