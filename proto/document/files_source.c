#include "proto/document/files.h"

#include <string.h>
#include <unistd.h>

static enum err_code memory_read(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	struct files_memory *m = arg;

	(void)e;
	*got = MIN(size, m->len - m->at);
	if (*got > 0)
		memcpy(into, m->bytes + m->at, *got);
	m->at += *got;
	return ERR_OK;
}

static enum err_code memory_rewind(void *arg, struct err *e)
{
	struct files_memory *m = arg;

	(void)e;
	m->at = 0;
	return ERR_OK;
}

struct files_source files_memory_source(struct files_memory *m)
{
	return (struct files_source){.read = memory_read, .rewind = memory_rewind, .arg = m};
}

static enum err_code file_read(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	struct files_file *f = arg;
	ssize_t n;

	do
		n = pread(f->fd, into, size, (off_t)f->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ERR_SYS(e, err_from_errno(errno), "files document");
	*got = (size_t)n;
	f->at += (size_t)n;
	return ERR_OK;
}

static enum err_code file_rewind(void *arg, struct err *e)
{
	struct files_file *f = arg;

	(void)e;
	f->at = 0;
	return ERR_OK;
}

struct files_source files_file_source(struct files_file *f)
{
	return (struct files_source){.read = file_read, .rewind = file_rewind, .arg = f};
}
