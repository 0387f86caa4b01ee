#include "services/analyzer-worker/parser/inflate.h"

#include "common/clock.h"

#include <string.h>
#include <unistd.h>

#define PIECE (256 * KIB)
#define DETECT_BYTES 4
#define PROGRESS_EVERY_MS 250

struct state {
	struct inflate *i;
	struct decoder *decoder;
	int64_t progress_at;
	uint8_t *room; /* of the ring's current buffer; NULL: none */
	size_t used;
	uint8_t *piece;
};

static const char *codec_name(enum codec codec)
{
	static const char *const names[] = {"uncompressed", "gzip", "zstd"};

	return names[codec];
}

static enum err_code read_some(int fd, uint8_t *into, size_t size, size_t *got, struct err *e)
{
	ssize_t n;

	do
		n = read(fd, into, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ERR_SYS(e, ERR_INTERNAL, "reading the blob");
	*got = (size_t)n;
	return ERR_OK;
}

static enum err_code check_limits(const struct inflate *i, struct err *e)
{
	const struct layer_limits *l = i->limits;

	if (i->bytes_out > l->unpacked)
		return ERR(e, ERR_TOO_LARGE, "the layer unpacks to more than %llu bytes",
		           (unsigned long long)l->unpacked);
	if (i->bytes_out > l->ratio_free && i->bytes_out / l->ratio > i->bytes_in)
		return ERR(e, ERR_TOO_LARGE, "the layer expands more than %llu times: %llu bytes to %llu and more",
		           (unsigned long long)l->ratio, (unsigned long long)i->bytes_in,
		           (unsigned long long)i->bytes_out);
	return ERR_OK;
}

static void tell_progress(struct state *s)
{
	int64_t now = clock_monotonic_ms();

	if (now - s->progress_at < PROGRESS_EVERY_MS)
		return;
	s->progress_at = now;
	s->i->progress(s->i->progress_arg, s->i->bytes_in, s->i->bytes_out);
}

/* Passes on what the decoder makes of the bytes it was fed. *gone: nobody wants more. */
static enum err_code drain(struct state *s, bool *gone, struct err *e)
{
	size_t got;

	for (;;) {
		if (!s->room) {
			s->room = ring_produce(s->i->ring);
			s->used = 0;
		}
		*gone = !s->room;
		if (*gone)
			return ERR_OK;
		TRY(decoder_read(s->decoder, s->room + s->used, RING_BUFFER_SIZE - s->used, &got, e));
		if (got == 0)
			return ERR_OK;
		s->used += got;
		s->i->bytes_out += got;
		TRY(check_limits(s->i, e));
		if (s->used == RING_BUFFER_SIZE) {
			ring_publish(s->i->ring, s->used);
			s->room = NULL;
			tell_progress(s);
		}
	}
}

/* The first bytes tell what the stream is. */
static enum err_code start(struct state *s, TALLOC_CTX *ctx, size_t *len, struct err *e)
{
	struct inflate *i = s->i;
	size_t got = 1;

	for (*len = 0; *len < DETECT_BYTES && got > 0; *len += got)
		TRY(read_some(i->fd, s->piece + *len, PIECE - *len, &got, e));
	if (*len == 0)
		return ERR(e, ERR_CORRUPT, "the blob is empty");
	i->codec = codec_detect(s->piece, *len);
	if (!i->any_codec && i->codec != i->expected)
		return ERR(e, ERR_CORRUPT, "the media type says %s, the bytes are %s", codec_name(i->expected),
		           codec_name(i->codec));
	return decoder_new(ctx, i->codec, &s->decoder, e);
}

static enum err_code run(struct inflate *i, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct state s = {.i = i, .progress_at = clock_monotonic_ms(), .piece = talloc_size(ctx, PIECE)};
	bool gone = false;
	size_t len;

	ASSERT(s.piece != NULL);
	TRY(start(&s, ctx, &len, e));
	while (len > 0) {
		i->bytes_in += len;
		decoder_feed(s.decoder, s.piece, len);
		TRY(drain(&s, &gone, e));
		if (gone)
			return ERR_OK;
		TRY(read_some(i->fd, s.piece, PIECE, &len, e));
	}
	if (s.room && s.used > 0)
		ring_publish(i->ring, s.used);
	return decoder_end(s.decoder, e);
}

void inflate_run(struct inflate *i)
{
	struct err e = {0};

	if (run(i, &e) == ERR_OK)
		e.code = ERR_OK;
	ring_close(i->ring, &e);
}
