#include "services/analyzer-worker/parser/wants.h"

#include <stdlib.h>
#include <string.h>

struct wants {
	struct want *items;
	size_t count, at;
};

/* As it lies in the spill file; cataloger by its name, which both children know. */
struct saved {
	uint32_t seq;
	char cataloger[28];
};

struct wants *wants_new(TALLOC_CTX *ctx)
{
	struct wants *w = talloc_zero(ctx, struct wants);

	ASSERT(w != NULL);
	return w;
}

void wants_add(struct wants *w, uint32_t seq, const struct cataloger *cataloger)
{
	if ((w->count & (w->count - 1)) == 0)
		w->items = talloc_realloc(w, w->items, struct want, MAX(2 * w->count, (size_t)1));
	ASSERT(w->items != NULL);
	w->items[w->count++] = (struct want){.seq = seq, .cataloger = cataloger};
}

size_t wants_count(const struct wants *w)
{
	return w->count;
}

static int compare(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return strcmp(x->cataloger->name, y->cataloger->name);
}

enum err_code wants_save(struct wants *w, struct spill *spill, uint64_t *at, uint64_t *len, struct err *e)
{
	size_t kept = 0;

	if (w->count > 0)
		qsort(w->items, w->count, sizeof(*w->items), compare);
	for (size_t i = 0; i < w->count; i++)
		if (i == 0 || compare(&w->items[kept - 1], &w->items[i]) != 0)
			w->items[kept++] = w->items[i];
	w->count = kept;
	*len = w->count * sizeof(struct saved);
	TRY(spill_reserve(spill, *len, at, e));
	for (size_t i = 0; i < w->count; i++) {
		struct saved saved = {.seq = w->items[i].seq};

		ASSERT(strlen(w->items[i].cataloger->name) < sizeof(saved.cataloger));
		memcpy(saved.cataloger, w->items[i].cataloger->name, strlen(w->items[i].cataloger->name));
		TRY(spill_write(spill, *at + i * sizeof(saved), &saved, sizeof(saved), e));
	}
	return ERR_OK;
}

enum err_code wants_load(struct wants *w, struct spill *spill, uint64_t at, uint64_t len, struct err *e)
{
	for (uint64_t i = 0; i + sizeof(struct saved) <= len; i += sizeof(struct saved)) {
		const struct cataloger *cataloger;
		struct saved saved;

		TRY(spill_read(spill, at + i, &saved, sizeof(saved), e));
		saved.cataloger[sizeof(saved.cataloger) - 1] = '\0';
		cataloger = catalogers_by_name(saved.cataloger);
		if (!cataloger)
			return ERR(e, ERR_INTERNAL, "no cataloger is called \"%s\"", saved.cataloger);
		wants_add(w, saved.seq, cataloger);
	}
	return ERR_OK;
}

struct want *wants_of(struct wants *w, uint32_t seq, size_t *count)
{
	size_t end;

	while (w->at < w->count && w->items[w->at].seq < seq)
		w->at++;
	for (end = w->at; end < w->count && w->items[end].seq == seq;)
		end++;
	*count = end - w->at;
	return *count ? &w->items[w->at] : NULL;
}

const struct want *wants_find(const struct wants *w, uint32_t seq, const struct cataloger *cataloger)
{
	struct want key = {.seq = seq, .cataloger = cataloger};

	return w->count ? bsearch(&key, w->items, w->count, sizeof(key), compare) : NULL;
}
