/*
 * call: what all client stubs do. Encode the request, send it, decode the reply. See proto/messages.h for the stubs.
 */
#ifndef PROTO_CALL_H
#define PROTO_CALL_H

#include "proto/messages.h"

/* request and reply point to the structs of the message's tables. */
enum err_code proto_call_message(const struct proto_message *message, struct rpc_client *client,
                                 struct proto_call *call, TALLOC_CTX *ctx, const void *request, void *reply,
                                 struct err *e) MUST_CHECK;

#endif
