/* handler_prototypes: declares handle_<message> for every row of PROTO_TABLE. Included by the <service>_handlers.h
 * files only, and therefore without a guard. */
#ifdef PROTO_TABLE
#include "proto/messages.h"

#define RECORD(name)
#define END_RECORD(name)
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)                                                \
	enum err_code handle_##name(struct rpc_call *call, const struct name##_request *request,                       \
	                            struct name##_reply *reply, struct err *e);
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)
#include PROTO_TABLE
#undef RECORD
#undef END_RECORD
#undef MESSAGE
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD
#undef PROTO_TABLE
#endif
