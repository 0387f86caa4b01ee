/*
 * portable: an analysed image as the archive keeps it, so that it can come back, here or in another installation.
 *
 *  - The record is JSON: {"documents": [names], "format": 1, "image": {the image in full, as image_get shows it}},
 * without what changes while the analysis stays the same (status, residence, job). Members are sorted by name, so that
 * equal records are equal bytes.
 *  - The objects are the documents of its layers in bucket "layers" and its own in bucket "images". Package sets stay
 * in the catalog as rows; where they are missing, they are made anew from the image's document "packages": JSON lines,
 *    one `package` of the protocol each.
 */
#ifndef CATALOG_PORTABLE_H
#define CATALOG_PORTABLE_H

#include "services/catalog/image.h"

#define PORTABLE_FORMAT 1
#define PORTABLE_PACKAGES_DOCUMENT "packages"

struct portable {
	struct image_detail image;
	struct proto_texts documents;
};

/* Everything hangs on ctx. ERR_TOO_LARGE: more than a message carries. */
enum err_code portable_write(TALLOC_CTX *ctx, const struct portable *p, char **text, size_t *len,
                             struct err *e) MUST_CHECK;

/* ERR_CORRUPT: no such record; ERR_UNSUPPORTED: of a newer format; ERR_INVALID: of another image than digest. */
enum err_code portable_read(TALLOC_CTX *ctx, const void *bytes, size_t len, const struct digest *digest,
                            struct portable *p, struct err *e) MUST_CHECK;

/* Objects of these layers and, where wanted, the image's own, each once; on ctx. skip[i]: leave that layer out; NULL:
 * none. */
void portable_objects(TALLOC_CTX *ctx, const struct portable *p, const bool *skip, bool documents,
                      struct object_name **objects, size_t *count);

/* The packages document of an image as sets, one for each of the record's; on ctx. ERR_CORRUPT: it is none, or its sets
 * are not those of the record. */
struct portable_set {
	const struct image_set *set;
	struct package *packages; /* in set order */
	size_t count;
};
enum err_code portable_read_packages(TALLOC_CTX *ctx, const struct portable *p, const char *text, size_t len,
                                     struct portable_set **sets, struct err *e) MUST_CHECK;

#endif
