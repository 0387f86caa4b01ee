#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_us(clockid_t which)
{
	struct timespec t;

	ASSERT(clock_gettime(which, &t) == 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

struct clock_text clock_format(int64_t wall_ms)
{
	struct clock_text t = {"0000-00-00T00:00:00Z"};
	/* Rounds down before 1970, too. */
	time_t seconds = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
	struct tm parts;

	if (gmtime_r(&seconds, &parts) && parts.tm_year >= -1900 && parts.tm_year <= 8099)
		strftime(t.text, sizeof(t.text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return t;
}

void random_bytes(void *into, size_t len)
{
	char *at = into;

	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0) {
			ASSERT(errno == EINTR);
			continue;
		}
		at += got;
		len -= (size_t)got;
	}
}

uint64_t random_below(uint64_t limit)
{
	uint64_t value, uneven;

	ASSERT(limit > 0);
	/* The lowest 2^64 mod limit values would come up once more often than the others. */
	uneven = -limit % limit;
	do
		random_bytes(&value, sizeof(value));
	while (value < uneven);
	return value % limit;
}

unsigned backoff_ms(unsigned attempt, unsigned base_ms, unsigned cap_ms)
{
	uint64_t most = attempt < 32 ? (uint64_t)base_ms << attempt : UINT64_MAX;

	if (base_ms == 0)
		return 0;
	return (unsigned)random_below(MIN(most, (uint64_t)cap_ms) + 1);
}

int64_t clock_parse(const char *text)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t ms = 0, scale = 100;
	int hours, minutes;
	char sign;

	if (!rest)
		return 0;
	if (*rest == '.') {
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
			ms += (*rest - '0') * scale;
	}
	ms += (int64_t)timegm(&tm) * 1000;
	if (*rest == 'Z' || *rest == 'z')
		return ms;
	if (sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-'))
		return 0;
	return ms - (sign == '+' ? 1 : -1) * (hours * 60 + minutes) * 60000LL;
}
