#include "services/analyzer-worker/parser/tar.h"

#include "common/digest.h"
#include "services/analyzer-worker/catalogers/catalogers.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#define ZEROES (64 * KIB)

struct reader {
	struct tar *t;
	struct archive *archive;
	struct hasher *hasher;
	struct err source; /* why the ring ended, when it was not its end */
	uint64_t content;  /* bytes of files so far */
	struct buf note;
	/* The entry at hand. */
	struct name name, link;
	enum name_kind kind;
	struct files_entry entry;
	const struct cataloger *cataloger; /* that looks where it is; NULL: none */
	bool keep;                         /* its content is gathered */
};

static int reader_destroy(struct reader *r)
{
	archive_read_free(r->archive);
	buf_release(&r->note);
	return 0;
}

/* Puts the path of the entry at hand before the text. */
static enum err_code blame(const struct reader *r, const char *where, enum err_code code, struct err *e)
{
	CLEANUP(buf_release) struct buf path;

	buf_init(&path, 4 * FILES_PATH_MAX);
	files_escape(&path, r->name.path, r->name.len);
	err_wrap(e, "%s \"%.200s\"", where, path.bytes ? path.bytes : "");
	return code;
}

static la_ssize_t give_block(struct archive *a, void *arg, const void **block)
{
	struct reader *r = arg;
	const uint8_t *bytes = NULL;
	size_t len;

	if (ring_consume(r->t->ring, &bytes, &len, &r->source) != ERR_OK) {
		archive_set_error(a, EIO, "%s", r->source.text);
		return ARCHIVE_FATAL;
	}
	*block = bytes;
	return (la_ssize_t)len;
}

/* What libarchive says of a damaged tar; an error of the stream under it goes before. */
static enum err_code archive_fault(struct reader *r, struct err *e)
{
	const char *text = archive_error_string(r->archive);

	if (r->source.code != ERR_OK) {
		if (e)
			*e = r->source;
		return r->source.code;
	}
	if (archive_errno(r->archive) == ENOMEM)
		return ERR(e, ERR_TOO_LARGE, "no memory for it");
	return ERR(e, ERR_CORRUPT, "tar: %s", text ? text : "damaged");
}

static enum err_code open_archive(struct reader *r, struct err *e)
{
	r->archive = archive_read_new();
	if (!r->archive)
		return ERR(e, ERR_EXHAUSTED, "no memory for a tar reader");
	if (archive_read_support_format_tar(r->archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(r->archive) != ARCHIVE_OK)
		return ERR(e, ERR_INTERNAL, "libarchive cannot read tar");
	if (archive_read_open(r->archive, r, NULL, give_block, NULL) != ARCHIVE_OK)
		return archive_fault(r, e);
	return ERR_OK;
}

/*
 * In the C locale, libarchive warns of each name outside ASCII that it cannot convert, and leaves its bytes as they
 * are: that is what is wanted. (In a UTF-8 locale there would be no warning, but names of pax headers would be brought
 * into Unicode's composed form and be other files' names.) It warns without words of ACLs that it does not understand,
 * which nobody asks for here. What else it warns of means that something was not read.
 */
static bool is_harmless(const char *warning)
{
	return !warning || strstr(warning, "be converted from") != NULL;
}

static enum files_type type_of(struct archive_entry *from)
{
	if (archive_entry_hardlink(from))
		return FILES_HARDLINK;
	switch (archive_entry_filetype(from)) {
	case AE_IFDIR:
		return FILES_DIRECTORY;
	case AE_IFLNK:
		return FILES_SYMLINK;
	case AE_IFCHR:
		return FILES_CHAR;
	case AE_IFBLK:
		return FILES_BLOCK;
	case AE_IFIFO:
		return FILES_FIFO;
	default:
		return FILES_REGULAR;
	}
}

static enum err_code read_owner(int64_t value, const char *what, uint64_t *to, struct err *e)
{
	if (value < 0 || value > UINT32_MAX)
		return ERR(e, ERR_INVALID, "its %s %lld is none", what, (long long)value);
	*to = (uint64_t)value;
	return ERR_OK;
}

static enum err_code read_link(struct reader *r, struct archive_entry *from, struct err *e)
{
	struct files_entry *entry = &r->entry;

	if (entry->type == FILES_SYMLINK) {
		entry->link = archive_entry_symlink(from);
		entry->link_len = entry->link ? strlen(entry->link) : 0;
		if (entry->link_len == 0 || entry->link_len > FILES_PATH_MAX)
			return ERR(e, ERR_INVALID, "its link target is %zu bytes long", entry->link_len);
	}
	if (entry->type == FILES_HARDLINK) {
		const char *target = archive_entry_hardlink(from);

		if (name_normalise(target, strlen(target), &r->link, e) != ERR_OK)
			return err_wrap(e, "its link target \"%.200s\"", target);
		TRY(build_follow(r->t->build, &r->link, e));
		entry->link = r->link.path;
		entry->link_len = r->link.len;
	}
	return ERR_OK;
}

static enum err_code read_size(struct reader *r, struct archive_entry *from, struct err *e)
{
	int64_t size = archive_entry_size(from);

	if (size < 0)
		return ERR(e, ERR_CORRUPT, "its size is negative");
	r->entry.size = (uint64_t)size;
	if (r->entry.size > r->t->limits->unpacked || r->content > r->t->limits->unpacked - r->entry.size)
		return ERR(e, ERR_TOO_LARGE, "with its %lld bytes the files of the layer are more than %llu bytes",
		           (long long)size, (unsigned long long)r->t->limits->unpacked);
	r->content += r->entry.size;
	return ERR_OK;
}

/* Name, kind and attributes of the entry at hand; only name is good after a failure. */
static enum err_code describe(struct reader *r, struct archive_entry *from, struct err *e)
{
	const char *raw = archive_entry_pathname(from);
	struct files_entry *entry = &r->entry;

	r->cataloger = NULL;
	*entry = (struct files_entry){0};
	TRY(name_classify(&r->name, &r->kind, e));
	if (r->kind == NAME_IGNORED)
		return ERR_OK;
	TRY(build_follow(r->t->build, &r->name, e));
	entry->path = r->name.path;
	entry->path_len = r->name.len;
	entry->type = r->kind == NAME_ENTRY ? type_of(from) : r->kind == NAME_OPAQUE ? FILES_OPAQUE : FILES_WHITEOUT;
	if (r->kind != NAME_ENTRY)
		return ERR_OK;
	entry->mode = entry->type == FILES_SYMLINK ? 0777 : (uint32_t)archive_entry_perm(from) & 07777;
	TRY(read_owner(archive_entry_uid(from), "owner", &entry->uid, e));
	TRY(read_owner(archive_entry_gid(from), "group", &entry->gid, e));
	TRY(read_link(r, from, e));
	if (entry->type == FILES_CHAR || entry->type == FILES_BLOCK) {
		entry->dev_major = (uint32_t)archive_entry_rdevmajor(from);
		entry->dev_minor = (uint32_t)archive_entry_rdevminor(from);
	}
	if (entry->type == FILES_REGULAR)
		TRY(read_size(r, from, e));
	if (entry->type == FILES_REGULAR || entry->type == FILES_SYMLINK)
		r->cataloger = catalogers_find(entry->path, entry->path_len);
	return raw ? ERR_OK : ERR(e, ERR_CORRUPT, "it has no name");
}

static enum err_code name_entry(struct reader *r, struct archive_entry *from, struct err *e)
{
	const char *raw = archive_entry_pathname(from);
	size_t len = raw ? strlen(raw) : 0;

	if (name_normalise(raw ? raw : "", len, &r->name, e) == ERR_OK)
		return ERR_OK;
	/* What cannot be a path is still what the user looks for. */
	r->name.len = MIN(len, (size_t)200);
	memcpy(r->name.path, raw ? raw : "", r->name.len);
	return e ? e->code : ERR_INVALID;
}

static enum err_code take_bytes(struct reader *r, const void *bytes, size_t len, struct err *e)
{
	hasher_add(r->hasher, bytes, len);
	return r->keep ? content_add(r->t->content, bytes, len, e) : ERR_OK;
}

/* The hole of a sparse file. */
static enum err_code take_zeroes(struct reader *r, uint64_t len, struct err *e)
{
	static const uint8_t zeroes[ZEROES];

	for (; len > 0; len -= MIN(len, (uint64_t)ZEROES))
		TRY(take_bytes(r, zeroes, (size_t)MIN(len, (uint64_t)ZEROES), e));
	return ERR_OK;
}

static enum err_code hash_content(struct reader *r, struct err *e)
{
	uint64_t size = r->entry.size, at = 0;

	if (size == 0)
		return ERR_OK;
	while (at < size) {
		const void *bytes;
		size_t len;
		la_int64_t offset;
		int status = archive_read_data_block(r->archive, &bytes, &len, &offset);

		if (status == ARCHIVE_EOF)
			break;
		if (status != ARCHIVE_OK)
			return archive_fault(r, e);
		if ((uint64_t)offset < at || (uint64_t)offset > size || len > size - (uint64_t)offset)
			return ERR(e, ERR_CORRUPT, "tar: its content is not where its size says");
		TRY(take_zeroes(r, (uint64_t)offset - at, e));
		TRY(take_bytes(r, bytes, len, e));
		at = (uint64_t)offset + len;
	}
	TRY(take_zeroes(r, size - at, e));
	r->entry.sha256 = hasher_finish(r->hasher);
	return ERR_OK;
}

/* Lets a cataloger read the file that is in content, or says why not. */
static enum err_code read_file(struct reader *r, const struct cataloger *cataloger, struct buf *note, struct err *e)
{
	struct cataloger_file file = {.path = r->entry.path};

	if (r->entry.size > cataloger->max_bytes) {
		catalogers_refuse(cataloger, r->entry.path, r->entry.size, note);
		return ERR_OK;
	}
	TRY(content_get(r->t->content, &file.bytes, &file.len, e));
	catalogers_read(cataloger, &file, note, &r->t->packages);
	if (r->t->packages > r->t->limits->packages)
		return ERR(e, ERR_TOO_LARGE, "the layer has more than %llu packages",
		           (unsigned long long)r->t->limits->packages);
	if (buf_failed(note))
		return ERR(e, ERR_TOO_LARGE, "what was found in it is too long");
	return ERR_OK;
}

/* The same for those that want the file under other names. */
static enum err_code read_wanted(struct reader *r, struct want *wants, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		CLEANUP(buf_release) struct buf note;

		buf_init(&note, SUMMARY_BYTES_MAX);
		TRY(read_file(r, wants[i].cataloger, &note, e));
		if (note.len > 0)
			TRY(build_keep_want(r->t->build, &wants[i], note.bytes, note.len, e));
	}
	return ERR_OK;
}

/* Hashes the content and lets the catalogers read it that want it. Findings under its own name go to r->note. */
static enum err_code read_content(struct reader *r, struct err *e)
{
	size_t wanted = 0;
	struct want *wants = r->t->wants ? wants_of(r->t->wants, build_next_seq(r->t->build), &wanted) : NULL;
	uint64_t most = r->cataloger ? r->cataloger->max_bytes : 0;

	for (size_t i = 0; i < wanted; i++)
		most = MAX(most, wants[i].cataloger->max_bytes);
	r->keep = (r->cataloger || wanted > 0) && r->entry.size <= most;
	if (r->keep)
		TRY(content_begin(r->t->content, r->entry.size, e));
	TRY(hash_content(r, e));
	if (r->cataloger)
		TRY(read_file(r, r->cataloger, &r->note, e));
	TRY(read_wanted(r, wants, wanted, e));
	content_end(r->t->content);
	return ERR_OK;
}

static enum err_code take_entry(struct reader *r, struct archive_entry *from, struct err *e)
{
	TRY(name_entry(r, from, e));
	TRY(describe(r, from, e));
	if (r->kind == NAME_IGNORED)
		return ERR_OK;
	buf_reset(&r->note);
	if (r->entry.type == FILES_REGULAR)
		TRY(read_content(r, e));
	if (r->entry.type == FILES_SYMLINK && r->cataloger)
		catalogers_link(r->cataloger, r->entry.path, r->entry.link, &r->note);
	if (buf_failed(&r->note))
		return ERR(e, ERR_TOO_LARGE, "what was found in it is too long");
	return build_add(r->t->build, &r->entry, r->note.bytes, r->note.len, e);
}

/* The header of the next entry cannot be read: it has no name yet, but the one before it has. */
static enum err_code header_fault(struct reader *r, struct err *e)
{
	enum err_code code = archive_fault(r, e);

	if (r->source.code != ERR_OK || r->name.len == 0)
		return code;
	return blame(r, "after entry", code, e);
}

static enum err_code read_entries(struct reader *r, struct err *e)
{
	struct archive_entry *from;

	for (;;) {
		int status = archive_read_next_header(r->archive, &from);
		enum err_code code;

		if (status == ARCHIVE_EOF)
			return ERR_OK;
		if (status != ARCHIVE_OK && !(status == ARCHIVE_WARN && is_harmless(archive_error_string(r->archive))))
			return header_fault(r, e);
		atomic_fetch_add_explicit(&r->t->entries, 1, memory_order_relaxed);
		code = take_entry(r, from, e);
		if (code != ERR_OK)
			return r->source.code == ERR_OK ? blame(r, "entry", code, e) : code;
	}
}

/* What follows the archive's end counts for the DiffID, and may show that the stream is damaged. */
static enum err_code read_rest(struct reader *r, struct err *e)
{
	const uint8_t *bytes;
	size_t len;

	do
		TRY(ring_consume(r->t->ring, &bytes, &len, e));
	while (len > 0);
	return ERR_OK;
}

enum err_code tar_read(struct tar *t, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct reader *r = talloc_zero(ctx, struct reader);

	ASSERT(r != NULL);
	r->t = t;
	r->hasher = hasher_new(r);
	buf_init(&r->note, SUMMARY_BYTES_MAX);
	talloc_set_destructor(r, reader_destroy);
	TRY(open_archive(r, e));
	TRY(read_entries(r, e));
	return read_rest(r, e);
}
