/*
 * buf: bytes that grow, up to a maximum given at birth.
 *
 *     struct buf b;
 *     buf_init(&b, 64 * KIB);
 *     buf_add_text(&b, "a");
 *     buf_add_format(&b, "%d", 7);
 *     if (buf_failed(&b))
 *             return ERR(e, ERR_TOO_LARGE, "...");
 *     use(b.bytes, b.len);
 *     buf_release(&b);
 *
 * Adding past the maximum, or without memory, sets a failure that stays: the content is then no longer changed, so a
 * sequence of adds is checked once, at its end. The content is followed by a NUL that len does not count.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/base.h"

#include <stdarg.h>

struct buf {
	char *bytes; /* never NULL after the first add; owned by the buf */
	size_t len;
	size_t size; /* allocated */
	size_t max;
	bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* also the cleanup helper: CLEANUP(buf_release) struct buf b; */

/* Empties, keeps the memory, clears the failure. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_char(struct buf *b, char c);
void buf_add_text(struct buf *b, const char *text);
void buf_add_format(struct buf *b, const char *fmt, ...) PRINTF(2, 3);

/* Room for len more bytes at the end, or NULL with the failure set. buf_commit then says how many were written. */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

#endif
