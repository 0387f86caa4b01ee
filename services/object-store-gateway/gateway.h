/*
 * gateway: the service's state and lifecycle, for struct service in main.c.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "services/object-store-gateway/store.h"

enum err_code gateway_start(struct process *process, void *state, struct err *e);
enum err_code gateway_ready(void *state, struct err *e);
void gateway_stop(void *state);

/* store_check.c: opens the back ends of a configuration as a start would, and puts, gets and removes a chunk. */
int gateway_check(const void *settings, struct db_pool *db);

/* dispatch.c */
enum err_code gateway_dispatch(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e);

#endif
