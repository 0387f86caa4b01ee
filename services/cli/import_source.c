#include "services/cli/import_source.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define BLOCK (256 * KIB)
#define LINK_HOPS 8
#define NAME_MAX_BYTES 4096

/* What was kept of a tar's member: its text, or where it links to. */
struct member {
	UT_hash_handle hh;
	char *name;
	char *link; /* NULL: a file */
	char *text; /* NULL: not kept */
	size_t len;
};

struct import_source {
	char *path;
	int directory; /* -1: a tar */
	struct member *members;
	size_t kept;
};

static void archive_cleanup(struct archive **a)
{
	if (*a)
		archive_read_free(*a);
}

/* Without "./", "/" and "." components; NULL for ".." anywhere, for nothing, and beyond bounds. On ctx. */
static char *normalise(TALLOC_CTX *ctx, const char *name)
{
	char *out = talloc_strdup(ctx, "");

	ASSERT(out);
	if (strlen(name) > NAME_MAX_BYTES)
		return NULL;
	while (*name) {
		size_t len = strcspn(name, "/");

		if (len == 2 && strncmp(name, "..", 2) == 0)
			return NULL;
		if (len && !(len == 1 && *name == '.'))
			out = talloc_asprintf_append(out, "%s%.*s", *out ? "/" : "", (int)len, name);
		ASSERT(out);
		name += len;
		name += strspn(name, "/");
	}
	return *out ? out : NULL;
}

/* A symbolic link's target, from the directory of the link; ".." may go up within the archive. */
static char *link_target(TALLOC_CTX *ctx, const char *name, const char *target)
{
	const char *slash = strrchr(name, '/');
	char *base = talloc_strndup(ctx, name, slash ? (size_t)(slash - name) : 0);

	ASSERT(base);
	while (strncmp(target, "../", 3) == 0 && *base) {
		char *up = strrchr(base, '/');

		*(up ? up : base) = '\0';
		target += 3;
	}
	return normalise(ctx, talloc_asprintf(ctx, "%s/%s", base, target));
}

static struct member *find(const struct import_source *s, const char *name)
{
	struct member *m;

	HASH_FIND(hh, s->members, name, strlen(name), m);
	return m;
}

/* ---- tar ---- */

static enum err_code tar_error(const struct import_source *s, struct archive *a, struct err *e)
{
	int sys = archive_errno(a);
	const char *text = archive_error_string(a);

	if (sys == ENOMEM || sys == EIO || sys == ENOSPC)
		return ERR(e, ERR_INTERNAL, "%s: %s", s->path, text ? text : "cannot be read");
	return ERR(e, ERR_CORRUPT, "%s is no archive, or damaged: %s", s->path, text ? text : "no details");
}

static enum err_code tar_open(const struct import_source *s, struct archive **a, struct err *e)
{
	*a = archive_read_new();
	ASSERT(*a);
	/* By name: "all" would run programs for formats that have no library. */
	archive_read_support_filter_gzip(*a);
	archive_read_support_filter_bzip2(*a);
	archive_read_support_filter_xz(*a);
	archive_read_support_filter_zstd(*a);
	archive_read_support_format_tar(*a);
	if (archive_read_open_filename(*a, s->path, BLOCK) != ARCHIVE_OK)
		return tar_error(s, *a, e);
	return ERR_OK;
}

/* The next entry, NULL behind the last. A warning is about a name's characters, and an entry. */
static enum err_code tar_next(const struct import_source *s, struct archive *a, size_t *count,
                              struct archive_entry **entry, struct err *e)
{
	int result = archive_read_next_header(a, entry);

	if (result == ARCHIVE_EOF) {
		*entry = NULL;
		return ERR_OK;
	}
	if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
		return tar_error(s, a, e);
	if (++*count > IMPORT_ENTRIES_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s has more than %d entries", s->path, IMPORT_ENTRIES_MAX);
	if ((uint64_t)archive_filter_bytes(a, 0) > IMPORT_BYTES_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s has more than %llu bytes of content", s->path,
		           (unsigned long long)IMPORT_BYTES_MAX);
	return ERR_OK;
}

static struct member *add_member(struct import_source *s, char *name)
{
	struct member *old = find(s, name), *m = talloc_zero(s, struct member);

	ASSERT(m);
	/* The later entry of a name is the one that unpacking leaves. */
	if (old) {
		HASH_DEL(s->members, old);
		s->kept -= old->len;
		talloc_free(old);
	}
	m->name = talloc_steal(m, name);
	HASH_ADD_KEYPTR(hh, s->members, m->name, strlen(m->name), m);
	return m;
}

/* Keeps a member's text if it begins as JSON does. */
static enum err_code keep_text(struct import_source *s, struct archive *a, char *name, size_t size, struct err *e)
{
	char *text = talloc_size(s, size + 1);
	size_t len = 0;
	struct member *m;

	ASSERT(text);
	while (len < size) {
		la_ssize_t got = archive_read_data(a, text + len, size - len);

		if (got < 0)
			return tar_error(s, a, e);
		if (got == 0)
			return ERR(e, ERR_CORRUPT, "%s: %s is cut off", s->path, name);
		len += (size_t)got;
		if (*text != '{' && *text != '[') {
			talloc_free(text);
			return ERR_OK;
		}
	}
	m = add_member(s, name);
	text[len] = '\0';
	m->text = talloc_steal(m, text);
	m->len = len;
	s->kept += len;
	if (s->kept > IMPORT_TEXTS_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s has more than %llu bytes of small JSON files", s->path,
		           (unsigned long long)IMPORT_TEXTS_MAX);
	return ERR_OK;
}

static enum err_code index_entry(struct import_source *s, struct archive *a, struct archive_entry *entry, struct err *e)
{
	const char *raw = archive_entry_pathname(entry), *target;
	char *name = raw ? normalise(s, raw) : NULL;
	int64_t size = archive_entry_size(entry);
	struct member *m;

	if (!name)
		return ERR_OK;
	target = archive_entry_hardlink(entry);
	if (target || archive_entry_filetype(entry) == AE_IFLNK) {
		char *to = target ? normalise(s, target) : link_target(s, name, archive_entry_symlink(entry));

		if (!to)
			return ERR_OK;
		m = add_member(s, name);
		m->link = talloc_steal(m, to);
		return ERR_OK;
	}
	if (archive_entry_filetype(entry) == AE_IFREG && size > 0 && (uint64_t)size <= IMPORT_TEXT_MAX)
		return keep_text(s, a, name, (size_t)size, e);
	return ERR_OK;
}

static enum err_code index_tar(struct import_source *s, struct err *e)
{
	CLEANUP(archive_cleanup) struct archive *a = NULL;
	struct archive_entry *entry;
	size_t count = 0;

	TRY(tar_open(s, &a, e));
	for (;;) {
		TRY(tar_next(s, a, &count, &entry, e));
		if (!entry)
			return ERR_OK;
		TRY(index_entry(s, a, entry, e));
	}
}

static enum err_code pass_entry(const struct import_source *s, struct archive *a, uint64_t size,
                                const struct import_receiver *r, size_t index, struct err *e)
{
	SCRATCH_CTX(scratch);
	char *piece = talloc_size(scratch, BLOCK);
	uint64_t passed = 0;

	ASSERT(piece);
	TRY(r->begin(r->arg, index, size, e));
	for (;;) {
		la_ssize_t got = archive_read_data(a, piece, BLOCK);

		if (got < 0)
			return tar_error(s, a, e);
		if (got == 0)
			break;
		passed += (uint64_t)got;
		TRY(r->bytes(r->arg, piece, (size_t)got, e));
	}
	if (passed != size)
		return ERR(e, ERR_CORRUPT, "%s: a member has %llu of %llu bytes", s->path, (unsigned long long)passed,
		           (unsigned long long)size);
	return r->end(r->arg, e);
}

static size_t index_of(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return count;
}

static enum err_code read_tar(struct import_source *s, const char *const *names, size_t count,
                              const struct import_receiver *r, bool *done, struct err *e)
{
	CLEANUP(archive_cleanup) struct archive *a = NULL;
	struct archive_entry *entry;
	size_t entries = 0, left = count;

	TRY(tar_open(s, &a, e));
	while (left) {
		SCRATCH_CTX(scratch);
		const char *raw;
		char *name;
		size_t i;

		TRY(tar_next(s, a, &entries, &entry, e));
		if (!entry)
			return ERR_OK;
		raw = archive_entry_pathname(entry);
		if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || !raw)
			continue;
		name = normalise(scratch, raw);
		i = name ? index_of(names, count, name) : count;
		if (i == count || done[i])
			continue;
		TRY(pass_entry(s, a, (uint64_t)archive_entry_size(entry), r, i, e));
		done[i] = true;
		left--;
	}
	return ERR_OK;
}

/* ---- directory ---- */

static enum err_code open_member(const struct import_source *s, const char *name, int *fd, uint64_t *size,
                                 struct err *e)
{
	struct stat about;

	*fd = openat(s->directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s/%s", s->path, name);
	if (fstat(*fd, &about) != 0 || !S_ISREG(about.st_mode))
		return ERR(e, ERR_CORRUPT, "%s/%s is no file", s->path, name);
	*size = (uint64_t)about.st_size;
	return ERR_OK;
}

static enum err_code pass_file(const struct import_source *s, const char *name, size_t index,
                               const struct import_receiver *r, struct err *e)
{
	SCRATCH_CTX(scratch);
	CLEANUP(fd_cleanup) int fd = -1;
	char *piece = talloc_size(scratch, BLOCK);
	uint64_t size;

	ASSERT(piece);
	TRY(open_member(s, name, &fd, &size, e));
	TRY(r->begin(r->arg, index, size, e));
	for (;;) {
		ssize_t got = read(fd, piece, BLOCK);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, err_from_errno(errno), "%s/%s", s->path, name);
		if (got == 0)
			return r->end(r->arg, e);
		TRY(r->bytes(r->arg, piece, (size_t)got, e));
	}
}

static enum err_code read_small(struct import_source *s, const char *name, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = -1;
	struct member *m;
	uint64_t size;
	ssize_t got;

	TRY(open_member(s, name, &fd, &size, e));
	if (size > IMPORT_TEXT_MAX)
		return ERR(e, ERR_TOO_LARGE, "%s/%s has %llu bytes", s->path, name, (unsigned long long)size);
	m = add_member(s, talloc_strdup(s, name));
	m->text = talloc_size(m, size + 1);
	ASSERT(m->text);
	while (m->len < size) {
		got = read(fd, m->text + m->len, size - m->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return ERR(e, ERR_CORRUPT, "%s/%s cannot be read whole", s->path, name);
		m->len += (size_t)got;
	}
	m->text[m->len] = '\0';
	return ERR_OK;
}

/* ---- both ---- */

static int source_destroy(struct import_source *s)
{
	HASH_CLEAR(hh, s->members);
	fd_cleanup(&s->directory);
	return 0;
}

enum err_code import_source_open(TALLOC_CTX *ctx, const char *path, struct import_source **source, struct err *e)
{
	struct import_source *s = talloc_zero(ctx, struct import_source);
	struct stat about;

	ASSERT(s);
	s->directory = -1;
	s->path = talloc_strdup(s, path);
	ASSERT(s->path);
	talloc_set_destructor(s, source_destroy);
	*source = s;
	if (stat(path, &about) != 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	if (S_ISREG(about.st_mode))
		return index_tar(s, e);
	if (!S_ISDIR(about.st_mode))
		return ERR(e, ERR_INVALID, "%s is neither a file nor a directory", path);
	s->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->directory < 0 ? ERR_SYS(e, err_from_errno(errno), "%s", path) : ERR_OK;
}

const char *import_source_resolve(struct import_source *s, const char *name)
{
	const char *at = normalise(s, name);

	for (int hops = 0; at && hops < LINK_HOPS; hops++) {
		const struct member *m = find(s, at);

		if (!m || !m->link)
			return at;
		at = m->link;
	}
	return NULL;
}

bool import_source_has_text(const struct import_source *s, const char *name)
{
	const struct member *m = find(s, name);

	if (s->directory >= 0)
		return faccessat(s->directory, name, R_OK, 0) == 0;
	return m && m->text;
}

enum err_code import_source_text(struct import_source *s, const char *name, size_t max, const char **bytes, size_t *len,
                                 struct err *e)
{
	const char *resolved = import_source_resolve(s, name);
	const struct member *m = resolved ? find(s, resolved) : NULL;

	if (resolved && !m && s->directory >= 0) {
		TRY(read_small(s, resolved, e));
		m = find(s, resolved);
	}
	if (!m || !m->text)
		return ERR(e, ERR_NOT_FOUND, "%s has no %s, or it is not JSON", s->path, name);
	if (m->len > max)
		return ERR(e, ERR_TOO_LARGE, "%s: %s has %zu bytes, at most %zu are taken", s->path, name, m->len, max);
	*bytes = m->text;
	*len = m->len;
	return ERR_OK;
}

enum err_code import_source_read(struct import_source *s, const char *const *names, size_t count,
                                 const struct import_receiver *receiver, struct err *e)
{
	SCRATCH_CTX(scratch);
	bool *done = talloc_zero_array(scratch, bool, count + 1);

	ASSERT(done);
	if (s->directory < 0)
		TRY(read_tar(s, names, count, receiver, done, e));
	for (size_t i = 0; i < count; i++) {
		if (s->directory >= 0)
			TRY(pass_file(s, names[i], i, receiver, e));
		else if (!done[i])
			return ERR(e, ERR_NOT_FOUND, "%s has no %s", s->path, names[i]);
	}
	return ERR_OK;
}
