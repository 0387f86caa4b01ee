/*
 * rpc_header: the JSON inside a frame.
 *
 *     request  {"id", "method", "account", "principal", "deadline", "sent_at", "traceparent", "body"}
 *     reply    {"ok": true, "body"}
 *              {"ok": false, "error": {"code", "name", "message", "retryable", "retry_after_ms"}}
 *
 * deadline is what is left of the caller's time, in milliseconds, because two machines do not agree on the time of day;
 * sent_at is that time of day all the same (Unix time in milliseconds), for the replay window, which is wide enough.
 * code is the number from errors.def; name repeats it for people and for peers that know fewer codes.
 *
 * Reading checks everything before it is believed: types, lengths, that ids and names are plain printable text.
 */
#ifndef COMMON_RPC_HEADER_H
#define COMMON_RPC_HEADER_H

#include "common/buf.h"
#include "common/rpc.h"

#define RPC_ID_MAX 64
#define RPC_METHOD_MAX 64
#define RPC_ACCOUNT_MAX 255
#define RPC_PRINCIPAL_MAX 255
#define RPC_TRACE_ID_LEN 32
#define RPC_DEADLINE_MAX ((int64_t)24 * 3600 * 1000)

struct rpc_request_header {
	const char *id, *method, *account, *principal;
	const char *trace_id; /* 32 hexadecimal digits; never NULL, empty when there is none */
	int64_t deadline_ms;  /* budget */
	int64_t sent_at_ms;   /* wall clock */
};

/* Appends the header; body is JSON text, or NULL for {}. Texts that are NULL count as empty. */
void rpc_header_write_request(struct buf *out, const struct rpc_request_header *header, const char *body,
                              size_t body_len);
/* Strings and *body hang on ctx. ERR_INVALID says what is wrong. */
enum err_code rpc_header_read_request(TALLOC_CTX *ctx, const char *json, size_t len, struct rpc_request_header *header,
                                      cJSON **body, struct err *e) MUST_CHECK;

/* body may be NULL, and stays the caller's. ERR_TOO_LARGE when it needs more than RPC_HEADER_MAX. */
enum err_code rpc_header_write_reply(struct buf *out, const cJSON *body, struct err *e) MUST_CHECK;
void rpc_header_write_error(struct buf *out, const struct err *error);

/* ERR_OK with *body on ctx, or the error that the peer sent. *answered tells a peer's error (true) from a reply that
 * cannot be read (false, ERR_INVALID). */
enum err_code rpc_header_read_reply(TALLOC_CTX *ctx, const char *json, size_t len, cJSON **body, bool *answered,
                                    struct err *e) MUST_CHECK;

/* JSON text, unformatted. ERR_TOO_LARGE over RPC_HEADER_MAX. */
enum err_code rpc_header_print(struct buf *out, const cJSON *json, struct err *e) MUST_CHECK;

#endif
