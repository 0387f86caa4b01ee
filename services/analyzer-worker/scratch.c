#include "services/analyzer-worker/scratch.h"

#include "common/log.h"
#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OWNER_MAX 256
#define LOCK_NAME ".lock"

struct open_file {
	int fd;
	struct scratch_job *job;
	struct open_file *next;
};

struct scratch {
	char *dir;
	uint64_t bytes_max, reserve_bytes;
	int lock_fd;
	pthread_mutex_t mutex; /* guards files */
	struct open_file *files;
};

struct scratch_job {
	struct scratch *scratch;
	char *dir;
};

static int scratch_destroy(struct scratch *s)
{
	ASSERT(!s->files);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->mutex);
	return 0;
}

/* Whoever holds the lock wrote its name into the file. */
static enum err_code lock_refused(const char *dir, int fd, struct err *e)
{
	char owner[OWNER_MAX + 1] = "";
	ssize_t len = pread(fd, owner, OWNER_MAX, 0);

	owner[MAX(len, 0)] = '\0';
	return ERR(e, ERR_CONFLICT, "scratch directory %s belongs to %s, which is running", dir,
	           *owner ? owner : "another worker");
}

static enum err_code take_lock(struct scratch *s, const char *owner, struct err *e)
{
	char *path = talloc_asprintf(s, "%s/" LOCK_NAME, s->dir);

	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? lock_refused(s->dir, s->lock_fd, e)
		                            : ERR_SYS(e, ERR_INTERNAL, "cannot lock %s", path);
	if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, owner, strlen(owner), 0) < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot write %s", path);
	return ERR_OK;
}

/* Everything but the lock is from a worker that is no more. */
static enum err_code sweep(struct scratch *s, struct err *e)
{
	DIR *dir = opendir(s->dir);
	const struct dirent *entry;
	enum err_code code = ERR_OK;
	int64_t removed = 0;

	if (!dir)
		return ERR_SYS(e, err_from_errno(errno), "cannot read scratch directory %s", s->dir);
	while (code == ERR_OK && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, LOCK_NAME) == 0)
			continue;
		code = path_remove_tree(dirfd(dir), entry->d_name, e);
		removed++;
	}
	closedir(dir);
	if (removed && code == ERR_OK)
		LOG_INFO("scratch swept", LOG_TEXT("dir", s->dir), LOG_NUMBER("left_behind", removed));
	return code;
}

enum err_code scratch_open(TALLOC_CTX *ctx, const struct scratch_options *options, struct scratch **out, struct err *e)
{
	struct scratch *s = talloc_zero(ctx, struct scratch);
	enum err_code code;

	ASSERT(s && pthread_mutex_init(&s->mutex, NULL) == 0);
	s->lock_fd = -1;
	talloc_set_destructor(s, scratch_destroy);
	s->dir = talloc_strdup(s, options->dir);
	s->bytes_max = options->bytes_max;
	s->reserve_bytes = options->reserve_bytes;
	code = path_make_directories(s->dir, 0700, e);
	if (code == ERR_OK)
		code = take_lock(s, options->owner, e);
	if (code == ERR_OK)
		code = sweep(s, e);
	if (code != ERR_OK) {
		talloc_free(s);
		return code;
	}
	*out = s;
	return ERR_OK;
}

static int job_destroy(struct scratch_job *job)
{
	struct scratch *s = job->scratch;

	pthread_mutex_lock(&s->mutex);
	for (struct open_file **at = &s->files; *at;) {
		struct open_file *file = *at;

		if (file->job != job) {
			at = &file->next;
			continue;
		}
		*at = file->next;
		close(file->fd);
		free(file);
	}
	pthread_mutex_unlock(&s->mutex);
	if (rmdir(job->dir) != 0)
		LOG_WARN("scratch directory stays", LOG_TEXT("dir", job->dir), LOG_TEXT("error", strerror(errno)));
	return 0;
}

enum err_code scratch_job_new(TALLOC_CTX *ctx, struct scratch *scratch, int64_t job, int64_t token,
                              struct scratch_job **out, struct err *e)
{
	struct scratch_job *j = talloc_zero(ctx, struct scratch_job);

	ASSERT(j);
	j->scratch = scratch;
	j->dir = talloc_asprintf(j, "%s/%" PRId64 "-%" PRId64, scratch->dir, job, token);
	if (mkdir(j->dir, 0700) != 0) {
		ERR_SYS(e, err_from_errno(errno), "cannot make scratch directory %s", j->dir);
		talloc_free(j);
		return err_from_errno(errno);
	}
	talloc_set_destructor(j, job_destroy);
	*out = j;
	return ERR_OK;
}

/* O_TMPFILE, or for file systems without it a name that is removed at once. */
static int nameless_file(const struct scratch_job *job)
{
	int fd = open(job->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *path;

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	path = talloc_asprintf(NULL, "%s/file-XXXXXX", job->dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	talloc_free(path);
	return fd;
}

enum err_code scratch_file(struct scratch_job *job, int *fd, struct err *e)
{
	struct open_file *file;
	int opened;

	TRY(scratch_check(job->scratch, e));
	opened = nameless_file(job);
	if (opened < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot make a file in %s", job->dir);
	file = calloc(1, sizeof(*file));
	ASSERT(file);
	*file = (struct open_file){.fd = opened, .job = job};
	pthread_mutex_lock(&job->scratch->mutex);
	file->next = job->scratch->files;
	job->scratch->files = file;
	pthread_mutex_unlock(&job->scratch->mutex);
	*fd = opened;
	return ERR_OK;
}

void scratch_file_close(struct scratch_job *job, int fd)
{
	struct scratch *s = job->scratch;

	pthread_mutex_lock(&s->mutex);
	for (struct open_file **at = &s->files; *at; at = &(*at)->next) {
		struct open_file *file = *at;

		if (file->fd != fd)
			continue;
		*at = file->next;
		close(file->fd);
		free(file);
		break;
	}
	pthread_mutex_unlock(&s->mutex);
}

uint64_t scratch_used(struct scratch *scratch)
{
	uint64_t used = 0;
	struct stat st;

	pthread_mutex_lock(&scratch->mutex);
	for (const struct open_file *file = scratch->files; file; file = file->next)
		if (fstat(file->fd, &st) == 0)
			used += (uint64_t)st.st_blocks * 512;
	pthread_mutex_unlock(&scratch->mutex);
	return used;
}

enum err_code scratch_check(struct scratch *scratch, struct err *e)
{
	uint64_t used = scratch_used(scratch);
	struct statvfs fs;

	if (used > scratch->bytes_max)
		return ERR(e, ERR_EXHAUSTED,
		           "scratch space in %s: %" PRIu64 " bytes are in use, scratch_max_gigabytes allows %" PRIu64,
		           scratch->dir, used, scratch->bytes_max);
	if (statvfs(scratch->dir, &fs) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "free space of %s", scratch->dir);
	if ((uint64_t)fs.f_bavail * fs.f_frsize < scratch->reserve_bytes)
		return ERR(e, ERR_EXHAUSTED,
		           "scratch space in %s: %" PRIu64 " bytes of the file system are free, %" PRIu64
		           " have to stay free",
		           scratch->dir, (uint64_t)fs.f_bavail * fs.f_frsize, scratch->reserve_bytes);
	return ERR_OK;
}
