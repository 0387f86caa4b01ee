/* Any bytes as a summary document. What decodes must encode to something that decodes to the same text. */
#include "proto/document/summary.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	CLEANUP(buf_release) struct buf first, second;
	struct summary *summary, *again;
	struct err e;

	buf_init(&first, 64 * MIB);
	buf_init(&second, 64 * MIB);
	if (summary_decode(ctx, (const char *)data, size, &summary, &e) != ERR_OK)
		return 0;
	summary_encode(&first, summary);
	if (buf_failed(&first))
		return 0;
	ASSERT(summary_decode(ctx, first.bytes, first.len, &again, &e) == ERR_OK);
	summary_encode(&second, again);
	ASSERT(first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0);
	return 0;
}
