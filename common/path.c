#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 64

enum err_code path_make_directories(const char *path, unsigned mode, struct err *e)
{
	SCRATCH_CTX(ctx);
	char *copy = talloc_strdup(ctx, path);
	struct stat st;

	ASSERT(copy);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, mode) != 0 && errno != EEXIST)
			return ERR_SYS(e, err_from_errno(errno), "cannot make directory %s", copy);
		*slash = '/';
	}
	if (mkdir(copy, mode) != 0 && errno != EEXIST)
		return ERR_SYS(e, err_from_errno(errno), "cannot make directory %s", copy);
	if (stat(copy, &st) != 0)
		return ERR_SYS(e, err_from_errno(errno), "directory %s", copy);
	if (!S_ISDIR(st.st_mode))
		return ERR(e, ERR_INVALID, "%s is not a directory", copy);
	return ERR_OK;
}

static enum err_code remove_children(int fd, dev_t device, unsigned depth, struct err *e);

static enum err_code remove_entry(int dir_fd, const char *name, dev_t device, unsigned depth, struct err *e)
{
	struct stat st;
	int fd;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return ERR_OK;
	if (errno != EISDIR && errno != EPERM)
		return ERR_SYS(e, err_from_errno(errno), "cannot remove %s", name);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		fd_cleanup(&fd);
		return ERR_SYS(e, err_from_errno(errno), "cannot open directory %s", name);
	}
	if (device && st.st_dev != device) {
		close(fd);
		return ERR(e, ERR_FORBIDDEN, "%s is another file system", name);
	}
	if (depth == DEPTH_MAX) {
		close(fd);
		return ERR(e, ERR_TOO_LARGE, "%s is nested more than %d deep", name, DEPTH_MAX);
	}
	TRY(remove_children(fd, st.st_dev, depth + 1, e));
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) != 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot remove directory %s", name);
	return ERR_OK;
}

/* Closes fd. */
static enum err_code remove_children(int fd, dev_t device, unsigned depth, struct err *e)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	enum err_code code = ERR_OK;

	if (!dir) {
		close(fd);
		return ERR_SYS(e, ERR_INTERNAL, "cannot read a directory");
	}
	while (code == ERR_OK && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			code = remove_entry(dirfd(dir), entry->d_name, device, depth, e);
	closedir(dir);
	return code;
}

enum err_code path_remove_tree(int dir_fd, const char *name, struct err *e)
{
	return remove_entry(dir_fd, name, 0, 0, e);
}
