/* Any bytes as a sealed frame; and any bytes inside a frame that does open. */
#include "common/frame.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_as_it_is(struct frame_ring *ring, const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	uint8_t *copy = talloc_memdup(ctx, data, MAX(size, (size_t)1));
	struct frame frame;

	ASSERT(size == 0 || frame_open(ring, NULL, copy, size, &frame) != FRAME_FINE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_secret secret = {"a secret of sixteen or more bytes", NULL};
	SCRATCH_CTX(ctx);
	struct frame_content content = {
	    .header = data, .header_len = size / 2, .payload = data + size / 2, .payload_len = size - size / 2};
	struct frame_ring *ring;
	struct frame frame;
	uint8_t *sealed;
	struct err e;

	if (size == 0)
		return 0;
	ASSERT(frame_ring_new(ctx, &secret, &ring, &e) == ERR_OK);
	open_as_it_is(ring, data, size);
	sealed = talloc_size(ctx, frame_size(content.header_len, content.payload_len));
	ASSERT(frame_seal(ring, &content, sealed, &e) == ERR_OK);
	ASSERT(frame_open(ring, "an id", sealed, frame_size(content.header_len, content.payload_len), &frame) !=
	       FRAME_FINE);
	ASSERT(frame_seal(ring, &content, sealed, &e) == ERR_OK);
	ASSERT(frame_open(ring, NULL, sealed, frame_size(content.header_len, content.payload_len), &frame) ==
	       FRAME_FINE);
	ASSERT(frame.payload_len == content.payload_len &&
	       memcmp(frame.payload, content.payload, frame.payload_len) == 0);
	return 0;
}
