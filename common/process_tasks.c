#include "common/process_internal.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TASKS_MAX 32

struct task {
	struct process *process;
	const char *name; /* on the process's context */
	int64_t period_ms;
	process_task body;
	pthread_t thread;
	bool woken; /* under the lock */
};

struct process_tasks {
	struct process *process;
	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t changed;
	bool draining;
	struct task tasks[TASKS_MAX];
	size_t count;
};

static int tasks_destroy(struct process_tasks *t)
{
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	return 0;
}

struct process_tasks *process_tasks_new(struct process *p)
{
	struct process_tasks *t = talloc_zero(p->ctx, struct process_tasks);
	pthread_condattr_t attributes;

	ASSERT(t);
	t->process = p;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	talloc_set_destructor(t, tasks_destroy);
	return t;
}

static void wait_until(struct process_tasks *t, int64_t until_ms)
{
	struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	pthread_cond_timedwait(&t->changed, &t->lock, &at);
}

/* Waits for the task's next turn; false when there is none any more. */
static bool await_turn(struct process_tasks *t, struct task *task, int64_t next_ms)
{
	bool go_on;

	pthread_mutex_lock(&t->lock);
	while (!t->draining && !task->woken && clock_monotonic_ms() < next_ms)
		wait_until(t, next_ms);
	task->woken = false;
	go_on = !t->draining;
	pthread_mutex_unlock(&t->lock);
	return go_on;
}

static void *run_task(void *arg)
{
	struct task *task = arg;
	struct process *p = task->process;
	int64_t next_ms = 0;
	char name[16]; /* as long as the kernel takes */

	snprintf(name, sizeof(name), "%s", task->name);
	pthread_setname_np(pthread_self(), name);
	while (await_turn(p->tasks, task, next_ms)) {
		task->body(p, p->state);
		log_context_clear();
		next_ms = clock_monotonic_ms() + task->period_ms;
	}
	return NULL;
}

void process_every(struct process *p, const char *name, int64_t period_ms, process_task body)
{
	struct process_tasks *t = p->tasks;
	struct task *task;

	pthread_mutex_lock(&t->lock);
	ASSERT(t->count < TASKS_MAX);
	task = &t->tasks[t->count++];
	*task = (struct task){
	    .process = p, .name = talloc_strdup(process_ctx(p), name), .period_ms = period_ms, .body = body};
	ASSERT(task->name);
	ASSERT(pthread_create(&task->thread, NULL, run_task, task) == 0);
	pthread_mutex_unlock(&t->lock);
}

void process_wake(struct process *p, const char *name)
{
	struct process_tasks *t = p->tasks;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->tasks[i].name, name) == 0)
			t->tasks[i].woken = true;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

bool process_draining(const struct process *p)
{
	struct process_tasks *t = p->tasks;
	bool draining;

	pthread_mutex_lock(&t->lock);
	draining = t->draining;
	pthread_mutex_unlock(&t->lock);
	return draining;
}

bool process_sleep(const struct process *p, int64_t ms)
{
	struct process_tasks *t = p->tasks;
	int64_t until_ms = clock_monotonic_ms() + ms;
	bool draining;

	pthread_mutex_lock(&t->lock);
	while (!t->draining && clock_monotonic_ms() < until_ms)
		wait_until(t, until_ms);
	draining = t->draining;
	pthread_mutex_unlock(&t->lock);
	return draining;
}

void process_tasks_drain(struct process_tasks *t)
{
	pthread_mutex_lock(&t->lock);
	t->draining = true;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void process_tasks_join(struct process_tasks *t)
{
	for (size_t i = 0;; i++) {
		pthread_t thread;
		bool more;

		pthread_mutex_lock(&t->lock);
		more = i < t->count;
		if (more)
			thread = t->tasks[i].thread;
		pthread_mutex_unlock(&t->lock);
		if (!more)
			return;
		pthread_join(thread, NULL);
	}
}
