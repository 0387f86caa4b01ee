#include "common/fault.h"
#include "services/object-store-gateway/chunk_heal.h"
#include "services/object-store-gateway/object.h"

#include <stdlib.h>

#define TRIES 3

static struct object_content content_of(TALLOC_CTX *ctx, const struct object *o)
{
	struct digest *digests = talloc_zero_array(ctx, struct digest, o->chunk_count + 1);

	ASSERT(digests);
	for (size_t i = 0; i < o->chunk_count; i++)
		digests[i] = o->chunks[i].sha256;
	return (struct object_content){o->size, o->sha256, digests, o->chunk_count, o->metadata};
}

/* ERR_PRECONDITION: the source was replaced and its chunks swept, or the target's were; what is there now counts. */
enum err_code object_link(struct store *s, TALLOC_CTX *ctx, const struct object_path *from,
                          const struct object_path *to, struct object *linked, struct err *e)
{
	enum err_code code = ERR_PRECONDITION;

	for (int i = 0; i < TRIES && code == ERR_PRECONDITION; i++) {
		struct object_content content;
		bool replaced;

		TRY(object_find(s, ctx, from, 0, OBJECT_ALL_CHUNKS, linked, e));
		content = content_of(ctx, linked);
		code = object_commit(s, to, &content, &replaced, e);
	}
	return code;
}

static int by_digest(const void *a, const void *b)
{
	return digest_compare(a, b);
}

static enum err_code move_chunk(struct store *from, struct store *to, const struct chunk *chunk, int64_t *moved,
                                struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct chunk_kept kept = {.chunk = *chunk};
	size_t stored;
	void *bytes;
	enum err_code code = chunk_get(from, ctx, chunk, &bytes, e);
	struct err no_copy;
	bool healed;

	if (code == ERR_CORRUPT && !chunk_is_live(from, chunk))
		return ERR(e, ERR_PRECONDITION, "the source changed while it was copied");
	if (code == ERR_CORRUPT) {
		chunk_note_damage(from, chunk, e);
		code = chunk_heal(from, ctx, &kept, &bytes, &healed, &no_copy) == ERR_OK ? ERR_OK : ERR_CORRUPT;
	}
	TRY(code);
	TRY(chunk_put(to, &chunk->sha256, bytes, chunk->size, &stored, e));
	FAULT_POINT("copy-after-chunk");
	*moved += stored ? (int64_t)chunk->size : 0;
	return ERR_OK;
}

/* Asks for all chunks at once which of them the target lacks. */
static enum err_code move_missing(struct rpc_call *call, struct store *from, struct store *to, const struct object *o,
                                  const struct object_content *content, int64_t *moved, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct digest *lacking = talloc_zero_array(ctx, struct digest, content->chunk_count + 1);
	size_t count;

	ASSERT(lacking);
	if (!content->chunk_count)
		return ERR_OK;
	TRY(chunk_need(to, content->chunks, content->chunk_count, lacking, &count, e));
	qsort(lacking, count, sizeof(*lacking), by_digest);
	for (size_t i = 0; i < o->chunk_count && count; i++) {
		if (!bsearch(&o->chunks[i].sha256, lacking, count, sizeof(*lacking), by_digest))
			continue;
		TRY(rpc_check_deadline(call, e));
		TRY(move_chunk(from, to, &o->chunks[i], moved, e));
	}
	return ERR_OK;
}

static enum err_code copy_once(struct rpc_call *call, struct store *from_store, const struct object_path *from,
                               struct store *to_store, const struct object_path *to, struct object *copied,
                               int64_t *moved_bytes, struct err *e)
{
	struct object_content content;
	bool replaced;

	TRY(object_find(from_store, call->ctx, from, 0, OBJECT_ALL_CHUNKS, copied, e));
	content = content_of(call->ctx, copied);
	if (move_missing(call, from_store, to_store, copied, &content, moved_bytes, e) != ERR_OK)
		return err_wrap(e, "object %s/%s of account %s", from->bucket, from->key, from->account);
	return object_commit(to_store, to, &content, &replaced, e);
}

enum err_code object_copy(struct rpc_call *call, struct store *from_store, const struct object_path *from,
                          struct store *to_store, const struct object_path *to, struct object *copied,
                          int64_t *moved_bytes, struct err *e)
{
	enum err_code code = ERR_PRECONDITION;

	*moved_bytes = 0;
	TRY(object_path_check(to, e));
	if (from_store == to_store)
		return object_link(from_store, call->ctx, from, to, copied, e);
	for (int i = 0; i < TRIES && code == ERR_PRECONDITION; i++)
		code = copy_once(call, from_store, from, to_store, to, copied, moved_bytes, e);
	return code;
}
