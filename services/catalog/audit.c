#include "services/catalog/audit.h"

#include "common/log.h"
#include "services/catalog/array.h"
#include "services/catalog/chore.h"

#include <string.h>

/* One page of one bucket of one account. */
struct look {
	const char *account, *bucket, *after;
	struct objects_page page;
	int64_t grace_ms;
	size_t adopted;
	enum err_code (*adopt)(struct db *db, TALLOC_CTX *ctx, struct look *look, struct err *e);
};

/* The first parts of a key, up to that many slashes: what names its owner. NULL: no such key is ours. */
static char *owner_of(TALLOC_CTX *ctx, const char *key, int slashes)
{
	const char *end = key;

	while (slashes-- > 0) {
		end = strchr(end, '/');
		if (!end)
			return NULL;
		end++;
	}
	return talloc_strndup(ctx, key, (size_t)(end - key) - 1);
}

/* Each owner on the page once, with its object's age for the grace period. Keys are sorted, so equals are neighbours.
 */
static struct proto_texts owners_of(TALLOC_CTX *ctx, const struct look *look, int slashes, int64_t before)
{
	struct proto_texts owners = {.items = talloc_zero_array(ctx, const char *, look->page.count + 1)};

	ASSERT(owners.items);
	for (size_t i = 0; i < look->page.count; i++) {
		char *owner = owner_of(ctx, look->page.keys[i], slashes);

		if (owner && look->page.created_at[i] <= before &&
		    (owners.count == 0 || strcmp(owners.items[owners.count - 1], owner) != 0))
			owners.items[owners.count++] = owner;
	}
	return owners;
}

static enum err_code oldest_allowed(struct db *db, TALLOC_CTX *ctx, int64_t grace_ms, int64_t *before, struct err *e)
{
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e, "SELECT catalog.now_ms() - $1::bigint", DB_NUMBER(grace_ms)));
	*before = db_number(rows, 0, 0);
	return ERR_OK;
}

static enum err_code adopt_layers(struct db *db, TALLOC_CTX *ctx, struct look *look, struct err *e)
{
	struct array *digests = array_new(ctx), *revisions = array_new(ctx);
	struct proto_texts owners;
	struct db_rows *rows;
	int64_t before;

	TRY(oldest_allowed(db, ctx, look->grace_ms, &before, e));
	owners = owners_of(ctx, look, 2, before);
	for (size_t i = 0; i < owners.count; i++) {
		const char *slash = strchr(owners.items[i], '/');
		struct digest digest;

		if (!digest_parse_hex(slash + 1, strlen(slash + 1), &digest))
			continue;
		array_add_digest(digests, &digest);
		array_add_text(revisions, talloc_strndup(ctx, owners.items[i], (size_t)(slash - owners.items[i])));
	}
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.layer (account, digest, revision, state)"
	             " SELECT $1, u.digest, u.revision, 'deleting' FROM unnest($2::bytea[], $3::text[])"
	             " AS u (digest, revision) ORDER BY 2, 3 ON CONFLICT DO NOTHING",
	             DB_TEXT(look->account), array_param(digests), array_param(revisions)));
	look->adopted = db_affected(rows);
	return ERR_OK;
}

static enum err_code adopt_images(struct db *db, TALLOC_CTX *ctx, struct look *look, struct err *e)
{
	struct array *digests = array_new(ctx);
	struct proto_texts owners;
	struct db_rows *rows;
	int64_t before;

	TRY(oldest_allowed(db, ctx, look->grace_ms, &before, e));
	owners = owners_of(ctx, look, 1, before);
	for (size_t i = 0; i < owners.count; i++) {
		struct digest digest;

		if (digest_parse_hex(owners.items[i], strlen(owners.items[i]), &digest))
			array_add_digest(digests, &digest);
	}
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.image (account, digest, state, status, source)"
	             " SELECT $1, d, 'deleting', 'failed', 'registry' FROM unnest($2::bytea[]) d ORDER BY d"
	             " ON CONFLICT DO NOTHING",
	             DB_TEXT(look->account), array_param(digests)));
	look->adopted = db_affected(rows);
	return ERR_OK;
}

static enum err_code adopt_uploads(struct db *db, TALLOC_CTX *ctx, struct look *look, struct err *e)
{
	struct array *ids = array_new(ctx);
	struct proto_texts owners;
	struct db_rows *rows;
	int64_t before;

	TRY(oldest_allowed(db, ctx, look->grace_ms, &before, e));
	owners = owners_of(ctx, look, 1, before);
	for (size_t i = 0; i < owners.count; i++)
		array_add_text(ids, owners.items[i]);
	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO catalog.upload (id, account, state) SELECT u, $1, 'done' FROM unnest($2::text[]) u"
	             " ORDER BY u ON CONFLICT DO NOTHING",
	             DB_TEXT(look->account), array_param(ids)));
	look->adopted = db_affected(rows);
	return ERR_OK;
}

static enum err_code note_look(struct db *db, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct look *look = arg;
	size_t count = look->page.count;

	if (count > 0)
		TRY(look->adopt(db, ctx, look, e));
	return db_query(db, ctx, NULL, e,
	                "INSERT INTO catalog.audit (account, bucket, after) VALUES ($1, $2, $3)"
	                " ON CONFLICT (account, bucket) DO UPDATE SET after = excluded.after",
	                DB_TEXT(look->account), DB_TEXT(look->bucket),
	                DB_TEXT(look->page.more ? look->page.keys[count - 1] : NULL));
}

static enum err_code look_at(struct catalog *c, struct look *look, size_t *adopted, struct err *e)
{
	SCRATCH_CTX(ctx);

	TRY(c->objects.list(c->objects.arg, ctx, look->account, look->bucket, look->after, &look->page, e));
	TRY(db_transaction(c->db, note_look, look, e));
	*adopted += look->adopted;
	if (look->adopted > 0)
		LOG_WARN("objects without owner", LOG_TEXT("owner", look->account), LOG_TEXT("bucket", look->bucket),
		         LOG_NUMBER("count", look->adopted));
	return ERR_OK;
}

static enum err_code list_places(struct catalog *c, TALLOC_CTX *ctx, struct db_rows **rows, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(db_acquire(c->db, CHORE_CONNECT_MS, &db, e));
	return db_query(db, ctx, rows, e,
	                "SELECT a.name, b.bucket, s.after FROM catalog.account a CROSS JOIN unnest("
	                " ARRAY['layers', 'images', 'uploads']) b (bucket) LEFT JOIN catalog.audit s"
	                " ON s.account = a.name AND s.bucket = b.bucket ORDER BY a.name, b.bucket");
}

static size_t look_everywhere(struct catalog *c)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;
	struct err e;
	size_t adopted = 0;
	enum err_code code = list_places(c, ctx, &rows, &e);

	for (size_t i = 0; code == ERR_OK && i < db_count(rows) && !chore_is_over(c); i++) {
		struct look look = {.account = db_text(rows, i, 0),
		                    .bucket = db_text(rows, i, 1),
		                    .after = db_text(rows, i, 2),
		                    .grace_ms = c->settings->sweep_grace_ms};

		look.adopt = *look.bucket == 'l' ? adopt_layers : *look.bucket == 'i' ? adopt_images : adopt_uploads;
		code = look_at(c, &look, &adopted, &e);
	}
	if (code != ERR_OK)
		LOG_WARN("audit not done", LOG_ERR(&e));
	return adopted;
}

size_t audit_run(struct catalog *c)
{
	size_t adopted;

	if (!chore_is_mine(c, CHORE_AUDIT))
		return 0;
	adopted = look_everywhere(c);
	chore_done(c, CHORE_AUDIT);
	return adopted;
}
