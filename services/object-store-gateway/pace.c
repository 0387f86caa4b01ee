#include "services/object-store-gateway/pace.h"

int64_t pace_turn(struct pace *p, int64_t now_us, size_t bytes)
{
	int64_t at = MAX(p->free_at_us, now_us);

	if (!p->rate)
		return 0;
	p->free_at_us = at + (int64_t)((double)bytes * 1e6 / (double)p->rate);
	return at - now_us;
}
