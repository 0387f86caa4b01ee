/*
 * pace: so many bytes a second, evenly. Time that was not used is not saved up.
 *
 *     struct pace pace = {.rate = 1 << 20};
 *
 *     sleep(pace_turn(&pace, clock_monotonic_us(), len) / 1e6);
 *     ... len bytes ...
 *
 * One thread's.
 */
#ifndef GATEWAY_PACE_H
#define GATEWAY_PACE_H

#include "common/base.h"

struct pace {
	int64_t rate; /* bytes a second; 0: as fast as it goes */
	int64_t free_at_us;
};

/* Microseconds from now until the next bytes may begin; they are taken for granted. */
int64_t pace_turn(struct pace *p, int64_t now_us, size_t bytes);

#endif
