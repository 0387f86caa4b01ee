#include "common/retry.h"

#include "common/clock.h"

#include <time.h>

/* How long a wait goes on before stop is asked again. */
#define SLICE_MS 50

static struct retry_policy complete(const struct retry_policy *policy)
{
	struct retry_policy p = *policy, d = RETRY_DEFAULT;

	p.attempts = p.attempts ? p.attempts : d.attempts;
	p.base_ms = p.base_ms ? p.base_ms : d.base_ms;
	p.cap_ms = p.cap_ms ? p.cap_ms : d.cap_ms;
	p.budget_ms = p.budget_ms ? p.budget_ms : d.budget_ms;
	return p;
}

struct retry retry_start(const struct retry_policy *policy, const struct patience *patience)
{
	return (struct retry){.policy = complete(policy), .patience = patience};
}

int64_t patience_left(const struct patience *p)
{
	if (!p || !p->deadline_ms)
		return INT64_MAX;
	return MAX(p->deadline_ms - clock_monotonic_ms(), 0);
}

enum err_code patience_check(const struct patience *p, const char *what, struct err *e)
{
	if (p && p->stop && p->stop(p->stop_arg))
		return ERR(e, ERR_CANCELLED, "%.200s: cancelled", what);
	if (patience_left(p) == 0)
		return ERR(e, ERR_DEADLINE, "%.200s: not done before the deadline", what);
	return ERR_OK;
}

/* False when the wait was cut short. */
static bool wait_ms(const struct patience *p, int64_t ms, struct err *e)
{
	int64_t end = clock_monotonic_ms() + ms, left;

	while ((left = end - clock_monotonic_ms()) > 0) {
		struct timespec slice = {.tv_nsec = (long)MIN(left, SLICE_MS) * 1000000};

		if (p && p->stop && p->stop(p->stop_arg)) {
			err_wrap(e, "cancelled after");
			e->code = ERR_CANCELLED;
			return false;
		}
		nanosleep(&slice, NULL);
	}
	return true;
}

bool retry_again(struct retry *r, struct err *e)
{
	int64_t wait;

	r->failed++;
	if (err_retry(e->code) != ERR_RETRY_LATER || r->failed >= r->policy.attempts)
		return false;
	wait = MAX((int64_t)backoff_ms(r->failed - 1, r->policy.base_ms, r->policy.cap_ms), (int64_t)e->retry_ms);
	if (r->waited_ms + wait > r->policy.budget_ms || wait >= patience_left(r->patience))
		return false;
	r->waited_ms += wait;
	return wait_ms(r->patience, wait, e);
}

void retry_progress(struct retry *r)
{
	r->failed = 0;
	r->waited_ms = 0;
}
