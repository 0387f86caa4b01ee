/*
 * Any JSON as any message: the first byte chooses which. What decodes must encode, and decode to the same again.
 */
#include "proto/messages.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proto_record *(*const records[])(void) = {
#define RECORD(name)
#define END_RECORD(name)
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload) record_##name##_request, record_##name##_reply,
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)
#include "proto/all.def"
};

static void check(const struct proto_record *record, const cJSON *json)
{
	SCRATCH_CTX(ctx);
	void *first = talloc_zero_size(ctx, MAX(record->size, (size_t)1));
	void *second = talloc_zero_size(ctx, MAX(record->size, (size_t)1));
	cJSON *out, *again;
	struct err e;

	if (proto_decode(record, ctx, json, PROTO_REJECT_UNKNOWN, first, &e) != ERR_OK)
		return;
	if (proto_encode(record, first, &out, &e) != ERR_OK)
		return; /* a required number of 0 outside its range, say, can be read as absent */
	ASSERT(proto_decode(record, ctx, out, PROTO_REJECT_UNKNOWN, second, &e) == ERR_OK);
	ASSERT(proto_encode(record, second, &again, &e) == ERR_OK);
	ASSERT(cJSON_Compare(out, again, true));
	cJSON_Delete(out);
	cJSON_Delete(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cJSON *json;

	if (size < 2)
		return 0;
	json = cJSON_ParseWithLength((const char *)data + 1, size - 1);
	if (json)
		check(records[data[0] % ARRAY_SIZE(records)](), json);
	cJSON_Delete(json);
	return 0;
}
