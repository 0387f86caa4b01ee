/*
 * sbom: an image's packages as a software bill of materials, written as the packages come.
 *
 * What is written depends on the image and its packages alone: no clock, no random numbers, no order but the packages'
 * own. The same analysis gives the same bytes, before the archive and after it. The time in the document is when the
 * image was made.
 */
#ifndef CLI_SBOM_H
#define CLI_SBOM_H

#include "proto/messages.h"

#include <stdio.h>

struct sbom_source {
	const struct image_detail *image;
	/* The next package, NULL behind the last; it lives until the next call. */
	enum err_code (*next)(void *arg, const struct package **package, struct err *e);
	void *arg;
};

enum err_code sbom_cyclonedx(const struct sbom_source *source, FILE *out, struct err *e) MUST_CHECK; /* 1.5 */
enum err_code sbom_spdx(const struct sbom_source *source, FILE *out, struct err *e) MUST_CHECK;      /* 2.3 */

/* For both formats, on ctx. */
char *sbom_uuid(TALLOC_CTX *ctx, const char *purpose, const struct digest *image); /* always the same for the same */
char *sbom_image_purl(TALLOC_CTX *ctx, const struct image_detail *image);          /* NULL: it came from nowhere */
const char *sbom_image_name(TALLOC_CTX *ctx, const struct image_detail *image);
const char *sbom_time(TALLOC_CTX *ctx, const struct image_detail *image); /* NULL: the image does not say */

#endif
