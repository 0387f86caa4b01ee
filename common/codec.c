#include "common/codec.h"

#include <isa-l/igzip_lib.h>
#include <pthread.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB */
#define ZSTD_SMALL (64 * KIB)  /* a context for as much takes 650 KiB */

/* What a stream may be at: nothing of it seen, within a gzip member or zstd frame, or after a complete one. */
enum position { AT_START, AT_MIDDLE, AT_END };

struct decoder {
	enum codec codec;
	enum position position;
	const uint8_t *in;
	size_t in_len;
	struct inflate_state *gzip;
	ZSTD_DStream *zstd;
};

static int decoder_destroy(struct decoder *d)
{
	ZSTD_freeDStream(d->zstd);
	return 0;
}

enum codec codec_detect(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	if (len >= 2 && b[0] == 0x1f && b[1] == 0x8b)
		return CODEC_GZIP;
	if (len >= 4 && b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)
		return CODEC_ZSTD;
	if (len >= 4 && (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18)
		return CODEC_ZSTD;
	return CODEC_NONE;
}

static enum err_code zstd_start(struct decoder *d, struct err *e)
{
	d->zstd = ZSTD_createDStream();
	if (!d->zstd)
		return ERR(e, ERR_EXHAUSTED, "no memory for a zstd decoder");
	if (ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
		return ERR(e, ERR_INTERNAL, "zstd does not know its window limit");
	return ERR_OK;
}

static void gzip_start(struct decoder *d)
{
	isal_inflate_init(d->gzip);
	d->gzip->crc_flag = ISAL_GZIP;
}

enum err_code decoder_new(TALLOC_CTX *ctx, enum codec codec, struct decoder **out, struct err *e)
{
	struct decoder *d = talloc_zero(ctx, struct decoder);

	if (!d)
		return ERR(e, ERR_EXHAUSTED, "no memory for a decoder");
	talloc_set_destructor(d, decoder_destroy);
	d->codec = codec;
	if (codec == CODEC_GZIP) {
		d->gzip = talloc_zero(d, struct inflate_state);
		if (!d->gzip) {
			talloc_free(d);
			return ERR(e, ERR_EXHAUSTED, "no memory for a gzip decoder");
		}
		gzip_start(d);
	}
	if (codec == CODEC_ZSTD && zstd_start(d, e) != ERR_OK) {
		talloc_free(d);
		return e ? e->code : ERR_EXHAUSTED;
	}
	*out = d;
	return ERR_OK;
}

void decoder_feed(struct decoder *d, const void *bytes, size_t len)
{
	ASSERT(d->in_len == 0);
	d->in = bytes;
	d->in_len = len;
}

static const char *gzip_fault(int status)
{
	switch (status) {
	case ISAL_INCORRECT_CHECKSUM:
		return "checksum does not match";
	case ISAL_INVALID_WRAPPER:
		return "bad member header";
	case ISAL_UNSUPPORTED_METHOD:
		return "unknown compression method";
	default:
		return "bad deflate data";
	}
}

static enum err_code gzip_read(struct decoder *d, void *out, size_t size, size_t *got, struct err *e)
{
	struct inflate_state *s = d->gzip;
	uint32_t fed = (uint32_t)MIN(d->in_len, (size_t)UINT32_MAX);
	uint32_t room = (uint32_t)MIN(size, (size_t)UINT32_MAX);
	int status;

	s->next_out = out;
	s->avail_out = room;
	do {
		if (s->block_state == ISAL_BLOCK_FINISH) {
			if (fed == 0)
				break;
			isal_inflate_reset(s);
		}
		/* igzip only reads, although its pointer is not const. */
		memcpy(&s->next_in, &d->in, sizeof(d->in));
		s->avail_in = fed;
		status = isal_inflate(s);
		if (status < 0)
			return ERR(e, ERR_CORRUPT, "gzip stream: %s", gzip_fault(status));
		d->in += fed - s->avail_in;
		d->in_len -= fed - s->avail_in;
		fed = s->avail_in;
		d->position = s->block_state == ISAL_BLOCK_FINISH ? AT_END : AT_MIDDLE;
	} while (s->avail_out > 0 && fed > 0);
	*got = room - s->avail_out;
	return ERR_OK;
}

static enum err_code zstd_read(struct decoder *d, void *out, size_t size, size_t *got, struct err *e)
{
	ZSTD_outBuffer to = {.dst = out, .size = size};
	ZSTD_inBuffer from = {.src = d->in, .size = d->in_len};

	do {
		size_t produced = to.pos, status;

		if (d->position != AT_MIDDLE && from.pos == from.size)
			break;
		status = ZSTD_decompressStream(d->zstd, &to, &from);
		if (ZSTD_isError(status))
			return ERR(e, ERR_CORRUPT, "zstd stream: %s", ZSTD_getErrorName(status));
		d->position = status == 0 ? AT_END : AT_MIDDLE;
		if (to.pos == produced && from.pos == from.size)
			break;
	} while (to.pos < to.size);
	d->in += from.pos;
	d->in_len -= from.pos;
	*got = to.pos;
	return ERR_OK;
}

static void plain_read(struct decoder *d, void *out, size_t size, size_t *got)
{
	*got = MIN(size, d->in_len);
	if (*got > 0)
		memcpy(out, d->in, *got);
	d->in += *got;
	d->in_len -= *got;
}

enum err_code decoder_read(struct decoder *d, void *out, size_t size, size_t *got, struct err *e)
{
	*got = 0;
	switch (d->codec) {
	case CODEC_GZIP:
		return gzip_read(d, out, size, got, e);
	case CODEC_ZSTD:
		return zstd_read(d, out, size, got, e);
	case CODEC_NONE:
		plain_read(d, out, size, got);
		return ERR_OK;
	}
	return ERR(e, ERR_INTERNAL, "no codec has number %d", (int)d->codec);
}

enum err_code decoder_end(struct decoder *d, struct err *e)
{
	const char *name = d->codec == CODEC_GZIP ? "gzip" : "zstd";

	if (d->codec == CODEC_NONE || d->position == AT_END)
		return ERR_OK;
	if (d->position == AT_START)
		return ERR(e, ERR_CORRUPT, "%s stream: empty", name);
	return ERR(e, ERR_CORRUPT, "%s stream: ends in its middle", name);
}

static void free_context(void *context)
{
	ZSTD_freeCCtx(context);
}

static pthread_key_t context_key;

static void make_context_key(void)
{
	ASSERT(pthread_key_create(&context_key, free_context) == 0);
}

/* Making a context takes longer than compressing a few KiB, so each thread keeps one for these. NULL: no memory. */
static ZSTD_CCtx *context_of_thread(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	ZSTD_CCtx *context;

	pthread_once(&once, make_context_key);
	context = pthread_getspecific(context_key);
	if (!context) {
		context = ZSTD_createCCtx();
		pthread_setspecific(context_key, context);
	}
	return context;
}

static size_t compress(void *into, size_t room, const void *bytes, size_t len, int level)
{
	ZSTD_CCtx *context = len <= ZSTD_SMALL ? context_of_thread() : NULL;

	if (!context)
		return ZSTD_compress(into, room, bytes, len, level);
	return ZSTD_compressCCtx(context, into, room, bytes, len, level);
}

enum err_code zstd_compress_block(TALLOC_CTX *ctx, const void *bytes, size_t len, int level, void **out,
                                  size_t *out_len, struct err *e)
{
	size_t limit = len - len / 16;
	uint8_t *block;
	size_t made;

	*out = NULL;
	*out_len = 0;
	if (limit == 0)
		return ERR_OK;
	block = talloc_array(ctx, uint8_t, limit);
	if (!block)
		return ERR(e, ERR_EXHAUSTED, "no memory to compress %zu bytes", len);
	/* Room for less than the input: what does not get smaller is an error of its own kind, not a failure. */
	made = compress(block, limit, bytes, len, level);
	if (ZSTD_isError(made) || made >= limit) {
		talloc_free(block);
		if (ZSTD_isError(made) && ZSTD_getErrorCode(made) != ZSTD_error_dstSize_tooSmall)
			return ERR(e, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(made));
		return ERR_OK;
	}
	*out = block;
	*out_len = made;
	return ERR_OK;
}

enum err_code zstd_decompress_block(TALLOC_CTX *ctx, const void *bytes, size_t len, size_t content_len, void **out,
                                    struct err *e)
{
	uint8_t *content = talloc_array(ctx, uint8_t, MAX(content_len, (size_t)1));
	size_t made;

	if (!content)
		return ERR(e, ERR_EXHAUSTED, "no memory for %zu bytes of content", content_len);
	made = ZSTD_decompress(content, content_len, bytes, len);
	if (ZSTD_isError(made) || made != content_len) {
		talloc_free(content);
		if (ZSTD_isError(made))
			return ERR(e, ERR_CORRUPT, "zstd block of %zu bytes: %s", len, ZSTD_getErrorName(made));
		return ERR(e, ERR_CORRUPT, "zstd block has %zu bytes of content, not %zu", made, content_len);
	}
	*out = content;
	return ERR_OK;
}
