#include "common/rpc_workers.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct rpc_workers {
	struct rpc_workers_options options;
	pthread_mutex_t lock; /* guards queue and stopping */
	pthread_cond_t wake;
	struct rpc_work_list queue;
	bool stopping;
	size_t started;
	pthread_t threads[];
};

void rpc_work_append(struct rpc_work_list *list, struct rpc_work *work)
{
	work->next = NULL;
	if (list->last)
		list->last->next = work;
	else
		list->first = work;
	list->last = work;
	list->count++;
}

struct rpc_work *rpc_work_take(struct rpc_work_list *list)
{
	struct rpc_work *work = list->first;

	if (!work)
		return NULL;
	list->first = work->next;
	if (!list->first)
		list->last = NULL;
	list->count--;
	work->next = NULL;
	return work;
}

/* NULL: stopping. */
static struct rpc_work *next_work(struct rpc_workers *w)
{
	struct rpc_work *work = NULL;

	pthread_mutex_lock(&w->lock);
	while (!w->stopping && !w->queue.first)
		pthread_cond_wait(&w->wake, &w->lock);
	if (!w->stopping)
		work = rpc_work_take(&w->queue);
	pthread_mutex_unlock(&w->lock);
	return work;
}

static void *work_until_stopped(void *arg)
{
	struct rpc_workers *w = arg;
	struct rpc_work *work;

	while ((work = next_work(w)))
		w->options.body(work, w->options.arg);
	return NULL;
}

static bool start_thread(struct rpc_workers *w, size_t i)
{
	char name[16];

	if (pthread_create(&w->threads[i], NULL, work_until_stopped, w) != 0)
		return false;
	snprintf(name, sizeof(name), "%.11s-%zu", w->options.name, i % 1000);
	pthread_setname_np(w->threads[i], name);
	w->started++;
	return true;
}

enum err_code rpc_workers_start(TALLOC_CTX *ctx, const struct rpc_workers_options *options, struct rpc_workers **out,
                                struct err *e)
{
	struct rpc_work_list left = {0};
	struct rpc_workers *w;

	w = talloc_zero_size(ctx, sizeof(*w) + options->threads * sizeof(w->threads[0]));
	ASSERT(w && pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->wake, NULL) == 0);
	w->options = *options;
	for (size_t i = 0; i < options->threads; i++) {
		if (!start_thread(w, i)) {
			rpc_workers_stop(w, &left);
			talloc_free(w);
			return ERR(e, ERR_EXHAUSTED, "cannot start thread %zu of %zu of %s", i + 1, options->threads,
			           options->name);
		}
	}
	*out = w;
	return ERR_OK;
}

bool rpc_workers_push(struct rpc_workers *w, struct rpc_work *work)
{
	bool room;

	pthread_mutex_lock(&w->lock);
	room = w->queue.count < w->options.queue_max;
	if (room)
		rpc_work_append(&w->queue, work);
	pthread_mutex_unlock(&w->lock);
	if (room)
		pthread_cond_signal(&w->wake);
	return room;
}

void rpc_workers_stop(struct rpc_workers *w, struct rpc_work_list *left)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < w->started; i++)
		pthread_join(w->threads[i], NULL);
	w->started = 0;
	*left = w->queue;
	w->queue = (struct rpc_work_list){0};
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
}
