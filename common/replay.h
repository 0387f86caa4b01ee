/*
 * replay: which sealed frames were seen before. A frame is known by its sender's salt and counter.
 *
 * For each salt the highest counter is kept and a window of bits below it, which grows with the sender: 64 bits for one
 * that sent a frame or two, up to REPLAY_WINDOW_BITS for a busy one. Counters below the window count as seen. Beyond
 * salts_max salts the least recently used one is forgotten; a frame of its could then be sent again within the time
 * window, which costs an attacker a recording and gains an idempotent request.
 *
 * Thread-safe.
 */
#ifndef COMMON_REPLAY_H
#define COMMON_REPLAY_H

#include "common/frame.h"

#define REPLAY_WINDOW_BITS 65536
#define REPLAY_SALTS_MAX 32768

struct replay;

struct replay *replay_new(TALLOC_CTX *ctx, size_t salts_max);

/* Marks the frame as seen; true when it had not been. */
bool replay_first_time(struct replay *r, const uint8_t salt[FRAME_SALT_BYTES], uint64_t counter);

#endif
