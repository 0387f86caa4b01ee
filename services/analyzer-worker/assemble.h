/*
 * assemble: the whole image from its layers' documents: distribution and packages, in the words of the protocol.
 *
 * Documents of layers analysed just now are read from scratch files, those of known layers from the object store; and
 * of the large files documents only those that a decision needs (proto/document/image.h).
 */
#ifndef ANALYZER_ASSEMBLE_H
#define ANALYZER_ASSEMBLE_H

#include "proto/messages.h"
#include "services/analyzer-worker/job.h"

struct assembled {
	struct distribution distribution;
	struct package
	    *packages; /* in set order (proto/document/package_set.h); type is the ecosystem: dpkg apk npm python */
	size_t package_count;
	struct proto_texts incomplete; /* "path: reason" */
};

/* Blocks. Results hang on ctx. ERR_CORRUPT when a package database could not be read, unless incomplete results are
 * allowed. */
enum err_code assemble_image(struct job *job, TALLOC_CTX *ctx, struct assembled *out, struct err *e) MUST_CHECK;

/* For a summary just decoded: where incomplete results are allowed, an unreadable package database is one more thing to
 * report instead of the end of the analysis. */
void assemble_forgive(const struct job *job, struct summary *summary);

#endif
