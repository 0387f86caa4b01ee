#include "common/clock.h"
#include "common/rpc.h"

enum err_code rpc_check_deadline(const struct rpc_call *call, struct err *e)
{
	if (clock_monotonic_ms() >= call->deadline_ms)
		return ERR(e, ERR_DEADLINE, "the deadline of %s passed while it ran", call->method);
	return ERR_OK;
}

int64_t rpc_time_left(const struct rpc_call *call)
{
	int64_t left = call->deadline_ms - clock_monotonic_ms();

	return left > 0 ? left : 0;
}
