/*
 * codec: compressed streams in, compressed blocks in and out.
 *
 * A decoder turns a gzip, zstd or plain stream into its content piece by piece, with fixed memory. gzip is ISA-L's
 * igzip (RFC 1952, concatenated members included), zstd is libzstd (RFC 8878; windows above 128 MiB are refused,
 * concatenated frames included).
 *
 *     decoder_feed(d, bytes, len);
 *     while ((code = decoder_read(d, out, size, &got, e)) == ERR_OK && got > 0)
 *             use(out, got);
 *     ... feed more; after the last: decoder_end(d, e) says whether the stream was whole.
 */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H

#include "common/buf.h"
#include "common/err.h"

enum codec {
	CODEC_NONE,
	CODEC_GZIP,
	CODEC_ZSTD,
};

struct decoder;

/* From the first bytes of a stream: gzip 1f 8b, zstd 28 b5 2f fd (or a skippable frame), otherwise none. */
enum codec codec_detect(const void *bytes, size_t len);

enum err_code decoder_new(TALLOC_CTX *ctx, enum codec codec, struct decoder **out, struct err *e) MUST_CHECK;

/* The bytes stay the caller's and must live until decoder_read has returned 0 for them. */
void decoder_feed(struct decoder *d, const void *bytes, size_t len);

/* Up to size bytes of content; *got == 0 means "feed me". ERR_CORRUPT: not such a stream. */
enum err_code decoder_read(struct decoder *d, void *out, size_t size, size_t *got, struct err *e) MUST_CHECK;

/* ERR_CORRUPT when the stream stops in its middle. */
enum err_code decoder_end(struct decoder *d, struct err *e) MUST_CHECK;

/* One block, zstd. compress: *out is NULL with ERR_OK when the result is not smaller than len minus one sixteenth of
 * it. decompress: content_len is known beforehand and must be met exactly, else ERR_CORRUPT. Results hang on ctx. */
enum err_code zstd_compress_block(TALLOC_CTX *ctx, const void *bytes, size_t len, int level, void **out,
                                  size_t *out_len, struct err *e) MUST_CHECK;
enum err_code zstd_decompress_block(TALLOC_CTX *ctx, const void *bytes, size_t len, size_t content_len, void **out,
                                    struct err *e) MUST_CHECK;

#endif
