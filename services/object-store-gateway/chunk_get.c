#include "common/codec.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk.h"
#include "services/object-store-gateway/chunk_cipher.h"

#include <inttypes.h>
#include <string.h>

static struct metric gets_total = METRIC_COUNTER("stowage_chunk_gets_total", "Chunks read from a back end.");
static struct metric damaged_total =
    METRIC_COUNTER("stowage_chunk_damaged_total", "Chunks that came back with another digest, or not at all.");

void chunk_note_damage(struct store *s, const struct chunk *chunk, const struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct err ignored;

	metric_add(&damaged_total, 1);
	LOG_ERROR("chunk damaged", LOG_ERR(e));
	if (db_acquire(s->db, DB_WAIT_MS, &db, &ignored) != ERR_OK ||
	    db_query(
		db, NULL, NULL, &ignored,
		"UPDATE objects.chunk SET damaged = true WHERE id = $1 AND state IN ('live', 'spare') AND NOT damaged",
		DB_NUMBER(chunk->id)) != ERR_OK)
		LOG_WARN("a damaged chunk could not be marked", LOG_ERR(&ignored));
}

static enum err_code damaged(struct store *s, const struct chunk *c, const char *how, struct err *e)
{
	struct backend *b;
	struct err ignored;

	/* Only what was reached can be damaged, so the name is known. */
	return ERR(e, ERR_CORRUPT, "%s: chunk %s (number %" PRId64 ", back end %s) %s", s->name,
	           digest_text(&c->sha256).text, c->id,
	           backend_by_id(s, c->backend, &b, &ignored) == ERR_OK ? b->name : "unknown", how);
}

static enum err_code fetch(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, void **stored, struct err *e)
{
	struct location at = {c->sha256, c->id};
	struct backend *b;
	size_t got = 0;
	enum err_code code;

	if (backend_by_id(s, c->backend, &b, e) != ERR_OK)
		return err_wrap(e, "chunk %s", digest_text(&c->sha256).text);
	*stored = talloc_size(ctx, c->stored_size);
	ASSERT(*stored);
	metric_add(&gets_total, 1);
	code = b->driver->get(b->conn, &at, *stored, c->stored_size, &got, e);
	if (code == ERR_NOT_FOUND)
		return damaged(s, c, "is not there", e);
	if (code == ERR_CORRUPT || (code == ERR_OK && got != c->stored_size))
		return damaged(s, c, "has another length", e);
	return code;
}

/* *len: of the bytes before they were encrypted. */
static enum err_code check_sizes(struct store *s, const struct chunk *c, size_t *len, struct err *e)
{
	size_t overhead = *c->cipher_key ? AEAD_OVERHEAD : 0;

	if (c->size == 0 || c->size > CHUNK_MAX || c->stored_size <= overhead || c->stored_size - overhead > CHUNK_MAX)
		return damaged(s, c, "has a row with an impossible size", e);
	*len = c->stored_size - overhead;
	if (!c->zstd && *len != c->size)
		return damaged(s, c, "has a row that contradicts itself", e);
	return ERR_OK;
}

/* Asked before the bytes are: without the key they are of no use. */
static enum err_code check_key(struct store *s, const struct chunk *c, struct err *e)
{
	if (*c->cipher_key && !keyring_find(s->keys, c->cipher_key))
		return chunk_key_missing(s->name, &c->sha256, c->cipher_key, e);
	return ERR_OK;
}

static enum err_code decrypt(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, const void *stored, void **plain,
                             struct err *e)
{
	const struct chunk_binding binding = {s->name, c->cipher_key, &c->sha256, c->zstd};
	enum err_code code;

	*plain = talloc_size(ctx, c->stored_size - AEAD_OVERHEAD);
	ASSERT(*plain);
	code = chunk_unseal(s->keys, &binding, stored, c->stored_size, *plain, e);
	return code == ERR_CORRUPT ? damaged(s, c, "does not decrypt", e) : code;
}

static enum err_code decompress(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, const void *packed, size_t len,
                                void **content, struct err *e)
{
	enum err_code code = zstd_decompress_block(ctx, packed, len, c->size, content, e);

	return code == ERR_CORRUPT ? damaged(s, c, "does not decompress", e) : code;
}

/* *content is stored itself, or new on ctx. len: of the bytes before they were encrypted. */
static enum err_code unpack(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, const void *stored, size_t len,
                            const void **content, struct err *e)
{
	void *plain = NULL, *unpacked;
	struct digest found;

	*content = stored;
	if (*c->cipher_key) {
		TRY(decrypt(s, ctx, c, stored, &plain, e));
		*content = plain;
	}
	if (c->zstd) {
		TRY(decompress(s, ctx, c, *content, len, &unpacked, e));
		talloc_free(plain);
		*content = unpacked;
	}
	found = digest_of(*content, c->size);
	return digest_equal(&found, &c->sha256) ? ERR_OK : damaged(s, c, "has another digest", e);
}

enum err_code chunk_open(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, const void *stored, size_t stored_len,
                         const void **content, struct err *e)
{
	size_t len = 0;

	TRY(check_sizes(s, c, &len, e));
	TRY(check_key(s, c, e));
	metric_add(&gets_total, 1);
	if (stored_len != c->stored_size)
		return damaged(s, c, "has another length", e);
	return unpack(s, ctx, c, stored, len, content, e);
}

static enum err_code read_once(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, size_t len, void **bytes,
                               struct err *e)
{
	const void *content;
	void *stored = NULL;

	TRY(fetch(s, ctx, c, &stored, e));
	TRY(unpack(s, ctx, c, stored, len, &content, e));
	*bytes = (void *)(uintptr_t)content; /* of ctx, and nobody else's */
	if (content != stored)
		talloc_free(stored);
	return ERR_OK;
}

/* What was damaged on its way comes whole the second time. */
enum err_code chunk_get(struct store *s, TALLOC_CTX *ctx, const struct chunk *c, void **bytes, struct err *e)
{
	enum err_code code;
	size_t len = 0;

	TRY(check_sizes(s, c, &len, e));
	TRY(check_key(s, c, e));
	code = read_once(s, ctx, c, len, bytes, e);
	return code == ERR_CORRUPT ? read_once(s, ctx, c, len, bytes, e) : code;
}
