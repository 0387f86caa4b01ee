#include "proto/document/merge.h"

#include <stdlib.h>
#include <string.h>

/* A path that somebody asks about, or a directory on the way to one. Sorted, so that parents stand before children. */
struct node {
	const char *path;
	size_t len;
	size_t parent; /* index; the root is its own */
	size_t asker;  /* the lowest layer that somebody asks about here or below: only layers above it matter */
	/* The lowest of the layers read so far, all above the next one, which hides from the layers under it... */
	size_t taken_by;  /* what they have at the path */
	size_t closed_by; /* whatever is below it */
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

static struct node new_node(const char *path, size_t len, size_t asker)
{
	return (struct node){
	    .path = path, .len = len, .asker = asker, .taken_by = MERGE_VISIBLE, .closed_by = MERGE_VISIBLE};
}

/* How many bytes of path are directories that stand there already, since the question before leads through them. */
static size_t shared_directories(const struct merge_question *question, const struct merge_question *before)
{
	const char *a = question->path, *b = before->path;
	size_t shared = 0;

	if (before->layer > question->layer)
		return 0;
	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			shared = i + 1;
	return shared;
}

/* Sorted nodes, several of a path become one. Returns how many are left. */
static size_t join_nodes(struct node *nodes, size_t count)
{
	size_t kept = 1;

	qsort(nodes, count, sizeof(*nodes), compare_nodes);
	for (size_t i = 1; i < count; i++) {
		struct node *last = &nodes[kept - 1];

		if (compare_nodes(last, &nodes[i]) == 0)
			last->asker = MIN(last->asker, nodes[i].asker);
		else
			nodes[kept++] = nodes[i];
	}
	return kept;
}

/* Every path of which more must be known, and all their directories, each once, in order. */
static struct node *make_nodes(TALLOC_CTX *ctx, const struct merge_question *questions, size_t count,
                               size_t *node_count)
{
	const struct merge_question *before = NULL;
	size_t n = 0, total = 1;
	struct node *nodes;

	for (size_t i = 0; i < count; i++)
		total += count_components(questions[i].path);
	nodes = talloc_array(ctx, struct node, total);
	ASSERT(nodes != NULL);
	nodes[n++] = new_node(".", 1, 0);
	for (size_t i = 0; i < count; i++) {
		const struct merge_question *q = &questions[i];
		const char *end = q->path + (before ? shared_directories(q, before) : 0);

		if (q->hidden_by != MERGE_VISIBLE)
			continue;
		before = q;
		while ((end = strchr(end, '/'))) {
			nodes[n++] = new_node(q->path, (size_t)(end - q->path), q->layer);
			end++;
		}
		nodes[n++] = new_node(q->path, strlen(q->path), q->layer);
	}
	n = join_nodes(nodes, n);
	for (size_t i = 1; i < n; i++) {
		size_t parent = i - 1;

		while (!files_path_below(nodes[i].path, nodes[i].len, nodes[parent].path, nodes[parent].len))
			parent = nodes[parent].parent;
		nodes[i].parent = parent;
	}
	*node_count = n;
	return nodes;
}

static void note(struct node *node, enum files_type type, size_t layer)
{
	if (type == FILES_OPAQUE) {
		node->closed_by = layer;
		return;
	}
	/* A directory does not hide a directory, but nobody asks for directories; what is asked for is hidden by it. */
	node->taken_by = layer;
	if (type != FILES_DIRECTORY)
		node->closed_by = layer;
}

/* The next node that a layer below this one is asked about. */
static size_t skip_nodes(const struct node *nodes, size_t count, size_t at, size_t layer)
{
	while (at < count && nodes[at].asker >= layer)
		at++;
	return at;
}

/* Adds what one layer has at the nodes. Both sides are sorted. */
static enum err_code read_layer(const struct merge_layer *layers, size_t layer, struct node *nodes, size_t count,
                                struct err *e)
{
	SCRATCH_CTX(ctx);
	struct files_reader *r = files_reader_new(ctx, &layers[layer].source);
	size_t at = skip_nodes(nodes, count, 0, layer);
	const struct files_entry *entry;

	while (at < count) {
		int order;

		TRY(files_reader_find(r, nodes[at].path, nodes[at].len, &entry, e));
		if (!entry)
			break;
		while ((order = files_path_compare(nodes[at].path, nodes[at].len, entry->path, entry->path_len)) < 0) {
			at = skip_nodes(nodes, count, at + 1, layer);
			if (at == count)
				break;
		}
		if (order == 0)
			note(&nodes[at], entry->type, layer);
	}
	for (size_t i = 1; i < count; i++) {
		if (nodes[nodes[i].parent].closed_by == layer)
			nodes[i].taken_by = nodes[i].closed_by = layer;
	}
	return ERR_OK;
}

static const struct node *find(const struct node *nodes, size_t count, const char *path)
{
	struct node key = {.path = path, .len = strlen(path)};

	return bsearch(&key, nodes, count, sizeof(*nodes), compare_nodes);
}

/* The questions of one layer, when exactly the layers above it that must be read have been. */
static void answer(struct merge_question *questions, size_t count, size_t layer, const struct node *nodes,
                   size_t node_count)
{
	for (size_t i = 0; i < count; i++)
		if (questions[i].layer == layer && questions[i].hidden_by == MERGE_VISIBLE)
			questions[i].hidden_by = find(nodes, node_count, questions[i].path)->taken_by;
}

enum err_code merge_visible(const struct merge_layer *layers, size_t count, size_t known,
                            struct merge_question *questions, size_t question_count, struct err *e)
{
	SCRATCH_CTX(ctx);
	size_t node_count, lowest = count;
	struct node *nodes;

	ASSERT(known <= count);
	for (size_t i = 0; i < question_count; i++) {
		ASSERT(questions[i].layer < count);
		if (questions[i].layer >= known)
			questions[i].hidden_by = MERGE_VISIBLE;
		lowest = MIN(lowest, questions[i].layer);
	}
	if (known == count || lowest == count)
		return ERR_OK;
	nodes = make_nodes(ctx, questions, question_count, &node_count);
	for (size_t layer = count; layer-- > lowest;) {
		enum err_code code = ERR_OK;

		answer(questions, question_count, layer, nodes, node_count);
		if (layer > lowest && layer >= known)
			code = read_layer(layers, layer, nodes, node_count, e);
		if (code != ERR_OK)
			return err_wrap(e, "layer %zu", layer), code;
	}
	return ERR_OK;
}
