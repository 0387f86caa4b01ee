/*
 * rpc_calls: what tests that call real servers begin with: addresses of the test's own, a client, a short way to call.
 */
#ifndef TESTS_UNIT_COMMON_RPC_CALLS_H
#define TESTS_UNIT_COMMON_RPC_CALLS_H

#include "tests/unit/common/rpc_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline struct rpc_client *client_for(TALLOC_CTX *ctx, const char *const *endpoints, size_t count)
{
	struct rpc_client_options options = {
	    .name = "peer",
	    .endpoints = endpoints,
	    .endpoint_count = count,
	    .secret = {.current = PEER_SECRET},
	    .principal = "test/1",
	    .connect_wait_ms = PEER_WAIT_MS,
	};
	struct rpc_client *client;
	struct err e;

	assert_int_equal(rpc_client_new(ctx, &options, &client, &e), ERR_OK);
	return client;
}

static struct peer_dir dir;
static char tcp_a[64], tcp_b[64], ipc_a[128], ipc_b[128];

static inline int make_addresses(void **state)
{
	(void)state;
	dir = peer_make_dir();
	snprintf(tcp_a, sizeof(tcp_a), "tcp://127.0.0.1:%d", peer_free_port());
	snprintf(tcp_b, sizeof(tcp_b), "tcp://127.0.0.1:%d", peer_free_port());
	snprintf(ipc_a, sizeof(ipc_a), "ipc://%s/a.sock", dir.path);
	snprintf(ipc_b, sizeof(ipc_b), "ipc://%s/b.sock", dir.path);
	return 0;
}

static inline int remove_addresses(void **state)
{
	(void)state;
	peer_remove_dir(&dir);
	return 0;
}

static inline enum err_code call(struct rpc_client *client, TALLOC_CTX *ctx, const char *method, const char *json,
                                 struct rpc_reply *reply, struct err *e)
{
	cJSON *body = json ? cJSON_Parse(json) : NULL;
	struct rpc_request request = {.method = method, .account = "acme", .body = body, .deadline_ms = PEER_WAIT_MS};
	enum err_code code = rpc_client_call(client, &request, ctx, reply, e);

	cJSON_Delete(body);
	return code;
}

static inline int64_t whoami(struct rpc_client *client)
{
	SCRATCH_CTX(ctx);
	struct rpc_reply reply;
	struct err e = {0};
	enum err_code code = call(client, ctx, "noop", NULL, &reply, &e);

	if (code != ERR_OK)
		print_error("noop: %s\n", e.text);
	assert_int_equal(code, ERR_OK);
	return peer_number(reply.body, "pid");
}

#endif
