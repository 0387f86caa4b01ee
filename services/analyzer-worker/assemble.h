/*
 * assemble: the whole image from its layers' documents: distribution and packages, in the words of the protocol.
 *
 * Documents of layers analysed just now are read from scratch files, those of known layers from memory
 * (document_cache.h) or the object store; and of the large files documents only those that a decision needs
 * (proto/document/image.h) which was not made before, for another image with the same lowest layers (stack_cache.h).
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

/* Takes over a summary just decoded, without a parent, of a layer whose documents are in the object store or will be:
 * kept for other images, too, and returned for as long as ctx lives. Where incomplete results are allowed, an
 * unreadable package database becomes one more thing to report instead of the end of the analysis. */
const struct summary *assemble_keep(const struct job *job, TALLOC_CTX *ctx, const struct job_layer *layer,
                                    struct summary *summary);

#endif
