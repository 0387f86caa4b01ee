#include "common/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Metrics are pushed at the front, by compare and swap, and never leave: whoever reads the head may walk from there. */
static _Atomic(struct metric *) first;

static void register_once(struct metric *m)
{
	struct metric *head;

	if (atomic_load_explicit(&m->registered, memory_order_relaxed) || atomic_exchange(&m->registered, true))
		return;
	head = atomic_load(&first);
	do
		m->next = head;
	while (!atomic_compare_exchange_weak(&first, &head, m));
}

void metric_add(struct metric *m, int64_t by)
{
	register_once(m);
	atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
	register_once(m);
	atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

int64_t metric_read(const struct metric *m)
{
	return atomic_load_explicit(&m->value, memory_order_relaxed);
}

void metrics_each(void (*see)(const struct metric *m, void *arg), void *arg)
{
	for (const struct metric *m = atomic_load(&first); m; m = m->next)
		see(m, arg);
}

/* A family is what stands before the labels. */
static size_t family_len(const struct metric *m)
{
	return strcspn(m->name, "{");
}

static int compare_families(const struct metric *a, const struct metric *b)
{
	size_t a_len = family_len(a), b_len = family_len(b);
	int order = memcmp(a->name, b->name, MIN(a_len, b_len));

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_metrics(const void *a, const void *b)
{
	const struct metric *const *one = a, *const *other = b;
	int order = compare_families(*one, *other);

	return order ? order : strcmp((*one)->name, (*other)->name);
}

struct collection {
	const struct metric **items;
	size_t count, size;
};

static void collect(const struct metric *m, void *arg)
{
	struct collection *c = arg;

	if (c->count == c->size) {
		c->size = c->size ? 2 * c->size : 64;
		c->items = talloc_realloc(NULL, c->items, const struct metric *, c->size);
		ASSERT(c->items);
	}
	c->items[c->count++] = m;
}

void metrics_print(struct buf *out)
{
	struct collection c = {0};

	metrics_each(collect, &c);
	if (c.count)
		qsort(c.items, c.count, sizeof(const struct metric *), compare_metrics);
	for (size_t i = 0; i < c.count; i++) {
		const struct metric *m = c.items[i];

		if (i == 0 || compare_families(c.items[i - 1], m) != 0) {
			int len = (int)family_len(m);

			buf_add_format(out, "# HELP %.*s %s\n", len, m->name, m->help);
			buf_add_format(out, "# TYPE %.*s %s\n", len, m->name, m->gauge ? "gauge" : "counter");
		}
		buf_add_format(out, "%s %" PRId64 "\n", m->name, metric_read(m));
	}
	talloc_free(c.items);
}
