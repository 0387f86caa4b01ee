/*
 * localfs: chunks as files below archive_data_dir, on a disk or on a file system that several gateways share.
 *
 * A chunk is <dir>/<ab>/<cd>/<hex>-<number>, where ab and cd are the first digits of its digest. It is written under a
 * temporary name, flushed, renamed, and its folder flushed: after a crash it is there whole or not at all. Temporary
 * files carry the chunk's own name, so that removing the chunk removes what a crashed write left. A removal flushes the
 * folders, too, or a chunk that nobody knows any more would come back with a crash.
 *
 * A file in a folder that a crash takes away is no file, so the first put into a folder flushes all that lead to it:
 * whoever made it, maybe another gateway or one that was killed, may not have come so far. What was flushed once is
 * remembered, 65,536 bits.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/path.h"
#include "services/object-store-gateway/driver.h"
#include "services/object-store-gateway/drivers/spread.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE (DIGEST_HEX_SIZE + 32)
#define PARTIAL ".part"
#define FOLDERS 65536 /* ab/cd */

struct driver_conn {
	char *dir;
	char *place; /* dir without links in it */
	int dir_fd;
	atomic_uchar durable[FOLDERS / 8]; /* a bit for each folder that is there, and stays there in a crash */
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
	char outer[4];                             /* ab */
	char folder[8];                            /* ab/cd */
	char name[NAME_SIZE];                      /* ab/cd/<hex>-<number> */
	char partial[NAME_SIZE + sizeof(PARTIAL)]; /* under which it is written */
	unsigned number;                           /* of the folder: 0xabcd */
};

static struct file_name name_of(const struct location *at)
{
	struct digest_text hex = digest_hex(&at->sha256);
	struct file_name n;

	snprintf(n.outer, sizeof(n.outer), "%.2s", hex.text);
	snprintf(n.folder, sizeof(n.folder), "%.2s/%.2s", hex.text, hex.text + 2);
	snprintf(n.name, sizeof(n.name), "%s/%s-%" PRId64, n.folder, hex.text, at->number);
	snprintf(n.partial, sizeof(n.partial), "%s" PARTIAL, n.name);
	n.number = (unsigned)at->sha256.bytes[0] << 8 | at->sha256.bytes[1];
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

/* ---- folders ---- */

static bool is_durable(struct driver_conn *c, const struct file_name *n)
{
	return atomic_load(&c->durable[n->number / 8]) >> n->number % 8 & 1;
}

static void note_durable(struct driver_conn *c, const struct file_name *n, bool durable)
{
	unsigned char bit = (unsigned char)(1u << n->number % 8);

	if (durable)
		atomic_fetch_or(&c->durable[n->number / 8], bit);
	else
		atomic_fetch_and(&c->durable[n->number / 8], (unsigned char)~bit);
}

static enum err_code make_folder(struct driver_conn *c, const struct file_name *n, struct err *e)
{
	if ((mkdirat(c->dir_fd, n->outer, 0750) != 0 && errno != EEXIST) ||
	    (mkdirat(c->dir_fd, n->folder, 0750) != 0 && errno != EEXIST))
		return ERR_SYS(e, err_from_errno(errno), "cannot make %s/%s", c->dir, n->folder);
	return ERR_OK;
}

static enum err_code flush_folder(struct driver_conn *c, const char *folder, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = openat(c->dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s/%s", c->dir, folder);
	if (fsync(fd) != 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot flush %s/%s", c->dir, folder);
	return ERR_OK;
}

/* That of a new file, and what leads to it. From the inside out: what a journal wrote at once costs little then. */
static enum err_code flush_folders(struct driver_conn *c, const struct file_name *n, struct err *e)
{
	TRY(flush_folder(c, n->folder, e));
	if (is_durable(c, n))
		return ERR_OK;
	TRY(flush_folder(c, n->outer, e));
	TRY(flush_folder(c, ".", e));
	note_durable(c, n, true);
	return ERR_OK;
}

/* ---- put ---- */

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

static enum err_code write_file(struct driver_conn *c, const struct file_name *n, const void *bytes, size_t len,
                                struct err *e)
{
	const char *partial = n->partial;
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
	struct file_name n = name_of(at);
	enum err_code code = ERR_NOT_FOUND;

	if (is_durable(c, &n))
		code = write_file(c, &n, bytes, len, e);
	/* A folder is new, or somebody took it away. */
	if (code == ERR_NOT_FOUND) {
		note_durable(c, &n, false);
		TRY(make_folder(c, &n, e));
		code = write_file(c, &n, bytes, len, e);
	}
	TRY(code);
	return flush_folders(c, &n, e);
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

/* ---- removal ---- */

struct removal {
	struct driver_conn *conn;
	const struct location *at;
	size_t count, share;
};

static enum err_code unlink_file(struct driver_conn *c, const struct file_name *n, struct err *e)
{
	if ((unlinkat(c->dir_fd, n->name, 0) != 0 && errno != ENOENT) ||
	    (unlinkat(c->dir_fd, n->partial, 0) != 0 && errno != ENOENT))
		return ERR_SYS(e, err_from_errno(errno), "cannot remove %s/%s", c->dir, n->name);
	return ERR_OK;
}

/* First all files, then their folders: a file system that keeps a journal writes it once then. */
static enum err_code remove_share(void *arg, size_t part, struct err *e)
{
	const struct removal *r = arg;
	const struct location *at = r->at + part * r->share;
	size_t count = MIN(r->count - part * r->share, r->share);

	for (size_t i = 0; i < count; i++) {
		struct file_name n = name_of(&at[i]);

		TRY(unlink_file(r->conn, &n, e));
	}
	for (size_t i = 0; i < count; i++) {
		struct file_name n = name_of(&at[i]);
		struct err why;
		enum err_code code = flush_folder(r->conn, n.folder, &why);

		if (code == ERR_OK || code == ERR_NOT_FOUND)
			continue;
		if (e)
			*e = why;
		return code;
	}
	return ERR_OK;
}

static enum err_code localfs_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	struct removal r = {c, at, count, spread_share(count, MAX(count, (size_t)1))};

	return spread((count + r.share - 1) / r.share, remove_share, &r, e);
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

/* ---- opening ---- */

static enum err_code come_back(struct driver_conn *c, const struct location *at, const char *content, size_t len,
                               struct err *e)
{
	char back[128];
	size_t got = 0;

	TRY(localfs_get(c, at, back, sizeof(back), &got, e));
	if (got != len || memcmp(back, content, len) != 0)
		return ERR(e, ERR_INTERNAL, "what was written in %s is not what comes back", c->dir);
	return ERR_OK;
}

/* A file is written, read and removed as a chunk is. A full disk is no reason not to start: what is there can be read.
 */
static enum err_code probe(struct driver_conn *c, struct err *e)
{
	static const char content[] = "Stowage was here, and can write, read and remove.\n";
	struct location at = {.sha256 = digest_of(content, sizeof(content))};
	uint64_t random;
	enum err_code code;
	struct err why;

	random_bytes(&random, sizeof(random));
	at.number = (int64_t)(random >> 2 | UINT64_C(1) << 62); /* no chunk's number gets there */
	code = put_file(c, &at, content, sizeof(content), &why);
	if (code == ERR_EXHAUSTED)
		LOG_WARN("no space for chunks", LOG_TEXT("directory", c->dir), LOG_ERR(&why));
	else if (code == ERR_OK)
		code = come_back(c, &at, content, sizeof(content), &why);
	if (code == ERR_OK || code == ERR_EXHAUSTED)
		return localfs_remove(c, &at, 1, e);
	(void)!localfs_remove(c, &at, 1, NULL); /* the first failure is the one to tell */
	if (e)
		*e = why;
	return code;
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
		code = probe(c, e);
	if (code == ERR_OK)
		*out = c;
	else
		localfs_close(c);
	return code;
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
