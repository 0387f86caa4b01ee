#include "services/object-store-gateway/chunk_write.h"
#include "common/codec.h"
#include "common/metrics.h"
#include "services/object-store-gateway/chunk_cipher.h"

static struct metric puts_total = METRIC_COUNTER("stowage_chunk_puts_total", "Chunks written to a back end.");
static struct metric known_total = METRIC_COUNTER("stowage_chunk_known_total", "Puts of chunks that were there.");

static enum err_code compress(struct chunk_write *w, const void *bytes, struct err *e)
{
	const struct store *s = w->store;
	void *smaller;
	size_t len;

	w->stored = bytes;
	w->stored_len = w->len;
	if (!s->compress || w->len < s->compress_min)
		return ERR_OK;
	TRY(zstd_compress_block(w, bytes, w->len, s->level, &smaller, &len, e));
	if (!smaller)
		return ERR_OK;
	w->zstd = true;
	w->stored = smaller;
	w->stored_len = len;
	return ERR_OK;
}

static enum err_code encrypt(struct chunk_write *w, struct err *e)
{
	const struct store *s = w->store;
	const struct chunk_binding binding = {s->name, keyring_current(s->keys), &w->sha256, w->zstd};
	uint8_t *sealed;

	if (!binding.key_id)
		return ERR_OK;
	sealed = talloc_size(w, w->stored_len + AEAD_OVERHEAD);
	ASSERT(sealed);
	TRY(chunk_seal(s->keys, &binding, w->stored, w->stored_len, sealed, e));
	if (w->zstd)
		talloc_free((void *)(uintptr_t)w->stored);
	w->cipher_key = binding.key_id;
	w->stored = sealed;
	w->stored_len += AEAD_OVERHEAD;
	return ERR_OK;
}

enum err_code chunk_write_to(struct store *s, TALLOC_CTX *ctx, struct backend *to, const struct digest *sha256,
                             const void *bytes, size_t len, struct chunk_write **out, struct err *e)
{
	struct chunk_write *w = talloc_zero(ctx, struct chunk_write);
	struct digest found;

	ASSERT(w);
	if (len == 0 || len > CHUNK_MAX)
		return ERR(e, ERR_INVALID, "a chunk of %zu bytes, allowed are 1 to %zu", len, CHUNK_MAX);
	found = digest_of(bytes, len);
	if (!digest_equal(&found, sha256))
		return ERR(e, ERR_INVALID, "the bytes of chunk %s have digest %s", digest_text(sha256).text,
		           digest_text(&found).text);
	w->store = s;
	w->to = to;
	w->sha256 = *sha256;
	w->len = len;
	TRY(compress(w, bytes, e));
	TRY(encrypt(w, e));
	*out = w;
	return ERR_OK;
}

enum err_code chunk_write_new(struct store *s, TALLOC_CTX *ctx, const struct digest *sha256, const void *bytes,
                              size_t len, struct chunk_write **out, struct err *e)
{
	return chunk_write_to(s, ctx, s->current, sha256, bytes, len, out, e);
}

size_t chunk_write_stored(const struct chunk_write *w)
{
	metric_add(w->known ? &known_total : &puts_total, 1);
	return w->known ? 0 : w->stored_len;
}

/* ---- the steps of a write ---- */

enum err_code chunk_write_intent(struct db *db, const struct chunk_write *w, struct location *at, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "INSERT INTO objects.chunk (store, sha256, size, stored_size, codec, backend, cipher_key, state)"
	             " VALUES ($1, $2, $3, $4, $5, $6, $7, 'writing') RETURNING id",
	             DB_TEXT(w->store->name), DB_DIGEST(&w->sha256), DB_NUMBER(w->len), DB_NUMBER(w->stored_len),
	             DB_TEXT(w->zstd ? "zstd" : "none"), DB_NUMBER(w->to->id), DB_TEXT(w->cipher_key)));
	*at = (struct location){w->sha256, db_number(rows, 0, 0)};
	return ERR_OK;
}

enum err_code chunk_write_put(const struct chunk_write *w, const struct location *at, struct err *e)
{
	if (w->to->driver->put(w->to->conn, at, w->stored, w->stored_len, e) != ERR_OK)
		return err_wrap(e, "%s: back end %s", w->store->name, w->to->name);
	return ERR_OK;
}

/* It may have looked at the back end before the bytes came. */
enum err_code chunk_write_too_long(const struct chunk_write *w, const struct location *at, struct err *e)
{
	TRY(w->to->driver->remove(w->to->conn, at, 1, e));
	return ERR(e, ERR_UNAVAILABLE, "writing chunk %s took longer than gc_write_grace",
	           digest_text(&w->sha256).text);
}
