#include "common/rpc_header.h"

#include "common/clock.h"

#include <ctype.h>
#include <string.h>

#define RETRY_AFTER_MAX_MS (10 * 60 * 1000)

static void cjson_cleanup(cJSON **json)
{
	cJSON_Delete(*json);
	*json = NULL;
}

/* Ties a cJSON value to a talloc context. */
struct holder {
	cJSON *json;
};

static int holder_destroy(struct holder *h)
{
	cJSON_Delete(h->json);
	return 0;
}

static cJSON *hold(TALLOC_CTX *ctx, cJSON *json)
{
	struct holder *h = talloc(ctx, struct holder);

	ASSERT(h);
	h->json = json;
	talloc_set_destructor(h, holder_destroy);
	return json;
}

enum err_code rpc_header_print(struct buf *out, const cJSON *json, struct err *e)
{
	CLEANUP(free_cleanup) char *text = cJSON_PrintUnformatted(json);

	if (!text)
		return ERR(e, ERR_EXHAUSTED, "no memory to print a message");
	buf_add_text(out, text);
	if (buf_failed(out))
		return ERR(e, ERR_TOO_LARGE, "a message of %zu bytes exceeds %ju", strlen(text),
		           (uintmax_t)RPC_HEADER_MAX);
	return ERR_OK;
}

/* Writing ---------------------------------------------------------------------------------------------------------- */

static void add_text(cJSON *object, const char *name, const char *text)
{
	ASSERT(cJSON_AddStringToObject(object, name, text ? text : ""));
}

static void add_number(cJSON *object, const char *name, int64_t number)
{
	ASSERT(cJSON_AddNumberToObject(object, name, (double)number));
}

/* The W3C form; the span is ours alone, so its number only has to be there. */
static void add_traceparent(cJSON *object, const char *trace_id)
{
	char text[64];
	uint64_t span;

	if (!trace_id || strlen(trace_id) != RPC_TRACE_ID_LEN)
		return;
	random_bytes(&span, sizeof(span));
	snprintf(text, sizeof(text), "00-%s-%016jx-01", trace_id, (uintmax_t)(span | 1));
	add_text(object, "traceparent", text);
}

void rpc_header_write_request(struct buf *out, const struct rpc_request_header *header, const char *body,
                              size_t body_len)
{
	CLEANUP(cjson_cleanup) cJSON *object = cJSON_CreateObject();
	CLEANUP(free_cleanup) char *text = NULL;

	ASSERT(object);
	add_text(object, "id", header->id);
	add_text(object, "method", header->method);
	add_text(object, "account", header->account);
	add_text(object, "principal", header->principal);
	add_number(object, "deadline", header->deadline_ms);
	add_number(object, "sent_at", header->sent_at_ms);
	add_traceparent(object, header->trace_id);
	text = cJSON_PrintUnformatted(object);
	ASSERT(text);
	buf_add(out, text,
	        strlen(text) - 1); /* without its closing brace: the body was printed once and is put there */
	buf_add_text(out, ",\"body\":");
	if (body)
		buf_add(out, body, body_len);
	else
		buf_add_text(out, "{}");
	buf_add_char(out, '}');
}

enum err_code rpc_header_write_reply(struct buf *out, const cJSON *body, struct err *e)
{
	buf_add_text(out, "{\"ok\":true,\"body\":");
	if (body)
		TRY(rpc_header_print(out, body, e));
	else
		buf_add_text(out, "{}");
	buf_add_char(out, '}');
	if (buf_failed(out))
		return ERR(e, ERR_TOO_LARGE, "a message exceeds %ju bytes", (uintmax_t)RPC_HEADER_MAX);
	return ERR_OK;
}

void rpc_header_write_error(struct buf *out, const struct err *error)
{
	CLEANUP(cjson_cleanup) cJSON *object = cJSON_CreateObject();
	CLEANUP(free_cleanup) char *text = NULL;
	cJSON *inner;

	ASSERT(object && cJSON_AddFalseToObject(object, "ok"));
	inner = cJSON_AddObjectToObject(object, "error");
	ASSERT(inner);
	add_number(inner, "code", error->code);
	add_text(inner, "name", err_name(error->code));
	add_text(inner, "message", error->text);
	ASSERT(cJSON_AddBoolToObject(inner, "retryable", err_retry(error->code) != ERR_RETRY_NEVER));
	add_number(inner, "retry_after_ms", error->retry_ms);
	text = cJSON_PrintUnformatted(object);
	ASSERT(text);
	buf_add_text(out, text);
}

/* Reading ---------------------------------------------------------------------------------------------------------- */

static enum err_code parse(const char *json, size_t len, cJSON **out, struct err *e)
{
	*out = cJSON_ParseWithLength(json, len);
	if (!cJSON_IsObject(*out)) {
		cJSON_Delete(*out);
		*out = NULL;
		return ERR(e, ERR_INVALID, "a header of %zu bytes is no json object", len);
	}
	return ERR_OK;
}

/* Printable ASCII: these go into logs, keys and statements. */
static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (!isgraph((unsigned char)*text))
			return false;
	return true;
}

static enum err_code read_text(TALLOC_CTX *ctx, const cJSON *object, const char *name, size_t most, const char **out,
                               struct err *e)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!item || cJSON_IsNull(item)) {
		*out = "";
		return ERR_OK;
	}
	if (!cJSON_IsString(item) || strlen(item->valuestring) > most || !is_plain(item->valuestring))
		return ERR(e, ERR_INVALID, "%s is not a plain text of at most %zu bytes", name, most);
	*out = talloc_strdup(ctx, item->valuestring);
	ASSERT(*out);
	return ERR_OK;
}

static enum err_code read_number(const cJSON *object, const char *name, int64_t least, int64_t most, int64_t *out,
                                 struct err *e)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!cJSON_IsNumber(item) || !(item->valuedouble >= (double)least && item->valuedouble <= (double)most))
		return ERR(e, ERR_INVALID, "%s is not a number from %jd to %jd", name, (intmax_t)least, (intmax_t)most);
	*out = (int64_t)item->valuedouble;
	return ERR_OK;
}

/* "00-<trace>-<span>-<flags>"; anything else is as good as none. */
static const char *read_trace_id(TALLOC_CTX *ctx, const cJSON *object)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "traceparent");
	const char *text = cJSON_IsString(item) ? item->valuestring : "";

	if (strlen(text) != 55 || strncmp(text, "00-", 3) != 0 ||
	    strspn(text + 3, "0123456789abcdef") != RPC_TRACE_ID_LEN || text[3 + RPC_TRACE_ID_LEN] != '-')
		return "";
	return talloc_strndup(ctx, text + 3, RPC_TRACE_ID_LEN);
}

static enum err_code read_fields(TALLOC_CTX *ctx, const cJSON *object, struct rpc_request_header *header, struct err *e)
{
	TRY(read_text(ctx, object, "id", RPC_ID_MAX, &header->id, e));
	TRY(read_text(ctx, object, "method", RPC_METHOD_MAX, &header->method, e));
	TRY(read_text(ctx, object, "account", RPC_ACCOUNT_MAX, &header->account, e));
	TRY(read_text(ctx, object, "principal", RPC_PRINCIPAL_MAX, &header->principal, e));
	TRY(read_number(object, "deadline", 0, RPC_DEADLINE_MAX, &header->deadline_ms, e));
	TRY(read_number(object, "sent_at", 0, INT64_C(1) << 52, &header->sent_at_ms, e));
	header->trace_id = read_trace_id(ctx, object);
	if (!*header->id || !*header->method)
		return ERR(e, ERR_INVALID, "a request without id or method");
	return ERR_OK;
}

/* The body, apart from its header and on ctx. A missing one is an empty object. */
static enum err_code take_body(TALLOC_CTX *ctx, cJSON *object, cJSON **body, struct err *e)
{
	cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(object, "body");

	if (!item || cJSON_IsNull(item)) {
		cJSON_Delete(item);
		item = cJSON_CreateObject();
		ASSERT(item);
	}
	*body = hold(ctx, item);
	if (!cJSON_IsObject(item))
		return ERR(e, ERR_INVALID, "body is not an object");
	return ERR_OK;
}

enum err_code rpc_header_read_request(TALLOC_CTX *ctx, const char *json, size_t len, struct rpc_request_header *header,
                                      cJSON **body, struct err *e)
{
	CLEANUP(cjson_cleanup) cJSON *object = NULL;

	TRY(parse(json, len, &object, e));
	TRY(read_fields(ctx, object, header, e));
	return take_body(ctx, object, body, e);
}

/* A number that this build does not know is tried by its name, and is internal when that is unknown too. */
static enum err_code read_error(const cJSON *error, struct err *e)
{
	const cJSON *number = cJSON_GetObjectItemCaseSensitive(error, "code");
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(error, "name");
	const cJSON *message = cJSON_GetObjectItemCaseSensitive(error, "message");
	const cJSON *after = cJSON_GetObjectItemCaseSensitive(error, "retry_after_ms");
	enum err_code code = ERR_INTERNAL;

	if (!(cJSON_IsNumber(number) && err_from_wire(number->valueint, &code)) && cJSON_IsString(name))
		(void)err_from_name(name->valuestring, &code);
	err_set(e, code, 0, "peer", 0, "%s", cJSON_IsString(message) ? message->valuestring : "no message");
	if (e && cJSON_IsNumber(after) && after->valuedouble > 0)
		e->retry_ms = (unsigned)MIN(after->valuedouble, RETRY_AFTER_MAX_MS);
	return code;
}

enum err_code rpc_header_read_reply(TALLOC_CTX *ctx, const char *json, size_t len, cJSON **body, bool *answered,
                                    struct err *e)
{
	CLEANUP(cjson_cleanup) cJSON *object = NULL;
	const cJSON *error;

	*answered = false;
	TRY(parse(json, len, &object, e));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "ok"))) {
		TRY(take_body(ctx, object, body, e));
		*answered = true;
		return ERR_OK;
	}
	error = cJSON_GetObjectItemCaseSensitive(object, "error");
	if (!cJSON_IsObject(error))
		return ERR(e, ERR_INVALID, "a reply with neither ok nor an error");
	*answered = true;
	return read_error(error, e);
}
