#include "proto/call.h"

static void json_cleanup(cJSON **json)
{
	cJSON_Delete(*json);
	*json = NULL;
}

enum err_code proto_call_message(const struct proto_message *message, struct rpc_client *client,
                                 struct proto_call *call, TALLOC_CTX *ctx, const void *request, void *reply,
                                 struct err *e)
{
	static const struct proto_call nothing;
	const struct proto_call *with = call ? call : &nothing;
	CLEANUP(json_cleanup) cJSON *body = NULL;
	struct rpc_reply answer = {0};

	if (with->payload_len > message->request_payload)
		return ERR(e, ERR_TOO_LARGE, "%s: a payload of %zu bytes, at most %zu are allowed", message->name,
		           with->payload_len, message->request_payload);
	TRY(proto_encode(message->request(), request, &body, e));
	TRY(rpc_client_call(client,
	                    &(struct rpc_request){
				.method = message->name,
				.account = with->account,
				.body = body,
				.payload = with->payload,
				.payload_len = with->payload_len,
				.deadline_ms = with->deadline_ms ? with->deadline_ms : message->deadline_ms,
				.attempt_ms = with->attempt_ms,
			    },
	                    ctx, &answer, e));
	if (call) {
		call->reply_payload = answer.payload;
		call->reply_payload_len = answer.payload_len;
	}
	if (proto_decode(message->reply(), ctx, answer.body, PROTO_IGNORE_UNKNOWN, reply, e) != ERR_OK)
		return ERR(e, ERR_INTERNAL, "%s: a reply that is not understood: %s", message->name, e ? e->text : "");
	return ERR_OK;
}
