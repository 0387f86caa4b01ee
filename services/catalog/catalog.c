#include "services/catalog/catalog.h"

#include "services/catalog/tasks.h"

#define CONNECT_MS 5000

const char *catalog_account(const struct rpc_call *call)
{
	return call->account && *call->account ? call->account : CATALOG_DEFAULT_ACCOUNT;
}

enum err_code catalog_connect(const struct rpc_call *call, struct db **db, struct err *e)
{
	int64_t wait_ms = MIN(rpc_time_left(call), (int64_t)CONNECT_MS);

	return db_acquire(catalog_of(call)->db, wait_ms, db, e);
}

void catalog_wake_removal(struct catalog *c)
{
	if (c->process)
		process_wake(c->process, TASK_REMOVAL);
}
