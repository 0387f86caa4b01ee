/*
 * Listing in the order of numbers, from a server that lists in the order of names, which begin with digests.
 *
 * All names are read, a thousand a request, and the smallest WINDOW numbers after the one asked for are kept; the next
 * pages of the same walk come out of this window. A walk over n chunks thus takes n / WINDOW passes over the listing,
 * and memory is bounded whatever n is. What is put or removed while a window is used shows in the next one, at the
 * latest after WINDOW_MS; a walk is for audits, which look again before they believe that something is missing.
 */
#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_conn.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 65536
#define WINDOW_MS 600000

struct s3_window {
	pthread_mutex_t lock; /* guards what follows, and is held while the server is asked: one walk at a time */
	struct location *at;  /* 2 * WINDOW; sorted up to count */
	size_t count;
	bool cut;        /* there are larger numbers than these */
	int64_t after;   /* all are larger */
	int64_t made_ms; /* 0: never */
};

static int window_destroy(struct s3_window *w)
{
	pthread_mutex_destroy(&w->lock);
	return 0;
}

void s3_window_init(struct driver_conn *c)
{
	c->window = talloc_zero(c, struct s3_window);
	ASSERT(c->window);
	pthread_mutex_init(&c->window->lock, NULL);
	talloc_set_destructor(c->window, window_destroy);
}

static int by_number(const void *a, const void *b)
{
	const struct location *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void sort_and_cut(struct s3_window *w)
{
	if (w->count)
		qsort(w->at, w->count, sizeof(*w->at), by_number);
	if (w->count > WINDOW) {
		w->count = WINDOW;
		w->cut = true;
	}
}

struct walk {
	struct driver_conn *conn;
	struct s3_window *window;
};

static void keep(void *arg, const char *key)
{
	struct walk *walk = arg;
	struct s3_window *w = walk->window;
	struct location at;

	if (!s3_key_parse(walk->conn, key, &at) || at.number <= w->after)
		return;
	if (w->cut && at.number > w->at[WINDOW - 1].number)
		return;
	w->at[w->count++] = at;
	if (w->count == (size_t)2 * WINDOW)
		sort_and_cut(w);
}

static enum err_code read_all(struct driver_conn *c, struct s3_window *w, int64_t after, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct walk walk = {c, w};
	char *from = NULL;

	w->count = 0;
	w->cut = false;
	w->after = after;
	w->made_ms = 0;
	if (!w->at)
		w->at = talloc_array(w, struct location, (size_t)2 * WINDOW);
	ASSERT(w->at);
	do {
		SCRATCH_CTX(page);
		char *next;

		TRY(s3_keys_page(c, page, c->base, from, 1000, keep, &walk, &next, e));
		talloc_free(from);
		from = talloc_steal(ctx, next);
	} while (from);
	sort_and_cut(w);
	w->made_ms = clock_monotonic_ms();
	return ERR_OK;
}

/* The first entry beyond after. */
static size_t find(const struct s3_window *w, int64_t after)
{
	size_t low = 0, high = w->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->at[middle].number <= after)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool answers(const struct s3_window *w, int64_t after)
{
	if (!w->made_ms || clock_monotonic_ms() - w->made_ms > WINDOW_MS || after <= w->after)
		return false;
	return !w->cut || find(w, after) < w->count;
}

enum err_code s3_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                      size_t *count, struct err *e)
{
	struct s3_window *w = c->window;
	int64_t number = after ? after->number : 0;
	enum err_code code = ERR_OK;
	size_t first;

	*count = 0;
	pthread_mutex_lock(&w->lock);
	if (!after || !answers(w, number))
		code = read_all(c, w, number, e);
	if (code == ERR_OK) {
		first = find(w, number);
		*count = MIN(max, w->count - first);
		memcpy(into, w->at + first, *count * sizeof(*into));
	}
	/* The walk is over: five megabytes are not kept for the next. */
	if (code != ERR_OK || (*count == 0 && max > 0)) {
		TALLOC_FREE(w->at);
		w->count = 0;
		w->made_ms = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return code;
}
