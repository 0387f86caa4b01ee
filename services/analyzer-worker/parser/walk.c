#include "services/analyzer-worker/parser/walk.h"

#include <string.h>

/* Entries below the first len bytes of the path (0: the root) that came before seq are gone. */
struct mask {
	size_t len;
	uint32_t seq;
};

struct state {
	struct mask *masks;
	size_t mask_count;
	uint32_t dead_before, dead_below;
	struct walk_group group;
	char path[FILES_PATH_MAX + 1], link[FILES_PATH_MAX + 1];
};

static bool below_mask(const struct state *s, const struct files_entry *entry)
{
	size_t len = s->masks[s->mask_count - 1].len;

	return len == 0 || files_path_below(entry->path, entry->path_len, s->path, len);
}

static void enter(struct state *s, const struct files_entry *entry)
{
	while (s->mask_count > 0 && !below_mask(s, entry))
		s->mask_count--;
	s->dead_before = s->mask_count > 0 ? s->masks[s->mask_count - 1].seq : 0;
	s->dead_below = s->dead_before;
	memcpy(s->path, entry->path, entry->path_len);
	s->path[entry->path_len] = '\0';
	s->group = (struct walk_group){.path = s->path, .path_len = entry->path_len};
}

static void keep(struct state *s, const struct record *record)
{
	s->group.found = true;
	s->group.record = *record;
	s->group.record.entry.path = s->path;
	if (!record->entry.link)
		return;
	memcpy(s->link, record->entry.link, record->entry.link_len);
	s->link[record->entry.link_len] = '\0';
	s->group.record.entry.link = s->link;
}

static void apply(struct state *s, const struct record *record)
{
	enum files_type type = record->entry.type;

	if (type == RECORD_REQUEST)
		return;
	if (type == FILES_WHITEOUT) {
		s->group.whiteout = true;
		return;
	}
	if (type == FILES_OPAQUE) {
		s->group.opaque = true;
		return;
	}
	if (record->seq < s->dead_before && !record->entry.implied)
		return;
	/* What was no directory in between has removed what lower layers had below. */
	if (type == FILES_DIRECTORY && s->group.found && s->group.record.entry.type != FILES_DIRECTORY)
		s->group.opaque = true;
	keep(s, record);
	if (type != FILES_DIRECTORY)
		s->dead_below = MAX(s->dead_below, record->seq);
}

static enum err_code leave(struct state *s, const struct walk_visitor *visitor, struct err *e)
{
	bool root = strcmp(s->path, ".") == 0;

	if (s->dead_below > s->dead_before)
		s->masks[s->mask_count++] = (struct mask){.len = root ? 0 : s->group.path_len, .seq = s->dead_below};
	return visitor->group(visitor->arg, &s->group, e);
}

enum err_code walk(struct sorter *sorter, const struct walk_visitor *visitor, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct state *s = talloc_zero(ctx, struct state);
	const struct record *record;
	bool inside = false;

	ASSERT(s != NULL);
	s->masks = talloc_array(ctx, struct mask, FILES_PATH_MAX / 2 + 2);
	ASSERT(s->masks != NULL);
	TRY(sorter_rewind(sorter, e));
	for (;;) {
		TRY(sorter_next(sorter, &record, e));
		if (inside && (!record || record->entry.path_len != s->group.path_len ||
		               memcmp(record->entry.path, s->path, s->group.path_len) != 0)) {
			TRY(leave(s, visitor, e));
			inside = false;
		}
		if (!record)
			return ERR_OK;
		if (!inside)
			enter(s, &record->entry);
		inside = true;
		if (visitor->record)
			TRY(visitor->record(visitor->arg, record, e));
		apply(s, record);
	}
}
