#include "proto/document/merge.h"

#include <stdlib.h>
#include <string.h>

/* A path that somebody asks about, or a directory on the way to one. Sorted, so that parents stand before children. */
struct node {
	const char *path;
	size_t len;
	size_t parent; /* index; the root is its own */
	/* What the layers read so far, all above the next one, have there. */
	bool taken;  /* the path is hidden from lower layers */
	bool closed; /* whatever is below is */
};

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return files_path_compare(x->path, x->len, y->path, y->len);
}

static size_t count_components(const char *path)
{
	size_t n = 1;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Every path asked for and all their directories, each once, in order. */
static struct node *make_nodes(TALLOC_CTX *ctx, const struct merge_question *questions, size_t count,
                               size_t *node_count)
{
	size_t n = 0, total = 1, kept = 1;
	struct node *nodes;

	for (size_t i = 0; i < count; i++)
		total += count_components(questions[i].path);
	nodes = talloc_zero_array(ctx, struct node, total);
	ASSERT(nodes != NULL);
	nodes[n++] = (struct node){.path = ".", .len = 1};
	for (size_t i = 0; i < count; i++) {
		const char *path = questions[i].path;

		for (const char *end = strchr(path, '/'); end; end = strchr(end + 1, '/'))
			nodes[n++] = (struct node){.path = path, .len = (size_t)(end - path)};
		nodes[n++] = (struct node){.path = path, .len = strlen(path)};
	}
	qsort(nodes, n, sizeof(*nodes), compare_nodes);
	for (size_t i = 1; i < n; i++)
		if (compare_nodes(&nodes[kept - 1], &nodes[i]) != 0)
			nodes[kept++] = nodes[i];
	for (size_t i = 1; i < kept; i++) {
		size_t parent = i - 1;

		while (!files_path_below(nodes[i].path, nodes[i].len, nodes[parent].path, nodes[parent].len))
			parent = nodes[parent].parent;
		nodes[i].parent = parent;
	}
	*node_count = kept;
	return nodes;
}

static void note(struct node *node, enum files_type type)
{
	if (type == FILES_OPAQUE) {
		node->closed = true;
		return;
	}
	/* A directory does not hide a directory, but nobody asks for directories; what is asked for is hidden by it. */
	node->taken = true;
	if (type != FILES_DIRECTORY)
		node->closed = true;
}

/* Adds what one layer has at the nodes. Both sides are sorted. */
static enum err_code read_layer(const struct merge_layer *layer, struct node *nodes, size_t count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct files_reader *r = files_reader_new(ctx, &layer->source);
	const struct files_entry *entry;

	for (size_t at = 0; at < count;) {
		int order;

		TRY(files_reader_next(r, &entry, e));
		if (!entry)
			break;
		do
			order = files_path_compare(nodes[at].path, nodes[at].len, entry->path, entry->path_len);
		while (order < 0 && ++at < count);
		if (order == 0)
			note(&nodes[at], entry->type);
	}
	for (size_t i = 1; i < count; i++) {
		if (nodes[nodes[i].parent].closed)
			nodes[i].taken = nodes[i].closed = true;
	}
	return ERR_OK;
}

static const struct node *find(const struct node *nodes, size_t count, const char *path)
{
	struct node key = {.path = path, .len = strlen(path)};

	return bsearch(&key, nodes, count, sizeof(*nodes), compare_nodes);
}

enum err_code merge_visible(const struct merge_layer *layers, size_t count, struct merge_question *questions,
                            size_t question_count, struct err *e)
{
	SCRATCH_CTX(ctx);
	size_t node_count, lowest = count;
	struct node *nodes = make_nodes(ctx, questions, question_count, &node_count);

	for (size_t i = 0; i < question_count; i++) {
		ASSERT(questions[i].layer < count);
		lowest = MIN(lowest, questions[i].layer);
	}
	/* From the top down: when a layer's questions are answered, exactly the layers above it have been read. */
	for (size_t layer = count; layer-- > lowest;) {
		enum err_code code;

		for (size_t i = 0; i < question_count; i++)
			if (questions[i].layer == layer)
				questions[i].visible = !find(nodes, node_count, questions[i].path)->taken;
		code = layer > lowest ? read_layer(&layers[layer], nodes, node_count, e) : ERR_OK;
		if (code != ERR_OK)
			return err_wrap(e, "layer %zu", layer), code;
	}
	return ERR_OK;
}
