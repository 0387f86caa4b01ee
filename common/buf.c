#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
	free(b->bytes);
	*b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->bytes)
		b->bytes[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t len)
{
	size_t need, size;
	char *bytes;

	if (b->failed)
		return NULL;
	if (!size_add(b->len, len, &need) || need > b->max || need == SIZE_MAX) {
		b->failed = true;
		return NULL;
	}
	if (need + 1 <= b->size)
		return b->bytes + b->len;
	size = MAX(need + 1, MIN(b->size * 2, b->max + 1));
	size = MAX(size, (size_t)64);
	bytes = realloc(b->bytes, size);
	if (!bytes) {
		b->failed = true;
		return NULL;
	}
	b->bytes = bytes;
	b->size = size;
	return b->bytes + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
	ASSERT(!b->failed && len < b->size - b->len);
	b->len += len;
	b->bytes[b->len] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	char *room = buf_reserve(b, len);

	if (!room)
		return;
	if (len)
		memcpy(room, bytes, len);
	buf_commit(b, len);
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_add_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_add_format(struct buf *b, const char *fmt, ...)
{
	va_list args;
	char *room;
	int need;

	va_start(args, fmt);
	need = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (need < 0) {
		b->failed = true;
		return;
	}
	room = buf_reserve(b, (size_t)need);
	if (!room)
		return;
	va_start(args, fmt);
	vsnprintf(room, (size_t)need + 1, fmt, args);
	va_end(args);
	buf_commit(b, (size_t)need);
}
