#include "services/cli/file.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code read_all(int fd, char *into, size_t size, size_t *len, const char *path, struct err *e)
{
	*len = 0;
	while (*len < size) {
		ssize_t got = read(fd, into + *len, size - *len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, err_from_errno(errno), "%s", path);
		if (got == 0)
			return ERR_OK;
		*len += (size_t)got;
	}
	return ERR_OK;
}

enum err_code file_read(TALLOC_CTX *ctx, const char *path, size_t max, const char **text, size_t *len, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *into;

	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	into = talloc_size(ctx, max + 2);
	ASSERT(into);
	TRY(read_all(fd, into, max + 1, len, path, e));
	if (*len > max)
		return ERR(e, ERR_TOO_LARGE, "%s has more than %zu bytes", path, max);
	into[*len] = '\0';
	if (strlen(into) != *len)
		return ERR(e, ERR_INVALID, "%s is no text", path);
	*text = into;
	return ERR_OK;
}

static enum err_code open_special(const char *path, struct file_out *out, struct err *e)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	*out = (struct file_out){.out = file, .path = path};
	return ERR_OK;
}

/* Where the links end, so that they stay; a path that does not exist yet is its own. */
static const char *target_of(TALLOC_CTX *ctx, const char *path)
{
	char *resolved = realpath(path, NULL);
	const char *target = talloc_strdup(ctx, resolved ? resolved : path);

	free(resolved);
	ASSERT(target);
	return target;
}

enum err_code file_open_out(TALLOC_CTX *ctx, const char *path, struct file_out *out, struct err *e)
{
	struct stat st;
	char *temporary;
	int fd;

	*out = (struct file_out){.out = stdout};
	if (!path || strcmp(path, "-") == 0)
		return ERR_OK;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return open_special(path, out, e);
	path = target_of(ctx, path);
	temporary = talloc_asprintf(ctx, "%s.XXXXXX", path);
	ASSERT(temporary);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "%s", path);
	*out = (struct file_out){.out = fdopen(fd, "w"), .path = path, .temporary = temporary};
	ASSERT(out->out);
	return ERR_OK;
}

/* As open would have made it: readable for whom the umask allows. */
static bool set_mode(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fd, 0666 & ~mask) == 0;
}

enum err_code file_commit(struct file_out *out, struct err *e)
{
	bool failed;

	if (!out->path)
		return ERR_OK;
	failed = fflush(out->out) != 0 || ferror(out->out);
	if (!failed && out->temporary)
		failed = !set_mode(fileno(out->out)) || fsync(fileno(out->out)) != 0;
	if (failed)
		return ERR_SYS(e, err_from_errno(errno), "%s", out->path);
	failed = fclose(out->out) != 0;
	out->out = NULL;
	if (failed || (out->temporary && rename(out->temporary, out->path) != 0))
		return ERR_SYS(e, err_from_errno(errno), "%s", out->path);
	out->path = NULL;
	return ERR_OK;
}

void file_discard(struct file_out *out)
{
	if (!out->path)
		return;
	if (out->out)
		fclose(out->out);
	if (out->temporary)
		unlink(out->temporary);
	out->path = NULL;
}

bool file_reader_is_gone(FILE *out)
{
	struct pollfd fd = {.fd = fileno(out)};

	return ferror(out) && poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR);
}
