/*
 * image: what only the whole image can say, from its layers' documents: the distribution and the final package set.
 *
 *  - A finding of a layer counts when its evidence is visible in the whole.
 *  - A language package whose evidence is owned by an operating system package is that package's and is not reported
 *    a second time. /bin, /sbin and /lib are taken for /usr/bin and so on in that comparison, since package databases
 *    know one name and the file system may have the other.
 *  - The distribution is that of etc/os-release, else of usr/lib/os-release; symbolic links between such files are
 *    followed.
 *  - A hard link to a lower layer's file proves nothing, since that layer's content is not read again: where a
 * cataloger would look at it, it is listed as unparsed.
 *  - Evidence that was fatally unreadable and is visible makes the image ERR_CORRUPT, with path and reason.
 *
 * The files documents are read only where a decision needs them: those of the layers above some evidence. An image
 * whose upper layers are small is assembled in milliseconds, however large its lower layers are. And what is decided
 * about a stack of layers (struct image_sight) can be kept: it is decided for all images on top of it.
 */
#ifndef PROTO_DOCUMENT_IMAGE_H
#define PROTO_DOCUMENT_IMAGE_H

#include "proto/document/merge.h"
#include "proto/document/summary.h"

struct image_layer {
	const struct summary *summary;
	struct files_source files;
};

/* One package of the image, with everything that proves it: the same package found twice is one with two evidences. */
struct image_package {
	const char *type, *cataloger; /* "deb", "dpkg" */
	const char *purl;
	struct summary_package about; /* texts hang on the summaries */
	const char **evidence;        /* paths, sorted */
	size_t evidence_count;
	size_t layer; /* of the first evidence */
};

struct image_distribution {
	/* NULL where unknown; id is lower case. All NULL: no os-release file */
	const char *id, *version_id, *version_codename, *name, *pretty_name, *id_like, *evidence;
};

struct image_unparsed {
	const struct summary_unparsed *about;
	size_t layer;
};

/* For a stack of layers and each piece of evidence (of groups, claims, unparsed and distributions in this order, from
 * the bottom layer up): the lowest layer that hides it, or IMAGE_VISIBLE. It holds for every stack with the same lowest
 * layers as far as these go; there, a layer that the stack does not have hides nothing. */
#define IMAGE_VISIBLE UINT16_MAX

struct image_sight {
	size_t layers; /* of the stack that it speaks of */
	size_t count;
	const uint16_t *hidden_by;
};

struct image_result {
	struct image_sight sight;
	struct image_distribution distribution;
	struct image_package *packages; /* sorted by type, name, version, purl */
	size_t package_count;
	struct image_unparsed *unparsed; /* visible and not fatal, sorted by path */
	size_t unparsed_count;
	uint64_t claimed; /* language packages left out because an operating system package owns them */
};

/* layers[0] is the bottom one. The result hangs on ctx and points into the summaries, which must outlive it. */
enum err_code image_assemble(TALLOC_CTX *ctx, const struct image_layer *layers, size_t count, struct image_result **out,
                             struct err *e) MUST_CHECK;

/* The same result, where the lowest known->layers layers were part of another stack before: their files documents are
 * not read. known may be NULL, and is left aside when it has fewer entries than those layers have evidence. */
enum err_code image_assemble_upon(TALLOC_CTX *ctx, const struct image_layer *layers, size_t count,
                                  const struct image_sight *known, struct image_result **out, struct err *e) MUST_CHECK;

#endif
