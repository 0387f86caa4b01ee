/*
 * busy_support: a store in which everything goes on while a test looks at it: some put and delete, one sweeps.
 *
 *     struct crowd crowd;
 *
 *     crowd_start(&crowd, f);
 *     ... look
 *     crowd_stop(&crowd);           -- fails the test if any of them met an error that it should not
 */
#ifndef TESTS_UNIT_GATEWAY_BUSY_SUPPORT_H
#define TESTS_UNIT_GATEWAY_BUSY_SUPPORT_H

#include "tests/unit/object-store-gateway/damage_support.h"

#include <pthread.h>
#include <stdatomic.h>

#define CROWD 4

struct crowd_actor {
	struct fixture *f;
	pthread_t thread;
	int number;
	atomic_bool *over;
	bool failed;
};

struct crowd {
	struct crowd_actor actors[CROWD];
	atomic_bool over;
};

static inline void *crowd_put_and_delete(void *arg)
{
	struct crowd_actor *a = arg;
	char key[32];

	for (int i = 0; !atomic_load(a->over); i++) {
		struct err e;
		struct object_path path;
		bool existed;

		snprintf(key, sizeof(key), "%d of %d", i, a->number);
		if (try_put(&a->f->store, key, key, &e) != ERR_OK)
			a->failed |= e.code != ERR_UNAVAILABLE && e.code != ERR_CONFLICT && e.code != ERR_PRECONDITION;
		snprintf(key, sizeof(key), "%d of %d", i - 3, a->number);
		path = path_of(key);
		a->failed |= object_delete(&a->f->store, &path, &existed, &e) != ERR_OK;
	}
	return NULL;
}

static inline void *crowd_sweep(void *arg)
{
	struct crowd_actor *a = arg;

	while (!atomic_load(a->over)) {
		struct gc_result result;
		struct err e;

		a->failed |= gc_run(&a->f->store, 0, 1000, &result, &e) != ERR_OK;
	}
	return NULL;
}

static inline void crowd_start(struct crowd *crowd, struct fixture *f)
{
	atomic_init(&crowd->over, false);
	for (int n = 0; n < CROWD; n++) {
		struct crowd_actor *a = &crowd->actors[n];

		*a = (struct crowd_actor){.f = f, .number = n, .over = &crowd->over};
		assert_int_equal(pthread_create(&a->thread, NULL, n ? crowd_put_and_delete : crowd_sweep, a), 0);
	}
}

static inline void crowd_stop(struct crowd *crowd)
{
	atomic_store(&crowd->over, true);
	for (int n = 0; n < CROWD; n++)
		pthread_join(crowd->actors[n].thread, NULL);
	for (int n = 0; n < CROWD; n++)
		assert_false(crowd->actors[n].failed);
}

#endif
