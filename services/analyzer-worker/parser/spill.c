#include "services/analyzer-worker/parser/spill.h"

#include <string.h>
#include <unistd.h>

#define PIECE (64 * KIB)

struct spill_log {
	struct spill *spill;
	uint64_t offset; /* of bytes in the file, once written */
	size_t used;
	uint8_t *bytes; /* PIECE bytes, made at the first add */
};

enum err_code spill_reserve(struct spill *s, uint64_t len, uint64_t *offset, struct err *e)
{
	if (len > s->max || s->end > s->max - len)
		return ERR(e, ERR_TOO_LARGE, "the layer needs more than %llu bytes of scratch space to be sorted",
		           (unsigned long long)s->max);
	*offset = s->end;
	s->end += len;
	return ERR_OK;
}

enum err_code spill_write(struct spill *s, uint64_t offset, const void *bytes, size_t len, struct err *e)
{
	const uint8_t *from = bytes;

	while (len > 0) {
		ssize_t n = pwrite(s->fd, from, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS(e, err_from_errno(errno), "writing to scratch space");
		from += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return ERR_OK;
}

enum err_code spill_read(struct spill *s, uint64_t offset, void *into, size_t len, struct err *e)
{
	uint8_t *to = into;

	while (len > 0) {
		ssize_t n = pread(s->fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS(e, err_from_errno(errno), "reading scratch space");
		if (n == 0)
			return ERR(e, ERR_INTERNAL, "scratch space lost bytes at %llu", (unsigned long long)offset);
		to += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return ERR_OK;
}

struct spill_log *spill_log_new(TALLOC_CTX *ctx, struct spill *s)
{
	struct spill_log *log = talloc_zero(ctx, struct spill_log);

	ASSERT(log != NULL);
	log->spill = s;
	return log;
}

/* A new piece of the file for the records to come. */
static enum err_code turn_over(struct spill_log *log, struct err *e)
{
	if (log->bytes)
		TRY(spill_write(log->spill, log->offset, log->bytes, log->used, e));
	else
		log->bytes = talloc_size(log, PIECE);
	ASSERT(log->bytes != NULL);
	log->used = 0;
	return spill_reserve(log->spill, PIECE, &log->offset, e);
}

enum err_code spill_log_add(struct spill_log *log, const void *bytes, size_t len, uint64_t *offset, struct err *e)
{
	if (len > PIECE) {
		TRY(spill_reserve(log->spill, len, offset, e));
		return spill_write(log->spill, *offset, bytes, len, e);
	}
	if (!log->bytes || len > PIECE - log->used)
		TRY(turn_over(log, e));
	*offset = log->offset + log->used;
	if (len > 0)
		memcpy(log->bytes + log->used, bytes, len);
	log->used += len;
	return ERR_OK;
}

enum err_code spill_log_read(struct spill_log *log, uint64_t offset, void *into, size_t len, struct err *e)
{
	if (log->bytes && offset >= log->offset && offset - log->offset <= log->used) {
		ASSERT(len <= log->used - (offset - log->offset));
		memcpy(into, log->bytes + (offset - log->offset), len);
		return ERR_OK;
	}
	return spill_read(log->spill, offset, into, len, e);
}
