/*
 * inflate: the thread that reads the compressed blob and fills the ring, within limits.
 */
#ifndef ANALYZER_PARSER_INFLATE_H
#define ANALYZER_PARSER_INFLATE_H

#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/parser/ring.h"

#include <stdatomic.h>

struct inflate {
	/* Set by the caller. */
	int fd;
	struct ring *ring;
	const struct layer_limits *limits;
	enum codec expected;
	bool any_codec;
	void (*progress)(void *arg, uint64_t bytes_in, uint64_t bytes_out); /* at most a few times a second */
	void *progress_arg;
	/* Results, good when the ring's end was consumed. */
	enum codec codec;
	uint64_t bytes_in, bytes_out;
};

/* Reads to the end of the stream, or to the first fault, and closes the ring. Never fails by itself: the consumer of
 * the ring gets the error. */
void inflate_run(struct inflate *i);

#endif
