/*
 * admission: an image that somebody wants analysed gets its row, its tags and, if there is anything to do, one job: all
 * in one transaction, and all of it found there again by whoever asks the same at the same time or later.
 *
 *  - Known and analysed: nothing to do, unless force says so.
 *  - A job is queued or leased: that one is it.
 *  - Never analysed, failed before, forced, or in the archive only: a new job.
 *  - Being removed: ERR_CONFLICT with retry_ms. It can be added anew when the removal is through.
 */
#ifndef CATALOG_ADMISSION_H
#define CATALOG_ADMISSION_H

#include "common/reference.h"
#include "services/catalog/image.h"
#include "services/catalog/job.h"

struct order {
	const char *account;
	struct digest digest, parent_digest; /* parent: of the index, or none */
	const char *platform;                /* NULL: not known yet */
	const char *reference;               /* for people; NULL: none */
	struct job_source source;
	const struct reference *tags; /* that name it from now on; those without a tag are passed over */
	size_t tag_count;
	const struct proto_map *annotations; /* replace those it has, unless empty */
	bool force; /* analyse again what was analysed; layers that are known are linked all the same */
};

struct admission {
	int64_t image, job; /* job 0: nothing to do */
	enum analysis_status status;
};

/* Inside a transaction. After it: hub_announce. ERR_NOT_FOUND: no such account, or no such upload. */
enum err_code admit(struct db *db, const struct order *order, struct admission *admission, struct err *e) MUST_CHECK;

/* Whether admit would find nothing to do for this image. */
bool admission_is_needless(const struct image *image, bool force);

/* A Dockerfile of the image was stored as its document. */
enum err_code admission_note_dockerfile(struct db *db, int64_t image, struct err *e) MUST_CHECK;

#endif
