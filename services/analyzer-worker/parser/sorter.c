#include "services/analyzer-worker/parser/sorter.h"

#include <string.h>

#define ARENA_SIZE (8 * MIB)
#define READ_PIECE (32 * KIB)
#define APPEND_PIECE (512 * KIB)
#define RUNS_MAX 512 /* their read buffers are 16 MiB */

struct extent {
	uint64_t offset, len;
};

/* Records in order, in the spill file. */
struct run {
	struct extent *extents;
	size_t count;
};

/* Where reading stands: in a run, or (run NULL) in the arena. */
struct reader {
	const struct run *run;
	size_t extent;
	uint64_t taken; /* of the extent, into bytes */
	uint8_t *bytes;
	size_t at, filled;
	size_t index; /* arena: of order */
	struct record record;
};

struct sorter {
	struct spill *spill;
	uint8_t *arena;
	size_t arena_size, used;
	uint32_t *order, *spare; /* offsets of the arena's records, in units of 8 bytes */
	size_t count, room;
	struct run *runs;
	size_t run_count;
	bool sealed;
	struct run appended;
	uint8_t *append_bytes;
	size_t append_used;
	TALLOC_CTX *reading; /* readers and their buffers */
	struct reader **heap;
	size_t heap_count;
	bool moved; /* the heap's first reader was given out and has to go on */
};

struct sorter *sorter_new(TALLOC_CTX *ctx, struct spill *spill, size_t arena_size)
{
	struct sorter *s = talloc_zero(ctx, struct sorter);

	ASSERT(s != NULL);
	s->spill = spill;
	s->arena_size = MAX(arena_size ? arena_size : ARENA_SIZE, 2 * (size_t)RECORD_PACKED_MAX);
	s->arena = talloc_size(s, s->arena_size);
	ASSERT(s->arena != NULL);
	return s;
}

static const uint8_t *at_offset(const struct sorter *s, uint32_t offset)
{
	return s->arena + (size_t)offset * 8;
}

/* Merge sort of order[0..count): stable, and linear when it is in order already. */
static void sort_range(struct sorter *s, uint32_t *order, uint32_t *spare, size_t count)
{
	size_t half = count / 2, left = 0, right = half, out = 0;

	if (count < 2)
		return;
	sort_range(s, order, spare, half);
	sort_range(s, order + half, spare + half, count - half);
	if (record_packed_compare(at_offset(s, order[half - 1]), at_offset(s, order[half])) <= 0)
		return;
	memcpy(spare, order, half * sizeof(*order));
	while (left < half && right < count) {
		if (record_packed_compare(at_offset(s, spare[left]), at_offset(s, order[right])) <= 0)
			order[out++] = spare[left++];
		else
			order[out++] = order[right++];
	}
	memcpy(order + out, spare + left, (half - left) * sizeof(*order));
}

/* The sorted arena becomes a run. */
static enum err_code spill_arena(struct sorter *s, struct err *e)
{
	struct extent *extent = talloc(s, struct extent);
	uint8_t *piece = talloc_size(s, APPEND_PIECE);
	size_t filled = 0;
	uint64_t at;

	ASSERT(extent && piece);
	if (s->run_count == RUNS_MAX)
		return ERR(e, ERR_TOO_LARGE, "the layer has more entries than can be sorted");
	sort_range(s, s->order, s->spare, s->count);
	TRY(spill_reserve(s->spill, s->used, &at, e));
	*extent = (struct extent){.offset = at, .len = s->used};
	for (size_t i = 0; i < s->count; i++) {
		const uint8_t *packed = at_offset(s, s->order[i]);
		size_t len = record_packed_len(packed);

		if (len > APPEND_PIECE - filled) {
			TRY(spill_write(s->spill, at, piece, filled, e));
			at += filled;
			filled = 0;
		}
		memcpy(piece + filled, packed, len);
		filled += len;
	}
	TRY(spill_write(s->spill, at, piece, filled, e));
	talloc_free(piece);
	s->runs = talloc_realloc(s, s->runs, struct run, s->run_count + 1);
	ASSERT(s->runs != NULL);
	s->runs[s->run_count++] = (struct run){.extents = extent, .count = 1};
	s->used = s->count = 0;
	return ERR_OK;
}

static void more_room(struct sorter *s)
{
	s->room = MAX(2 * s->room, (size_t)1024);
	s->order = talloc_realloc(s, s->order, uint32_t, s->room);
	s->spare = talloc_realloc(s, s->spare, uint32_t, s->room);
	ASSERT(s->order && s->spare);
}

enum err_code sorter_add(struct sorter *s, const struct record *record, struct err *e)
{
	ASSERT(!s->sealed);
	if (s->arena_size - s->used < RECORD_PACKED_MAX)
		TRY(spill_arena(s, e));
	if (s->count == s->room)
		more_room(s);
	s->order[s->count++] = (uint32_t)(s->used / 8);
	s->used += record_pack(record, s->arena + s->used);
	return ERR_OK;
}

void sorter_seal(struct sorter *s)
{
	ASSERT(!s->sealed);
	s->sealed = true;
	sort_range(s, s->order, s->spare, s->count);
}

static enum err_code flush_appended(struct sorter *s, struct err *e)
{
	struct run *run = &s->appended;
	uint64_t offset;

	if (s->append_used == 0)
		return ERR_OK;
	TRY(spill_reserve(s->spill, s->append_used, &offset, e));
	TRY(spill_write(s->spill, offset, s->append_bytes, s->append_used, e));
	run->extents = talloc_realloc(s, run->extents, struct extent, run->count + 1);
	ASSERT(run->extents != NULL);
	run->extents[run->count++] = (struct extent){.offset = offset, .len = s->append_used};
	s->append_used = 0;
	return ERR_OK;
}

enum err_code sorter_append(struct sorter *s, const struct record *record, struct err *e)
{
	ASSERT(s->sealed);
	if (!s->append_bytes)
		s->append_bytes = talloc_size(s, APPEND_PIECE);
	ASSERT(s->append_bytes != NULL);
	if (APPEND_PIECE - s->append_used < RECORD_PACKED_MAX)
		TRY(flush_appended(s, e));
	s->append_used += record_pack(record, s->append_bytes + s->append_used);
	return ERR_OK;
}

/* More of the run behind the bytes that are left; *more is false at its end. */
static enum err_code refill(struct sorter *s, struct reader *r, bool *more, struct err *e)
{
	const struct extent *extent;
	size_t len;

	memmove(r->bytes, r->bytes + r->at, r->filled - r->at);
	r->filled -= r->at;
	r->at = 0;
	*more = r->extent < r->run->count;
	if (!*more)
		return ERR_OK;
	extent = &r->run->extents[r->extent];
	len = (size_t)MIN(extent->len - r->taken, (uint64_t)(READ_PIECE - r->filled));
	TRY(spill_read(s->spill, extent->offset + r->taken, r->bytes + r->filled, len, e));
	r->filled += len;
	r->taken += len;
	if (r->taken == extent->len) {
		r->extent++;
		r->taken = 0;
	}
	return ERR_OK;
}

/* The reader's next record; *found is false at its end. */
static enum err_code reader_next(struct sorter *s, struct reader *r, bool *found, struct err *e)
{
	*found = true;
	if (!r->run) {
		*found = r->index < s->count;
		if (*found)
			record_unpack(at_offset(s, s->order[r->index++]), &r->record);
		return ERR_OK;
	}
	while (r->filled - r->at < sizeof(uint32_t) || r->filled - r->at < record_packed_len(r->bytes + r->at)) {
		TRY(refill(s, r, found, e));
		if (!*found)
			return ERR_OK;
	}
	r->at += record_unpack(r->bytes + r->at, &r->record);
	return ERR_OK;
}

static void sift_down(struct sorter *s)
{
	struct reader *moving = s->heap_count ? s->heap[0] : NULL;
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= s->heap_count)
			break;
		if (child + 1 < s->heap_count &&
		    record_compare(&s->heap[child + 1]->record, &s->heap[child]->record) < 0)
			child++;
		if (record_compare(&s->heap[child]->record, &moving->record) >= 0)
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	if (moving)
		s->heap[at] = moving;
}

static enum err_code add_reader(struct sorter *s, const struct run *run, struct err *e)
{
	struct reader *r = talloc_zero(s->reading, struct reader);
	bool found;
	size_t at;

	ASSERT(r != NULL);
	r->run = run;
	if (run) {
		r->bytes = talloc_size(r, READ_PIECE);
		ASSERT(r->bytes != NULL);
	}
	TRY(reader_next(s, r, &found, e));
	if (!found)
		return ERR_OK;
	at = s->heap_count++;
	for (; at > 0 && record_compare(&r->record, &s->heap[(at - 1) / 2]->record) < 0; at = (at - 1) / 2)
		s->heap[at] = s->heap[(at - 1) / 2];
	s->heap[at] = r;
	return ERR_OK;
}

enum err_code sorter_rewind(struct sorter *s, struct err *e)
{
	ASSERT(s->sealed);
	TRY(flush_appended(s, e));
	talloc_free(s->reading);
	s->reading = talloc_new(s);
	s->heap = talloc_array(s->reading, struct reader *, s->run_count + 2);
	ASSERT(s->reading && s->heap);
	s->heap_count = 0;
	s->moved = false;
	TRY(add_reader(s, NULL, e));
	if (s->appended.count > 0)
		TRY(add_reader(s, &s->appended, e));
	for (size_t i = 0; i < s->run_count; i++)
		TRY(add_reader(s, &s->runs[i], e));
	return ERR_OK;
}

enum err_code sorter_next(struct sorter *s, const struct record **record, struct err *e)
{
	bool found;

	if (s->moved) {
		TRY(reader_next(s, s->heap[0], &found, e));
		if (!found)
			s->heap[0] = s->heap[--s->heap_count];
		sift_down(s);
	}
	s->moved = s->heap_count > 0;
	*record = s->moved ? &s->heap[0]->record : NULL;
	return ERR_OK;
}
