/*
 * messages: every message of Stowage as C structs, with its client stub.
 *
 * All of it is read off the tables: enums.def, service.def, catalog.def, gateway.def, archive.def. For a row
 * MESSAGE(image_get, ...) there are struct image_get_request and struct image_get_reply, the stub
 *
 *     enum err_code call_image_get(client, &(struct proto_call){.account = "ops"}, ctx, &request, &reply, e);
 *
 * and, in the service that answers it, a function handle_image_get (proto/dispatch.h). PROTOCOL.md shows them all.
 */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#include "common/rpc.h"
#include "proto/record.h"

/* Enums: 0 is "none given". choice_<type> is the table of texts, <type>_text and <type>_value go to text and back. */
#define VALUE(type, constant, text) constant,
#define ENUM(type) enum type { type##_none,
#define END_ENUM(type)                                                                                                 \
	}                                                                                                              \
	;                                                                                                              \
	extern const struct proto_choice choice_##type[];                                                              \
	static inline const char *type##_text(enum type value)                                                         \
	{                                                                                                              \
		return proto_choice_text(choice_##type, (int)value);                                                   \
	}                                                                                                              \
	static inline enum type type##_value(const char *text)                                                         \
	{                                                                                                              \
		return (enum type)proto_choice_value(choice_##type, text);                                             \
	}
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef END_ENUM

/* Structs. */
#define MEMBER_text(name, ...) const char *name;
#define MEMBER_flag(name, ...) bool name;
#define MEMBER_number(name, ...) int64_t name;
#define MEMBER_digest(name, ...) struct digest name;
#define MEMBER_choice(name, type) enum type name;
#define MEMBER_map(name, ...) struct proto_map name;
#define MEMBER_texts(name, ...) struct proto_texts name;
#define MEMBER_digests(name, ...) struct proto_digests name;
#define MEMBER_record(name, type) struct type *name;
#define MEMBER_list(name, type)                                                                                        \
	struct type *name;                                                                                             \
	size_t name##_count;

#define RECORD(name) struct name {
#define END_RECORD(name)                                                                                               \
	}                                                                                                              \
	;
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)
#define REQUEST(name) struct name##_request {
#define REPLY(name)                                                                                                    \
	}                                                                                                              \
	;                                                                                                              \
	struct name##_reply {
#define END(name)                                                                                                      \
	}                                                                                                              \
	;
#define FIELD(type, name, need, least, most, ...) MEMBER_##type(name, __VA_ARGS__)
#include "proto/all.def"
#undef RECORD
#undef END_RECORD
#undef MESSAGE
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD

/* What goes with a call beside the request. All of it stays the caller's. */
struct proto_call {
	const char *account; /* NULL: none, for messages that belong to no account */
	const void *payload;
	size_t payload_len;
	int64_t deadline_ms; /* 0: the message's own */
	int64_t attempt_ms;  /* 0: rpc's own */
	/* Filled by the call: the reply's payload, on ctx. */
	const void *reply_payload;
	size_t reply_payload_len;
};

/* The stubs. Failures are the transport's (ERR_UNAVAILABLE, ERR_DEADLINE, ERR_TOO_LARGE) or what the handler answered.
 */
#define RECORD(name)
#define END_RECORD(name)
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)                                                \
	enum err_code call_##name(struct rpc_client *client, struct proto_call *call, TALLOC_CTX *ctx,                 \
	                          const struct name##_request *request, struct name##_reply *reply, struct err *e)     \
	    MUST_CHECK;
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)
#include "proto/all.def"
#undef RECORD
#undef END_RECORD
#undef MESSAGE
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD

/* The tables themselves, for dispatch and documentation. */
struct proto_message {
	const char *name, *repeat;
	int64_t deadline_ms;
	size_t request_payload, reply_payload; /* largest, bytes */
	const struct proto_record *(*request)(void), *(*reply)(void);
};

#define RECORD(name) const struct proto_record *record_##name(void);
#define END_RECORD(name)
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload)                                                \
	extern const struct proto_message message_##name;
#define REQUEST(name) const struct proto_record *record_##name##_request(void);
#define REPLY(name) const struct proto_record *record_##name##_reply(void);
#define END(name)
#define FIELD(...)
#include "proto/all.def"
#undef RECORD
#undef END_RECORD
#undef MESSAGE
#undef REQUEST
#undef REPLY
#undef END
#undef FIELD

#endif
