/* dispatch_table: defines the dispatcher PROTO_DISPATCH for the rows of PROTO_TABLE. See proto/dispatch.h. Included
 * once, by one .c file of the service, and therefore without a guard. */
#ifdef PROTO_TABLE
#include "proto/dispatch.h"

#define RECORD(name)
#define END_RECORD(name)
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)

/* The handlers' types differ from message to message; behind one of these each looks like any other. */
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)                                                \
	enum err_code handle_##name(struct rpc_call *call, const struct name##_request *request,                       \
	                            struct name##_reply *reply, struct err *e);                                        \
	static enum err_code route_##name(struct rpc_call *call, const void *request, void *reply, struct err *e)      \
	{                                                                                                              \
		return handle_##name(call, request, reply, e);                                                         \
	}
#include PROTO_TABLE
#include "proto/service.def"
#undef MESSAGE

static const struct proto_route proto_routes[] = {
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload) {&message_##name, route_##name},
#include PROTO_TABLE
#include "proto/service.def"
#undef MESSAGE
    {NULL, NULL}};

enum err_code PROTO_DISPATCH(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e);

enum err_code PROTO_DISPATCH(struct rpc_call *call, const cJSON *body, cJSON **reply, struct err *e)
{
	return proto_dispatch(proto_routes, call, body, reply, e);
}
#undef RECORD
#undef END_RECORD
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD
#endif
