#include "proto/store_flight.h"

#include <pthread.h>

/* Tasks are numbered as they come: [first, next) are with the flight, [first, begun) were taken by a thread. */
struct store_flight {
	size_t most;
	pthread_t threads[STORE_FLIGHT_MAX];
	size_t thread_count;
	pthread_mutex_t lock; /* guards everything below, and code and error of the tasks that run */
	pthread_cond_t work, landed;
	struct store_task *tasks[STORE_FLIGHT_MAX];
	bool done[STORE_FLIGHT_MAX];
	size_t first, begun, next;
	size_t idle; /* threads that wait for work */
	bool ending;
};

static void run_next(struct store_flight *f)
{
	size_t slot = f->begun++ % STORE_FLIGHT_MAX;
	struct store_task *task = f->tasks[slot];

	pthread_mutex_unlock(&f->lock);
	task->code = task->run(task, &task->error);
	pthread_mutex_lock(&f->lock);
	f->done[slot] = true;
	pthread_cond_signal(&f->landed);
}

static void *work(void *arg)
{
	struct store_flight *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->ending) {
		if (f->begun < f->next) {
			run_next(f);
			continue;
		}
		f->idle++;
		pthread_cond_wait(&f->work, &f->lock);
		f->idle--;
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int flight_destroy(struct store_flight *f)
{
	store_flight_cancel(f);
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_broadcast(&f->work);
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < f->thread_count; i++)
		pthread_join(f->threads[i], NULL);
	pthread_cond_destroy(&f->landed);
	pthread_cond_destroy(&f->work);
	pthread_mutex_destroy(&f->lock);
	return 0;
}

struct store_flight *store_flight_new(TALLOC_CTX *ctx, size_t most)
{
	struct store_flight *f = talloc_zero(ctx, struct store_flight);

	ASSERT(f && most >= 1 && most <= STORE_FLIGHT_MAX);
	ASSERT(pthread_mutex_init(&f->lock, NULL) == 0 && pthread_cond_init(&f->work, NULL) == 0 &&
	       pthread_cond_init(&f->landed, NULL) == 0);
	f->most = most;
	talloc_set_destructor(f, flight_destroy);
	return f;
}

/* first and next change only on the caller's thread. */
size_t store_flight_count(const struct store_flight *f)
{
	return f->next - f->first;
}

/* One more when those that are there have enough to do. */
static void start_thread(struct store_flight *f)
{
	if (f->thread_count == f->most || f->idle >= f->next - f->begun)
		return;
	if (pthread_create(&f->threads[f->thread_count], NULL, work, f) != 0)
		return;
	pthread_setname_np(f->threads[f->thread_count++], "store-flight");
}

void store_flight_push(struct store_flight *f, struct store_task *task)
{
	size_t slot = f->next % STORE_FLIGHT_MAX;

	ASSERT(store_flight_count(f) < f->most);
	pthread_mutex_lock(&f->lock);
	f->tasks[slot] = task;
	f->done[slot] = false;
	f->next++;
	start_thread(f);
	if (f->thread_count)
		pthread_cond_signal(&f->work);
	else
		run_next(f);
	pthread_mutex_unlock(&f->lock);
}

struct store_task *store_flight_pop(struct store_flight *f)
{
	size_t slot = f->first % STORE_FLIGHT_MAX;

	ASSERT(store_flight_count(f) > 0);
	pthread_mutex_lock(&f->lock);
	while (!f->done[slot])
		pthread_cond_wait(&f->landed, &f->lock);
	f->first++;
	pthread_mutex_unlock(&f->lock);
	return f->tasks[slot];
}

void store_flight_cancel(struct store_flight *f)
{
	pthread_mutex_lock(&f->lock);
	f->next = f->begun;
	pthread_mutex_unlock(&f->lock);
	while (store_flight_count(f))
		store_flight_pop(f);
}
