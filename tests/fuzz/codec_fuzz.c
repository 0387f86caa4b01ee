/* Any bytes as a compressed stream, fed in pieces whose size the first byte says; output is bounded, not believed. */
#include "common/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	static uint8_t out[4096];
	struct decoder *d;
	size_t step, at = 1, total = 0, got;
	struct err e;

	if (size < 2)
		return 0;
	step = 1U + data[0];
	if (decoder_new(ctx, codec_detect(data + 1, size - 1), &d, &e) != ERR_OK)
		return 0;
	while (at < size && total < 4 * MIB) {
		size_t take = MIN(step, size - at);

		decoder_feed(d, data + at, take);
		at += take;
		do {
			if (decoder_read(d, out, sizeof(out), &got, &e) != ERR_OK)
				return 0;
			total += got;
		} while (got && total < 4 * MIB);
	}
	(void)!decoder_end(d, &e);
	return 0;
}
