/*
 * localfs: chunks as files below archive_data_dir, on a disk or on a file system that several gateways share.
 *
 * A chunk is <dir>/<ab>/<cd>/<hex>-<number>, where ab and cd are the first digits of its digest. It is written under a
 * temporary name, flushed, renamed, and its directory flushed: after a crash it is there whole or not at all. Temporary
 * files carry the chunk's own name, so that removing the chunk removes what a crashed write left.
 */
#include "common/path.h"
#include "services/object-store-gateway/driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE (DIGEST_HEX_SIZE + 32)
#define PARTIAL ".part"

struct driver_conn {
	char *dir;
	char *place; /* dir without links in it */
	int dir_fd;
};

struct settings {
	const char *dir;
};

static const struct config_option localfs_options[] = {
    {"archive_data_dir", CONFIG_TEXT, offsetof(struct settings, dir), NULL, .required = true,
     .help = "Directory for the chunks; made if it is not there."},
    CONFIG_END,
};

struct file_name {
	char folder[8];       /* ab/cd */
	char name[NAME_SIZE]; /* ab/cd/<hex>-<number> */
};

static struct file_name name_of(const struct location *at)
{
	struct digest_text hex = digest_hex(&at->sha256);
	struct file_name n;

	snprintf(n.folder, sizeof(n.folder), "%.2s/%.2s", hex.text, hex.text + 2);
	snprintf(n.name, sizeof(n.name), "%s/%s-%" PRId64, n.folder, hex.text, at->number);
	return n;
}

static enum err_code find_place(struct driver_conn *c, struct err *e)
{
	char *real = realpath(c->dir, NULL);

	if (!real)
		return ERR_SYS(e, err_from_errno(errno), "cannot find out where %s is", c->dir);
	c->place = talloc_strdup(c, real);
	free(real);
	ASSERT(c->place);
	return ERR_OK;
}

static enum err_code open_directory(struct driver_conn *c, const struct driver_setup *setup, struct err *e)
{
	struct settings settings = {0};

	TRY(config_read_tree(c, setup->config, localfs_options, &settings, e));
	c->dir = talloc_asprintf(c, "%s/%s", settings.dir, setup->store);
	if (!setup->must_exist)
		TRY(path_make_directories(c->dir, 0750, e));
	c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s", c->dir);
	if (faccessat(c->dir_fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0)
		return ERR_SYS(e, ERR_FORBIDDEN, "cannot write in %s", c->dir);
	return find_place(c, e);
}

static void localfs_close(struct driver_conn *c)
{
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	talloc_free(c);
}

static enum err_code localfs_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
                                  struct err *e)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);
	enum err_code code;

	ASSERT(c);
	c->dir_fd = -1;
	code = open_directory(c, setup, e);
	if (code == ERR_OK)
		*out = c;
	else
		localfs_close(c);
	return code;
}

static const char *localfs_identity(struct driver_conn *c)
{
	return c->place;
}

static enum err_code localfs_ping(struct driver_conn *c, struct err *e)
{
	struct stat st;

	if (fstat(c->dir_fd, &st) != 0 || st.st_nlink == 0)
		return ERR(e, ERR_UNAVAILABLE, "directory %s is gone", c->dir);
	return ERR_OK;
}

/* Makes ab and ab/cd durable, too: a file in a directory that a crash takes away is no file. */
static enum err_code make_folder(struct driver_conn *c, const struct file_name *n, int *fd, struct err *e)
{
	char outer[3] = {n->folder[0], n->folder[1], '\0'};
	bool made = mkdirat(c->dir_fd, outer, 0750) == 0;

	if ((!made && errno != EEXIST) || (mkdirat(c->dir_fd, n->folder, 0750) != 0 && errno != EEXIST))
		return ERR_SYS(e, err_from_errno(errno), "cannot make %s/%s", c->dir, n->folder);
	if (made && fsync(c->dir_fd) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "cannot flush %s", c->dir);
	*fd = openat(c->dir_fd, n->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s/%s", c->dir, n->folder);
	return ERR_OK;
}

static enum err_code write_all(int fd, const char *bytes, size_t len, const char *name, struct err *e)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS(e, err_from_errno(errno), "cannot write %s", name);
		bytes += n;
		len -= (size_t)n;
	}
	if (fsync(fd) != 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot flush %s", name);
	return ERR_OK;
}

static enum err_code write_file(struct driver_conn *c, const struct file_name *n, const char *partial,
                                const void *bytes, size_t len, struct err *e)
{
	int fd = openat(c->dir_fd, partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	enum err_code code;

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot make %s/%s", c->dir, partial);
	code = write_all(fd, bytes, len, partial, e);
	if (close(fd) != 0 && code == ERR_OK)
		code = ERR_SYS(e, err_from_errno(errno), "cannot close %s", partial);
	if (code == ERR_OK && renameat(c->dir_fd, partial, c->dir_fd, n->name) != 0)
		code = ERR_SYS(e, err_from_errno(errno), "cannot rename %s", partial);
	if (code != ERR_OK)
		unlinkat(c->dir_fd, partial, 0);
	return code;
}

static enum err_code put_file(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                              struct err *e)
{
	CLEANUP(fd_cleanup) int folder = -1;
	struct file_name n = name_of(at);
	char partial[NAME_SIZE + sizeof(PARTIAL)];

	snprintf(partial, sizeof(partial), "%s" PARTIAL, n.name);
	TRY(make_folder(c, &n, &folder, e));
	TRY(write_file(c, &n, partial, bytes, len, e));
	if (fsync(folder) != 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot flush %s/%s", c->dir, n.folder);
	return ERR_OK;
}

/* What would have ended the start is, later, a back end that cannot be used for now: a directory that is gone, a disk
 * that is read-only since it failed. */
static enum err_code localfs_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                                 struct err *e)
{
	enum err_code code = put_file(c, at, bytes, len, e);

	if (code != ERR_NOT_FOUND && code != ERR_FORBIDDEN)
		return code;
	if (e)
		e->code = ERR_UNAVAILABLE;
	return ERR_UNAVAILABLE;
}

static enum err_code localfs_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                                 struct err *e)
{
	struct file_name n = name_of(at);
	CLEANUP(fd_cleanup) int fd = openat(c->dir_fd, n.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t total = 0;
	char beyond;

	if (fd < 0) {
		int sys = errno;

		TRY(localfs_ping(c, e));
		errno = sys;
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s/%s", c->dir, n.name);
	}
	for (;;) {
		ssize_t r = total < size ? read(fd, (char *)into + total, size - total) : read(fd, &beyond, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return ERR_SYS(e, ERR_UNAVAILABLE, "cannot read %s/%s", c->dir, n.name);
		if (r == 0)
			break;
		if (total == size)
			return ERR(e, ERR_CORRUPT, "%s/%s has more than %zu bytes", c->dir, n.name, size);
		total += (size_t)r;
	}
	*got = total;
	return ERR_OK;
}

static enum err_code localfs_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		struct file_name n = name_of(&at[i]);
		char partial[NAME_SIZE + sizeof(PARTIAL)];

		snprintf(partial, sizeof(partial), "%s" PARTIAL, n.name);
		if ((unlinkat(c->dir_fd, n.name, 0) != 0 && errno != ENOENT) ||
		    (unlinkat(c->dir_fd, partial, 0) != 0 && errno != ENOENT))
			return ERR_SYS(e, err_from_errno(errno), "cannot remove %s/%s", c->dir, n.name);
	}
	return ERR_OK;
}

/* ---- listing: all of it is read, in the order that the file system likes, and the smallest numbers are kept ---- */

struct listing {
	int64_t after;
	struct location *found; /* 2 * max */
	size_t max, count;
	bool cut; /* the first max are sorted, and what is larger is not wanted */
};

static int by_number(const void *a, const void *b)
{
	const struct location *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void sort_and_cut(struct listing *l)
{
	qsort(l->found, l->count, sizeof(*l->found), by_number);
	l->cut = l->count >= l->max;
	l->count = MIN(l->count, l->max);
}

static void consider(struct listing *l, const struct location *at)
{
	if (at->number <= l->after || (l->cut && at->number > l->found[l->max - 1].number))
		return;
	l->found[l->count++] = *at;
	if (l->count == 2 * l->max)
		sort_and_cut(l);
}

static bool parse_name(const char *name, struct location *at)
{
	char *end;

	if (strlen(name) < DIGEST_HEX_SIZE || name[DIGEST_HEX_SIZE - 1] != '-' ||
	    !digest_parse_hex(name, DIGEST_HEX_SIZE - 1, &at->sha256))
		return false;
	at->number = strtoll(name + DIGEST_HEX_SIZE, &end, 10);
	return (*end == '\0' || strcmp(end, PARTIAL) == 0) && at->number > 0;
}

static enum err_code list_folder(struct driver_conn *c, int parent, const char *name, unsigned depth, struct listing *l,
                                 struct err *e)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	enum err_code code = ERR_OK;

	if (!dir) {
		fd_cleanup(&fd);
		return ERR_SYS(e, err_from_errno(errno), "cannot list %s/%s", c->dir, name);
	}
	while (code == ERR_OK && (entry = readdir(dir))) {
		struct location at;

		if (depth < 2 && strlen(entry->d_name) == 2 && entry->d_name[0] != '.')
			code = list_folder(c, dirfd(dir), entry->d_name, depth + 1, l, e);
		else if (depth == 2 && parse_name(entry->d_name, &at))
			consider(l, &at);
	}
	closedir(dir);
	return code;
}

static enum err_code localfs_list(struct driver_conn *c, const struct location *after, struct location *into,
                                  size_t max, size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct listing l = {.after = after ? after->number : 0, .max = max};

	*count = 0;
	if (max == 0)
		return ERR_OK;
	l.found = talloc_array(ctx, struct location, 2 * max);
	ASSERT(l.found);
	TRY(list_folder(c, c->dir_fd, ".", 0, &l, e));
	sort_and_cut(&l);
	*count = l.count;
	memcpy(into, l.found, l.count * sizeof(*into));
	return ERR_OK;
}

const struct driver driver_localfs = {
    .name = "localfs",
    .open = localfs_open,
    .identity = localfs_identity,
    .put = localfs_put,
    .get = localfs_get,
    .remove = localfs_remove,
    .list = localfs_list,
    .close = localfs_close,
    .ping = localfs_ping,
};
