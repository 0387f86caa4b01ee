/*
 * tar: the consumer of the ring: reads entries, hashes their content, hands what catalogers want to them and everything
 * to build.
 */
#ifndef ANALYZER_PARSER_TAR_H
#define ANALYZER_PARSER_TAR_H

#include "services/analyzer-worker/parser/build.h"
#include "services/analyzer-worker/parser/content.h"
#include "services/analyzer-worker/parser/ring.h"

#include <stdatomic.h>

struct tar {
	/* Set by the caller. */
	struct ring *ring;
	struct build *build;
	struct content *content;
	const struct layer_limits *limits;
	struct wants *wants; /* of a second reading; NULL in a first one */
	/* Results. entries may be read by other threads meanwhile. */
	_Atomic uint64_t entries;
	uint64_t packages;
};

/* Reads the archive and then the ring to its end, so that the DiffID covers everything. Errors that an entry causes
 * name it. */
enum err_code tar_read(struct tar *t, struct err *e) MUST_CHECK;

#endif
