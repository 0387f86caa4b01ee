/*
 * frame: bytes sealed for the wire, so that the transport need not be trusted.
 *
 *     "STW1"  salt 32  counter 12  | AES-256-GCM( header length u32, header, payload ) |  tag 16
 *
 * All numbers are big endian. The key is HKDF-SHA256(cluster secret, salt); the salt is random per ring, the counter is
 * the nonce and grows with every frame, so that no nonce is ever used twice under one key. A ring notices that it was
 * taken through a fork and chooses a new salt then.
 *
 *     frame_ring_new(ctx, &secret, &ring, e);
 *     frame_seal(ring, &seal, into, e);             -- into: frame_size(...) bytes
 *     fault = frame_open(ring, bound, bytes, len, &frame);
 *
 * What a frame is bound to is authenticated but not sent: NULL for a request, the request's id for its reply, so that
 * no reply can be passed off as the answer to another request, and no request as a reply.
 *
 * Two secrets are accepted, the current one seals. Keys of other processes' salts are kept, the least recently used
 * one is dropped beyond FRAME_PEERS_MAX; only a frame that opened gets its salt a place there.
 *
 * A ring may be used by any number of threads.
 */
#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include "common/err.h"
#include "common/rpc.h"

#define FRAME_SALT_BYTES 32
#define FRAME_COUNTER_BYTES 12
#define FRAME_OVERHEAD ((size_t)(4 + FRAME_SALT_BYTES + FRAME_COUNTER_BYTES + 4 + 16))
#define FRAME_PEERS_MAX 4096
#define FRAME_SECRET_MIN 16
#define FRAME_SECRET_MAX 64

struct frame_ring;

/* What is wrong with bytes that are not a frame for us. */
enum frame_fault {
	FRAME_FINE,
	FRAME_OVERSIZE,  /* more than RPC_FRAME_MAX */
	FRAME_MALFORMED, /* too short, another magic, or lengths inside that do not fit */
	FRAME_UNOPENED,  /* no accepted secret opens it: another secret, cut, changed, or bound to something else */
};

struct frame {
	uint8_t salt[FRAME_SALT_BYTES];
	uint64_t counter;
	const char *header; /* in the bytes given to frame_open; not terminated */
	size_t header_len;
	const void *payload;
	size_t payload_len;
};

struct frame_content {
	const char *bound; /* NULL: a request */
	const void *header;
	size_t header_len; /* at most RPC_HEADER_MAX */
	const void *payload;
	size_t payload_len; /* at most RPC_PAYLOAD_MAX */
};

/* Hangs on ctx. ERR_INVALID: a secret of fewer than 16 or more than 64 bytes. previous may be NULL or empty. */
enum err_code frame_ring_new(TALLOC_CTX *ctx, const struct rpc_secret *secret, struct frame_ring **out,
                             struct err *e) MUST_CHECK;

/* Bytes that the frame takes. */
size_t frame_size(size_t header_len, size_t payload_len);

/* Seals into frame_size(header_len, payload_len) bytes. ERR_TOO_LARGE: header or payload over its limit. */
enum err_code frame_seal(struct frame_ring *ring, const struct frame_content *content, uint8_t *into,
                         struct err *e) MUST_CHECK;

/* Opens in place: bytes are changed, and out points into them. */
enum frame_fault frame_open(struct frame_ring *ring, const char *bound, uint8_t *bytes, size_t len,
                            struct frame *out) MUST_CHECK;

#endif
