#include "services/catalog/tag.h"

#include "services/catalog/event.h"

#include <string.h>

char *tag_name(TALLOC_CTX *ctx, const struct reference *reference)
{
	char *name;

	if (!*reference->tag)
		return NULL;
	name = talloc_asprintf(ctx, "%s/%s:%s", reference->registry, reference->repository, reference->tag);
	ASSERT(name);
	return name;
}

/* What the tag names so far, locked; none when it is new. */
static enum err_code current(struct db *db, TALLOC_CTX *ctx, const char *account, const char *name,
                             struct digest *digest, struct err *e)
{
	struct db_rows *rows;

	*digest = (struct digest){0};
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT i.digest FROM catalog.tag t JOIN catalog.image i ON i.id = t.image"
	             " WHERE t.account = $1 AND t.name = $2 FOR UPDATE OF t",
	             DB_TEXT(account), DB_TEXT(name)));
	if (db_count(rows) > 0)
		*digest = db_digest(rows, 0, 0);
	return ERR_OK;
}

static enum err_code remember(struct db *db, TALLOC_CTX *ctx, const char *account, const char *name,
                              const struct digest *digest, struct err *e)
{
	TRY(db_query(
	    db, ctx, NULL, e,
	    "INSERT INTO catalog.tag_history (account, name, digest) SELECT $1, $2, $3 WHERE $3 IS DISTINCT FROM"
	    " (SELECT digest FROM catalog.tag_history WHERE account = $1 AND name = $2 ORDER BY id DESC LIMIT 1)",
	    DB_TEXT(account), DB_TEXT(name), DB_DIGEST(digest)));
	return db_query(db, ctx, NULL, e,
	                "DELETE FROM catalog.tag_history WHERE account = $1 AND name = $2 AND id <= (SELECT id FROM"
	                " catalog.tag_history WHERE account = $1 AND name = $2 ORDER BY id DESC OFFSET $3 LIMIT 1)",
	                DB_TEXT(account), DB_TEXT(name), DB_NUMBER(TAG_HISTORY_MAX));
}

enum err_code tag_set(struct db *db, const char *account, const struct reference *reference, int64_t image,
                      const struct digest *digest, struct err *e)
{
	SCRATCH_CTX(ctx);
	char *name = tag_name(ctx, reference);
	struct digest before;
	struct event event = {.account = account, .subject = name};

	if (!name)
		return ERR_OK;
	TRY(current(db, ctx, account, name, &before, e));
	if (digest_equal(&before, digest))
		return ERR_OK;
	TRY(db_query(db, ctx, NULL, e,
	             "INSERT INTO catalog.tag (account, name, registry, repository, tag, image)"
	             " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, name)"
	             " DO UPDATE SET image = excluded.image, since = catalog.now_ms()",
	             DB_TEXT(account), DB_TEXT(name), DB_TEXT(reference->registry), DB_TEXT(reference->repository),
	             DB_TEXT(reference->tag), DB_NUMBER(image)));
	TRY(remember(db, ctx, account, name, digest, e));
	event.kind = digest_is_none(&before) ? "tag.added" : "tag.moved";
	event.message = digest_is_none(&before) ? talloc_asprintf(ctx, "names %s", digest_text(digest).text)
	                                        : talloc_asprintf(ctx, "from %s to %s", digest_text(&before).text,
	                                                          digest_text(digest).text);
	return event_add(db, &event, e);
}

enum err_code tag_history_read(struct db *db, TALLOC_CTX *ctx, const char *account, const char *reference,
                               struct image_history_reply *reply, struct err *e)
{
	struct reference r;
	struct db_rows *rows;
	char *name;

	TRY(reference_parse(reference, &r, e));
	name = tag_name(ctx, &r);
	if (!name)
		return ERR(e, ERR_INVALID, "reference '%.160s' has no tag, and only tags have a history", reference);
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT h.digest, h.seen_at, i.status FROM catalog.tag_history h LEFT JOIN catalog.image i"
	             " ON i.account = h.account AND i.digest = h.digest AND i.state <> 'deleting'"
	             " WHERE h.account = $1 AND h.name = $2 ORDER BY h.id DESC LIMIT $3",
	             DB_TEXT(account), DB_TEXT(name), DB_NUMBER(TAG_HISTORY_MAX)));
	if (db_count(rows) == 0)
		return ERR(e, ERR_NOT_FOUND, "tag %s was never seen in account %s", name, account);
	reply->reference = name;
	reply->changes_count = db_count(rows);
	reply->changes = talloc_zero_array(ctx, struct tag_change, reply->changes_count);
	ASSERT(reply->changes);
	for (size_t i = 0; i < reply->changes_count; i++)
		reply->changes[i] = (struct tag_change){
		    .digest = db_digest(rows, i, 0),
		    .seen_at = db_number(rows, i, 1),
		    .status = analysis_status_value(db_text(rows, i, 2)),
		};
	return ERR_OK;
}

char *tag_like(TALLOC_CTX *ctx, const char *text)
{
	char *like = talloc_size(ctx, 2 * strlen(text) + 1), *to = like;

	ASSERT(like);
	for (; *text; text++) {
		if (strchr("%_\\", *text))
			*to++ = '\\';
		*to++ = (char)(*text == '*' ? '%' : *text);
	}
	*to = '\0';
	return like;
}

enum err_code tag_pattern(TALLOC_CTX *ctx, const char *pattern, const char **like, bool *exact, struct err *e)
{
	struct reference r;

	*exact = !strchr(pattern, '*');
	if (!*exact) {
		*like = tag_like(ctx, pattern);
		return ERR_OK;
	}
	TRY(reference_parse(pattern, &r, e));
	*like = tag_name(ctx, &r);
	if (!*like)
		return ERR(e, ERR_INVALID, "'%.160s' has no tag", pattern);
	return ERR_OK;
}
