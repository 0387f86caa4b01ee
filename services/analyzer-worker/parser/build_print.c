#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/parser/build_internal.h"
#include "services/analyzer-worker/parser/walk.h"

#include <string.h>

struct print {
	struct build *build;
	struct files_writer *files;
	files_write write_summary;
	void *summary_arg;
	struct summary_counts *counts;
	struct buf note;
	uint8_t packed[RECORD_PACKED_MAX];
};

static enum err_code read_note(struct print *p, uint64_t at, uint32_t len, const char *path, struct err *e)
{
	char *room;

	buf_reset(&p->note);
	room = buf_reserve(&p->note, len);
	if (!room)
		return ERR(e, ERR_TOO_LARGE, "what was found in \"%s\" is too long", path);
	TRY(spill_log_read(p->build->log, at, room, len, e));
	buf_commit(&p->note, len);
	return ERR_OK;
}

/* What the cataloger has to say about the file, into p->note: found when it looked at the file under its own name, or
 * when the file was wanted. *known: somebody looked. */
static enum err_code find_note(struct print *p, const char *path, const struct cataloger *cataloger,
                               const struct record *target, bool *known, struct err *e)
{
	const struct want *want;
	struct files_entry own = target->entry;

	buf_reset(&p->note);
	*known = own.type == FILES_REGULAR && catalogers_find(own.path, own.path_len) == cataloger;
	if (*known)
		return target->note_len ? read_note(p, target->note, target->note_len, path, e) : ERR_OK;
	want = p->build->found ? wants_find(p->build->found, target->seq, cataloger) : NULL;
	*known = want != NULL;
	return want && want->note_len ? read_note(p, want->note, want->note_len, path, e) : ERR_OK;
}

static void print_unseen(struct buf *out, const char *path, const struct cataloger *cataloger,
                         const struct record *target)
{
	const struct files_entry *entry = &target->entry;
	CLEANUP(buf_release) struct buf reason;
	struct summary_unparsed unparsed = {.cataloger = cataloger->name, .evidence = path, .fatal = cataloger->fatal};

	buf_init(&reason, 5 * FILES_PATH_MAX);
	if (entry->type == FILES_HARDLINK) {
		buf_add_text(&reason, "it is a hard link to ");
		files_escape(&reason, entry->link, entry->link_len);
		buf_add_text(&reason, " of a lower layer, whose content is not read again");
	} else {
		buf_add_text(&reason, "it is a hard link to ");
		files_escape(&reason, entry->path, entry->path_len);
		buf_add_text(&reason, ", which no cataloger reads under that name");
	}
	unparsed.reason = reason.bytes;
	summary_print_unparsed(out, &unparsed);
}

/* A hard link in a place where a cataloger looks: what is in the file counts here, too. When nobody looked at the file
 * under its other name, its content has passed unseen; that must not be silent. */
static enum err_code note_link(struct print *p, const char *path, const struct record *target, struct err *e)
{
	const struct cataloger *cataloger = catalogers_find(path, strlen(path));
	CLEANUP(buf_release) struct buf renamed;
	bool known;

	buf_init(&renamed, SUMMARY_BYTES_MAX);
	if (!cataloger)
		return ERR_OK;
	TRY(find_note(p, path, cataloger, target, &known, e));
	if (p->note.len > 0)
		TRY(summary_rename(p->note.bytes, p->note.len, cataloger->name, path, &renamed, e));
	if (!known && p->build->missing && target->entry.type == FILES_REGULAR) {
		wants_add(p->build->missing, target->seq, cataloger);
		return ERR_OK;
	}
	if (!known)
		print_unseen(&renamed, path, cataloger, target);
	if (buf_failed(&renamed))
		return ERR(e, ERR_TOO_LARGE, "what was found in \"%s\" is too long", path);
	return renamed.len ? p->write_summary(p->summary_arg, renamed.bytes, renamed.len, e) : ERR_OK;
}

static enum err_code print_link(struct print *p, const struct walk_group *group, struct err *e)
{
	const struct build_answer *answer = &p->build->answers[group->record.link_id];
	struct files_entry entry;
	struct record target;

	ASSERT(answer->len > 0 && answer->len <= sizeof(p->packed));
	TRY(spill_log_read(p->build->log, answer->at, p->packed, answer->len, e));
	record_unpack(p->packed, &target);
	entry = target.entry;
	entry.path = group->path;
	entry.path_len = group->path_len;
	p->counts->lower_links += entry.type == FILES_HARDLINK;
	TRY(files_writer_add(p->files, &entry, e));
	if (entry.type == FILES_SYMLINK)
		return ERR_OK;
	return note_link(p, group->path, &target, e);
}

static enum err_code print_entry(struct print *p, const struct walk_group *group, struct err *e)
{
	const struct record *record = &group->record;

	p->counts->entries++;
	if (record->entry.type == FILES_HARDLINK)
		return print_link(p, group, e);
	if (record->entry.type == FILES_REGULAR)
		p->counts->bytes += record->entry.size;
	TRY(files_writer_add(p->files, &record->entry, e));
	if (record->note_len == 0)
		return ERR_OK;
	TRY(read_note(p, record->note, record->note_len, record->entry.path, e));
	return p->write_summary(p->summary_arg, p->note.bytes, p->note.len, e);
}

static enum err_code print_group(void *arg, const struct walk_group *group, struct err *e)
{
	struct print *p = arg;
	struct files_entry marker = {.path = group->path, .path_len = group->path_len};

	if (group->whiteout) {
		marker.type = FILES_WHITEOUT;
		p->counts->whiteouts++;
		TRY(files_writer_add(p->files, &marker, e));
	}
	if (group->found)
		TRY(print_entry(p, group, e));
	if (group->opaque) {
		marker.type = FILES_OPAQUE;
		p->counts->opaques++;
		TRY(files_writer_add(p->files, &marker, e));
	}
	return ERR_OK;
}

static int print_destroy(struct print *p)
{
	buf_release(&p->note);
	return 0;
}

enum err_code build_print(struct build *b, files_write write_files, void *files_arg, files_write write_summary,
                          void *summary_arg, struct summary_counts *counts, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct print *p = talloc_zero(ctx, struct print);
	struct walk_visitor visitor = {.group = print_group, .arg = p};

	ASSERT(p != NULL);
	talloc_set_destructor(p, print_destroy);
	buf_init(&p->note, SUMMARY_BYTES_MAX);
	p->build = b;
	p->files = files_writer_new(ctx, write_files, files_arg);
	p->write_summary = write_summary;
	p->summary_arg = summary_arg;
	p->counts = counts;
	*counts = (struct summary_counts){0};
	TRY(walk(b->sorter, &visitor, e));
	return files_writer_end(p->files, e);
}
