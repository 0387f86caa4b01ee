#include "services/analyzer-worker/parser/build.h"
#include "services/analyzer-worker/parser/build_internal.h"
#include "services/analyzer-worker/parser/follow.h"

#include <string.h>

struct build *build_new(TALLOC_CTX *ctx, struct spill *spill, const struct layer_limits *limits, size_t arena_size)
{
	struct build *b = talloc_zero(ctx, struct build);

	ASSERT(b != NULL);
	b->limits = limits;
	b->log = spill_log_new(b, spill);
	b->sorter = sorter_new(b, spill, arena_size);
	b->links = links_new(b, limits->links);
	b->follow = follow_new(b, b->links, b->log);
	return b;
}

void build_set_wants(struct build *b, struct wants *missing, const struct wants *found)
{
	b->missing = missing;
	b->found = found;
}

uint32_t build_next_seq(const struct build *b)
{
	return (uint32_t)b->entries + 1;
}

enum err_code build_keep_want(struct build *b, struct want *want, const char *note, size_t note_len, struct err *e)
{
	want->note_len = (uint32_t)note_len;
	return spill_log_add(b->log, note, note_len, &want->note, e);
}

enum err_code build_follow(struct build *b, struct name *name, struct err *e)
{
	return follow_name(b->follow, name, e);
}

/* Which answer the hard link waits for: that of the link it links to, or a new one. */
static enum err_code add_hard_link(struct build *b, const struct files_entry *entry, struct record *record,
                                   struct err *e)
{
	struct record request = {.seq = record->seq};
	uint64_t id;

	if (entry->path_len == entry->link_len && memcmp(entry->path, entry->link, entry->link_len) == 0)
		return ERR(e, ERR_INVALID, "it is a hard link to itself");
	if (links_get(b->links, entry->link, entry->link_len, &id) != LINK_HARD) {
		id = b->answer_count++;
		request.link_id = (uint32_t)id;
		request.entry.path = entry->link;
		request.entry.path_len = entry->link_len;
		request.entry.type = RECORD_REQUEST;
		TRY(sorter_add(b->sorter, &request, e));
	}
	record->link_id = (uint32_t)id;
	return links_set(b->links, entry->path, entry->path_len, LINK_HARD, id, e);
}

enum err_code build_add(struct build *b, const struct files_entry *entry, const char *note, size_t note_len,
                        struct err *e)
{
	struct record record = {.entry = *entry, .note_len = (uint32_t)note_len};
	bool marker = entry->type == FILES_WHITEOUT || entry->type == FILES_OPAQUE;
	bool root = entry->path_len == 1 && entry->path[0] == '.';

	if (++b->entries > MIN(b->limits->entries, (uint64_t)UINT32_MAX))
		return ERR(e, ERR_TOO_LARGE, "the layer has more than %llu entries",
		           (unsigned long long)b->limits->entries);
	if (root && !marker && entry->type != FILES_DIRECTORY)
		return ERR(e, ERR_INVALID, "the root is not a directory");
	record.seq = (uint32_t)b->entries;
	if (note_len > 0)
		TRY(spill_log_add(b->log, note, note_len, &record.note, e));
	if (entry->type == FILES_HARDLINK)
		TRY(add_hard_link(b, entry, &record, e));
	else if (!marker)
		TRY(follow_note(b->follow, entry->path, entry->path_len,
		                entry->type == FILES_SYMLINK ? entry->link : NULL, entry->link_len, e));
	return sorter_add(b->sorter, &record, e);
}

enum err_code build_write(struct build *b, files_write write_files, void *files_arg, files_write write_summary,
                          void *summary_arg, struct summary_counts *counts, struct err *e)
{
	sorter_seal(b->sorter);
	TRY(build_prepare(b, e));
	return build_print(b, write_files, files_arg, write_summary, summary_arg, counts, e);
}
