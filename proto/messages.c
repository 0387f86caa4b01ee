#include "proto/messages.h"

#include "proto/call.h"

/* Words that the tables use. */
#define REQUIRED true
#define OPTIONAL false
#define MAX_NUMBER PROTO_MAX_NUMBER
#define SECONDS 1000
#define NO_PAYLOAD 0
#define CHUNK_PAYLOAD RPC_PAYLOAD_MAX

/* Texts of the enums. */
#define ENUM(type) const struct proto_choice choice_##type[] = {
#define VALUE(type, constant, text) {constant, text},
#define END_ENUM(type)                                                                                                 \
	{                                                                                                              \
		0, NULL                                                                                                \
	}                                                                                                              \
	}                                                                                                              \
	;
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef END_ENUM

/*
 * Tables of fields. Each stands in a function, so that `self` can name its struct: offsetof then needs nothing that the
 * row does not say.
 */
#define OPEN(struct_name)                                                                                              \
	const struct proto_record *record_##struct_name(void)                                                          \
	{                                                                                                              \
		typedef struct struct_name self;                                                                       \
		static const char title[] = #struct_name;                                                              \
		static const struct proto_field fields[] = {
#define CLOSE                                                                                                          \
	{                                                                                                              \
		.name = NULL                                                                                           \
	}                                                                                                              \
	}                                                                                                              \
	;                                                                                                              \
	static const struct proto_record record = {title, sizeof(self), fields, ARRAY_SIZE(fields) - 1};               \
	return &record;                                                                                                \
	}

#define MORE_text(name, ...)
#define MORE_flag(name, ...)
#define MORE_number(name, ...)
#define MORE_digest(name, ...)
#define MORE_map(name, ...)
#define MORE_texts(name, ...)
#define MORE_digests(name, ...)
#define MORE_choice(name, of) .choices = choice_##of, .type_name = #of,
#define MORE_record(name, of) .record = record_##of, .type_name = #of,
#define MORE_list(name, of) .record = record_##of, .type_name = #of, .count_offset = offsetof(self, name##_count),

#define RECORD(name) OPEN(name)
#define END_RECORD(name) CLOSE
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)
#define REQUEST(name) OPEN(name##_request)
#define REPLY(name) CLOSE OPEN(name##_reply)
#define END(name) CLOSE
#define FIELD(kind, member, need, low, high, ...)                                                                      \
	{.name = #member,                                                                                              \
	 .type = PROTO_##kind,                                                                                         \
	 .required = need,                                                                                             \
	 .least = low,                                                                                                 \
	 .most = high,                                                                                                 \
	 .offset = offsetof(self, member),                                                                             \
	 MORE_##kind(member, __VA_ARGS__)},
#include "proto/all.def"
#undef RECORD
#undef END_RECORD
#undef MESSAGE
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD

/* Tables of messages, and their stubs. */
#define RECORD(name)
#define END_RECORD(name)
#define MESSAGE(name, repeat_text, deadline, request_payload_max, reply_payload_max)                                   \
	const struct proto_message message_##name = {#name,                                                            \
	                                             repeat_text,                                                      \
	                                             deadline,                                                         \
	                                             request_payload_max,                                              \
	                                             reply_payload_max,                                                \
	                                             record_##name##_request,                                          \
	                                             record_##name##_reply};                                           \
	enum err_code call_##name(struct rpc_client *client, struct proto_call *call, TALLOC_CTX *ctx,                 \
	                          const struct name##_request *request, struct name##_reply *reply, struct err *e)     \
	{                                                                                                              \
		return proto_call_message(&message_##name, client, call, ctx, request, reply, e);                      \
	}
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)
#include "proto/all.def"
