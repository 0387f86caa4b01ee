#include "proto/document/merge.h"
#include "proto/document/merge_internal.h"

#include <string.h>

struct cursor {
	struct files_reader *reader;
	const struct files_entry *entry; /* the reader's next line; NULL at its end */
	size_t layer;
};

/* Below the first len bytes of the path (0: the root) only layers from floor on are seen. */
struct mask {
	size_t len, floor;
};

struct merge {
	const struct merge_links *links;
	merge_emit emit;
	void *arg;
	struct cursor **heap; /* cursors with a line, smallest path first, of equal paths the lowest layer first */
	size_t heap_count;
	struct mask *masks; /* of directories on the way to the current path, outermost first */
	size_t mask_count;
	size_t path_len;
	char path[FILES_PATH_MAX + 1]; /* the current one */
	/* What the layers seen so far show at the current path. */
	bool found;
	size_t layer;              /* where the entry comes from */
	size_t floor, floor_below; /* the lowest layer that is seen at the path, and below it */
	struct files_entry entry;
	char link[FILES_PATH_MAX + 1];
};

static bool before(const struct cursor *a, const struct cursor *b)
{
	int order = files_path_compare(a->entry->path, a->entry->path_len, b->entry->path, b->entry->path_len);

	return order < 0 || (order == 0 && a->layer < b->layer);
}

static void sift_down(struct merge *m)
{
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;
		struct cursor *swap;

		if (child >= m->heap_count)
			return;
		if (child + 1 < m->heap_count && before(m->heap[child + 1], m->heap[child]))
			child++;
		if (!before(m->heap[child], m->heap[at]))
			return;
		swap = m->heap[at];
		m->heap[at] = m->heap[child];
		m->heap[child] = swap;
		at = child;
	}
}

static void heap_add(struct merge *m, struct cursor *cursor)
{
	size_t at = m->heap_count++;

	while (at > 0 && before(cursor, m->heap[(at - 1) / 2])) {
		m->heap[at] = m->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	m->heap[at] = cursor;
}

static enum err_code advance(struct cursor *cursor, struct err *e)
{
	enum err_code code = files_reader_next(cursor->reader, &cursor->entry, e);

	if (code != ERR_OK)
		return err_wrap(e, "layer %zu", cursor->layer), code;
	return ERR_OK;
}

/* The smallest cursor goes to its next line. */
static enum err_code advance_first(struct merge *m, struct err *e)
{
	TRY(advance(m->heap[0], e));
	if (!m->heap[0]->entry)
		m->heap[0] = m->heap[--m->heap_count];
	sift_down(m);
	return ERR_OK;
}

static bool below_mask(const struct merge *m, const struct files_entry *entry)
{
	size_t len = m->masks[m->mask_count - 1].len;

	return len == 0 || files_path_below(entry->path, entry->path_len, m->path, len);
}

/* Leaves the directories that the new path is not below, and starts with what those that remain let through. */
static void enter_path(struct merge *m, const struct files_entry *entry)
{
	while (m->mask_count > 0 && !below_mask(m, entry))
		m->mask_count--;
	memcpy(m->path, entry->path, entry->path_len);
	m->path[entry->path_len] = '\0';
	m->path_len = entry->path_len;
	m->floor = m->mask_count > 0 ? m->masks[m->mask_count - 1].floor : 0;
	m->floor_below = m->floor;
	m->found = false;
}

static void keep(struct merge *m, size_t layer, const struct files_entry *entry)
{
	m->found = true;
	m->layer = layer;
	m->entry = *entry;
	m->entry.path = m->path;
	if (entry->link) {
		memcpy(m->link, entry->link, entry->link_len);
		m->link[entry->link_len] = '\0';
		m->entry.link = m->link;
	}
}

/* One more line at the current path; lines come from the lowest layer up, and w, entry, o within one. */
static void apply(struct merge *m, size_t layer, const struct files_entry *entry)
{
	if (layer < m->floor)
		return;
	switch (entry->type) {
	case FILES_WHITEOUT:
		m->floor_below = MAX(m->floor_below, layer);
		m->found = false;
		break;
	case FILES_OPAQUE:
		m->floor_below = MAX(m->floor_below, layer);
		break;
	case FILES_DIRECTORY:
		if (!entry->implied || !m->found || m->entry.type != FILES_DIRECTORY)
			keep(m, layer, entry);
		break;
	case FILES_REGULAR:
	case FILES_SYMLINK:
	case FILES_HARDLINK:
	case FILES_CHAR:
	case FILES_BLOCK:
	case FILES_FIFO:
		keep(m, layer, entry);
		m->floor_below = layer + 1;
		break;
	}
}

static enum err_code leave_path(struct merge *m, struct err *e)
{
	size_t outer = m->mask_count > 0 ? m->masks[m->mask_count - 1].floor : 0;
	bool root = strcmp(m->path, ".") == 0;

	if (m->floor_below > outer)
		m->masks[m->mask_count++] = (struct mask){.len = root ? 0 : m->path_len, .floor = m->floor_below};
	if (!m->found)
		return ERR_OK;
	if (m->entry.type == FILES_HARDLINK) {
		const struct files_entry *target = merge_links_get(m->links, m->layer, m->path, m->path_len);

		if (target) {
			m->entry = *target;
			m->entry.path = m->path;
			m->entry.path_len = m->path_len;
		}
	}
	return m->emit(m->arg, m->layer, &m->entry, e);
}

static enum err_code run(struct merge *m, struct err *e)
{
	while (m->heap_count > 0) {
		enter_path(m, m->heap[0]->entry);
		do {
			apply(m, m->heap[0]->layer, m->heap[0]->entry);
			TRY(advance_first(m, e));
		} while (m->heap_count > 0 && m->heap[0]->entry->path_len == m->path_len &&
		         memcmp(m->heap[0]->entry->path, m->path, m->path_len) == 0);
		TRY(leave_path(m, e));
	}
	return ERR_OK;
}

enum err_code merge_stack(const struct merge_layer *layers, size_t count, const struct merge_links *links,
                          merge_emit emit, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct merge *m = talloc(ctx, struct merge);
	struct cursor *cursors = talloc_zero_array(ctx, struct cursor, MAX(count, (size_t)1));

	ASSERT(m && cursors);
	m->links = links;
	m->emit = emit;
	m->arg = arg;
	m->heap_count = m->mask_count = m->path_len = 0;
	m->heap = talloc_array(ctx, struct cursor *, MAX(count, (size_t)1));
	/* One for each component of a path, and the root's. */
	m->masks = talloc_array(ctx, struct mask, FILES_PATH_MAX / 2 + 2);
	ASSERT(m->heap && m->masks);
	for (size_t i = 0; i < count; i++) {
		cursors[i].layer = i;
		cursors[i].reader = files_reader_new(ctx, &layers[i].source);
		TRY(advance(&cursors[i], e));
		if (cursors[i].entry)
			heap_add(m, &cursors[i]);
	}
	return run(m, e);
}

enum err_code merge_run(const struct merge_layer *layers, size_t count, merge_emit emit, void *arg, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct merge_links *links = NULL;

	if (count > MERGE_LAYERS_MAX)
		return ERR(e, ERR_TOO_LARGE, "%zu layers, %d are the most", count, MERGE_LAYERS_MAX);
	TRY(merge_links_find(ctx, layers, count, &links, e));
	return merge_stack(layers, count, links, emit, arg, e);
}
