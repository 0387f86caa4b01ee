/*
 * clock: what time it is and how long something took. Decisions between processes never use these: they use the
 * database's clock.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include "common/base.h"

int64_t clock_monotonic_ms(void); /* for deadlines and durations in this process */
int64_t clock_monotonic_us(void);
int64_t clock_wall_ms(void); /* Unix time in milliseconds */

/* "2026-01-31T23:59:59Z", UTC. */
struct clock_text {
	char text[32];
};
struct clock_text clock_format(int64_t wall_ms);

/* Unix milliseconds of a time as RFC 3339 writes it ("2026-01-31T23:59:59.5+01:00"); 0 if text is not one. */
int64_t clock_parse(const char *text);

/* Fills len bytes from the kernel's random source; the process ends if there is none. */
void random_bytes(void *into, size_t len);

/* Evenly distributed in [0, limit); limit > 0. */
uint64_t random_below(uint64_t limit);

/* Full jitter: a random wait in [0, min(cap_ms, base_ms << attempt)]; attempt counts from 0. */
unsigned backoff_ms(unsigned attempt, unsigned base_ms, unsigned cap_ms);

#endif
