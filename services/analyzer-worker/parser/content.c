#include "services/analyzer-worker/parser/content.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

struct content {
	struct spill *spill;
	char *memory; /* grows to the largest small file */
	size_t memory_size;
	uint64_t size, used;
	bool spilled;
	uint64_t at; /* in the spill file, at a page's begin */
	char *map;
	size_t map_len;
};

static int content_destroy(struct content *c)
{
	content_end(c);
	return 0;
}

struct content *content_new(TALLOC_CTX *ctx, struct spill *spill)
{
	struct content *c = talloc_zero(ctx, struct content);

	ASSERT(c != NULL);
	c->spill = spill;
	talloc_set_destructor(c, content_destroy);
	return c;
}

enum err_code content_begin(struct content *c, uint64_t size, struct err *e)
{
	uint64_t offset;

	content_end(c);
	c->size = size;
	c->spilled = size > CONTENT_MEMORY_MAX;
	if (c->spilled) {
		/* Room for the NUL, and for finding a page's begin. */
		TRY(spill_reserve(c->spill, size + 2 * PAGE, &offset, e));
		c->at = (offset + PAGE - 1) / PAGE * PAGE;
		return ERR_OK;
	}
	if (size < c->memory_size)
		return ERR_OK;
	talloc_free(c->memory);
	c->memory_size = MAX((size_t)size + 1, (size_t)(64 * KIB));
	c->memory = talloc_size(c, c->memory_size);
	ASSERT(c->memory != NULL);
	return ERR_OK;
}

enum err_code content_add(struct content *c, const void *bytes, size_t len, struct err *e)
{
	ASSERT(len <= c->size - c->used);
	if (c->spilled)
		TRY(spill_write(c->spill, c->at + c->used, bytes, len, e));
	else if (len > 0)
		memcpy(c->memory + c->used, bytes, len);
	c->used += len;
	return ERR_OK;
}

enum err_code content_get(struct content *c, const char **bytes, size_t *len, struct err *e)
{
	*len = (size_t)c->used;
	if (!c->spilled) {
		c->memory[c->used] = '\0';
		*bytes = c->memory;
		return ERR_OK;
	}
	TRY(spill_write(c->spill, c->at + c->used, "", 1, e));
	c->map_len = (size_t)c->used + 1;
	c->map = mmap(NULL, c->map_len, PROT_READ, MAP_SHARED, c->spill->fd, (off_t)c->at);
	if (c->map == MAP_FAILED) {
		c->map = NULL;
		return ERR_SYS(e, ERR_EXHAUSTED, "mapping a file of %zu bytes", *len);
	}
	*bytes = c->map;
	return ERR_OK;
}

void content_end(struct content *c)
{
	if (c->map)
		munmap(c->map, c->map_len);
	c->map = NULL;
	c->used = c->size = 0;
}
