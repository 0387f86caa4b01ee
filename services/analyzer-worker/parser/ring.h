/*
 * ring: buffers between the thread that decompresses and the thread that reads the tar.
 *
 * Every byte that passes is hashed for the layer's DiffID, in order, by whichever thread has to wait for the other at
 * that moment; so the work is shared evenly however fast either is. A buffer returns to the producer when it was both
 * read and hashed.
 *
 *     producer:  ring_produce -> fill it -> ring_publish ... ring_close
 *     consumer:  ring_consume until *len is 0, then ring_digest
 *
 * One thread each.
 */
#ifndef ANALYZER_PARSER_RING_H
#define ANALYZER_PARSER_RING_H

#include "common/digest.h"

#define RING_BUFFERS 8
#define RING_BUFFER_SIZE (256 * KIB)

struct ring;

struct ring *ring_new(TALLOC_CTX *ctx);

/* RING_BUFFER_SIZE bytes to fill, or NULL when the consumer gave up. Blocks. */
uint8_t *ring_produce(struct ring *r);
void ring_publish(struct ring *r, size_t len);

/* No more comes. e tells why, NULL or ERR_OK in it: because that was all. */
void ring_close(struct ring *r, const struct err *e);

/* The next buffer; it is the consumer's until the next call. *len is 0 at the end. The producer's error, once all that
 * came before it was consumed. Blocks. */
enum err_code ring_consume(struct ring *r, const uint8_t **bytes, size_t *len, struct err *e) MUST_CHECK;

/* The consumer wants no more; the producer's next ring_produce returns NULL. */
void ring_abandon(struct ring *r);

/* The digest of everything; after the end was consumed. */
struct digest ring_digest(struct ring *r);

#endif
