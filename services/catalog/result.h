/*
 * result: what an analysis found, written to the image's rows all at once: by the worker's job_commit, and from the
 * record of an archived image that comes back.
 */
#ifndef CATALOG_RESULT_H
#define CATALOG_RESULT_H

#include "services/catalog/image.h"
#include "services/catalog/job.h"

/* Inside a transaction. Done already by the same token: success. ERR_STALE_LEASE: somebody else has the job, or it was
 * cancelled. ERR_CONFLICT: a layer or set is not known any more. */
enum err_code result_commit(struct db *db, const struct job_commit_request *request, struct err *e) MUST_CHECK;

/* Inside a transaction: replaces the rows that tell of the image's layers. */
enum err_code result_write_layers(struct db *db, int64_t image, const struct layer_item *layers, size_t count,
                                  struct err *e) MUST_CHECK;

/* Inside a transaction: what stands in the image's own row. */
struct result {
	const char *platform;
	int64_t created_at, size, files, packages;
	int64_t analysed_at; /* 0: now */
	const struct distribution *distribution;
	const struct analysis_cost *cost;
	const struct proto_texts *incomplete, *documents;
};
enum err_code result_write(struct db *db, int64_t image, const struct result *result, struct err *e) MUST_CHECK;

#endif
