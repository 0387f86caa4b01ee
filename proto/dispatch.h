/*
 * dispatch: from a request on the wire to the handler of its message, and back.
 *
 * A service names its table once, in a file of its own:
 *
 *     #define PROTO_TABLE "proto/catalog.def"
 *     #define PROTO_DISPATCH catalog_dispatch
 *     #include "proto/dispatch_table.h"
 *
 * That defines `enum err_code catalog_dispatch(struct rpc_call *, const cJSON *, cJSON **, struct err *)`, which goes
 * into struct service (common/process.h), and needs one function a message,
 *
 *     enum err_code handle_image_get(struct rpc_call *call, const struct image_get_request *request,
 *                                    struct image_get_reply *reply, struct err *e);
 *
 * declared by including proto/<service>_handlers.h. Handlers get a checked request, fill a zeroed reply with memory on
 * call->ctx, and never see JSON or sockets. service_status is answered here, for every service.
 */
#ifndef PROTO_DISPATCH_H
#define PROTO_DISPATCH_H

#include "proto/messages.h"

typedef enum err_code (*proto_handler)(struct rpc_call *call, const void *request, void *reply, struct err *e);

struct proto_route {
	const struct proto_message *message;
	proto_handler handler;
};

/* routes ends with a NULL message. ERR_NOT_FOUND for a method that no row has. */
enum err_code proto_dispatch(const struct proto_route *routes, struct rpc_call *call, const cJSON *body, cJSON **reply,
                             struct err *e) MUST_CHECK;

enum err_code handle_service_status(struct rpc_call *call, const struct service_status_request *request,
                                    struct service_status_reply *reply, struct err *e);

#endif
