#include "proto/document/merge_internal.h"

#include <stdlib.h>
#include <string.h>

struct link {
	const char *path, *target;
	size_t path_len, target_len;
	struct files_entry *found; /* NULL: the layers below have nothing there that can be linked */
};

struct merge_links {
	size_t layer_count, total;
	struct layer_links {
		struct link *links; /* sorted by path */
		size_t count;
	} * layers;
};

/* The links of one layer while their targets are looked for: targets in order, and how far the merge has come. */
struct search {
	TALLOC_CTX *ctx;
	struct link **by_target;
	size_t count, at;
};

static int compare_targets(const void *a, const void *b)
{
	const struct link *x = *(struct link *const *)a, *y = *(struct link *const *)b;

	return files_path_compare(x->target, x->target_len, y->target, y->target_len);
}

static enum err_code add_link(struct merge_links *table, struct layer_links *layer, const struct files_entry *entry,
                              struct err *e)
{
	struct link *link;

	if (++table->total > MERGE_LINKS_MAX)
		return ERR(e, ERR_TOO_LARGE, "more than %d hard links to lower layers' files", MERGE_LINKS_MAX);
	if ((layer->count & (layer->count - 1)) == 0)
		layer->links = talloc_realloc(table, layer->links, struct link, MAX(2 * layer->count, (size_t)1));
	ASSERT(layer->links != NULL);
	link = &layer->links[layer->count++];
	*link = (struct link){.path_len = entry->path_len, .target_len = entry->link_len};
	link->path = talloc_strndup(table, entry->path, entry->path_len);
	link->target = talloc_strndup(table, entry->link, entry->link_len);
	ASSERT(link->path && link->target);
	return ERR_OK;
}

static enum err_code collect(struct merge_links *table, const struct merge_layer *layer, struct layer_links *links,
                             struct err *e)
{
	SCRATCH_CTX(ctx);
	struct files_reader *r = files_reader_new(ctx, &layer->source);
	const struct files_entry *entry;

	for (;;) {
		TRY(files_reader_next(r, &entry, e));
		if (!entry)
			return ERR_OK;
		if (entry->type == FILES_HARDLINK)
			TRY(add_link(table, links, entry, e));
	}
}

static struct files_entry *copy_entry(TALLOC_CTX *ctx, const struct files_entry *entry)
{
	struct files_entry *copy = talloc(ctx, struct files_entry);

	ASSERT(copy != NULL);
	*copy = *entry;
	copy->path = NULL;
	if (entry->link) {
		copy->link = talloc_strndup(copy, entry->link, entry->link_len);
		ASSERT(copy->link != NULL);
	}
	return copy;
}

/* merge_emit: both the entries and the targets come in order. */
static enum err_code match(void *arg, size_t layer, const struct files_entry *entry, struct err *e)
{
	struct search *s = arg;
	struct files_entry *copy = NULL;

	(void)layer;
	(void)e;
	for (; s->at < s->count; s->at++) {
		struct link *link = s->by_target[s->at];
		int order = files_path_compare(link->target, link->target_len, entry->path, entry->path_len);

		if (order > 0)
			break;
		if (order < 0 || entry->type == FILES_DIRECTORY)
			continue;
		if (!copy)
			copy = copy_entry(s->ctx, entry);
		link->found = copy;
	}
	return ERR_OK;
}

static enum err_code resolve(struct merge_links *table, const struct merge_layer *layers, size_t layer, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct layer_links *links = &table->layers[layer];
	struct search s = {.ctx = table, .count = links->count};

	s.by_target = talloc_array(ctx, struct link *, links->count);
	ASSERT(s.by_target != NULL);
	for (size_t i = 0; i < links->count; i++)
		s.by_target[i] = &links->links[i];
	qsort(s.by_target, s.count, sizeof(*s.by_target), compare_targets);
	return merge_stack(layers, layer, table, match, &s, e);
}

enum err_code merge_links_find(TALLOC_CTX *ctx, const struct merge_layer *layers, size_t count,
                               struct merge_links **out, struct err *e)
{
	struct merge_links *table = talloc_zero(ctx, struct merge_links);

	ASSERT(table != NULL);
	table->layer_count = count;
	table->layers = talloc_zero_array(table, struct layer_links, MAX(count, (size_t)1));
	ASSERT(table->layers != NULL);
	for (size_t i = 0; i < count; i++) {
		if (layers[i].no_links)
			continue;
		TRY(collect(table, &layers[i], &table->layers[i], e));
		if (table->layers[i].count > 0)
			TRY(resolve(table, layers, i, e));
	}
	*out = table->total > 0 ? table : NULL;
	return ERR_OK;
}

static int compare_path(const void *key, const void *member)
{
	const struct link *a = key, *b = member;

	return files_path_compare(a->path, a->path_len, b->path, b->path_len);
}

const struct files_entry *merge_links_get(const struct merge_links *links, size_t layer, const char *path,
                                          size_t path_len)
{
	struct link key = {.path = path, .path_len = path_len}, *link;

	if (!links || links->layers[layer].count == 0)
		return NULL;
	link = bsearch(&key, links->layers[layer].links, links->layers[layer].count, sizeof(key), compare_path);
	return link ? link->found : NULL;
}
