#include "common/process_internal.h"

#include <string.h>

static const char *const names[] = {"catalog", "gateway", "archive"};

struct process_clients {
	struct process *process;
	pthread_mutex_t lock; /* for the clients being made */
	struct rpc_client *made[ARRAY_SIZE(names)];
};

static int clients_destroy(struct process_clients *c)
{
	pthread_mutex_destroy(&c->lock);
	return 0;
}

struct process_clients *process_clients_new(struct process *p)
{
	struct process_clients *c = talloc_zero(p->ctx, struct process_clients);

	ASSERT(c);
	c->process = p;
	pthread_mutex_init(&c->lock, NULL);
	talloc_set_destructor(c, clients_destroy);
	return c;
}

static const struct config_list *endpoints_of(const struct process_config *config, size_t which)
{
	const struct config_list *lists[] = {&config->catalog_endpoints, &config->gateway_endpoints,
	                                     &config->archive_endpoints};

	return lists[which];
}

static enum err_code make(struct process_clients *c, size_t which, struct err *e)
{
	const struct process_config *config = c->process->config;
	const struct config_list *endpoints = endpoints_of(config, which);
	struct rpc_client_options options = {
	    .name = names[which],
	    .endpoints = endpoints->items,
	    .endpoint_count = endpoints->count,
	    .secret = {.current = config->cluster_secret, .previous = config->cluster_secret_previous},
	    .principal = c->process->instance,
	};

	if (endpoints->count == 0)
		return ERR(e, ERR_INVALID, "endpoints.%s is not configured", names[which]);
	return rpc_client_new(c, &options, &c->made[which], e);
}

enum err_code process_client(struct process *p, const char *which, struct rpc_client **out, struct err *e)
{
	struct process_clients *c = p->clients;
	enum err_code code = ERR_OK;
	size_t i = 0;

	while (strcmp(names[i], which) != 0) {
		i++;
		ASSERT(i < ARRAY_SIZE(names));
	}
	pthread_mutex_lock(&c->lock);
	if (!c->made[i])
		code = make(c, i, e);
	if (code == ERR_OK)
		*out = c->made[i];
	pthread_mutex_unlock(&c->lock);
	return code;
}
