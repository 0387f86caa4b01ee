/*
 * summary: the summary document, one for each layer: everything about a layer but its files: packages with the path
 * that proves each, what the layer says about the distribution, which evidence belongs to an operating system package,
 * what could not be read, and counts.
 *
 * It is JSON lines: a first line with format and analyzer revision, one line for each finding sorted by evidence path,
 * and a last line with the counts, without which the document was cut off. So it is written as the layer is merged,
 * whatever its size, and read line by line.
 *
 * A finding counts for an image only where its evidence is visible (proto/document/image.h decides that).
 */
#ifndef PROTO_DOCUMENT_SUMMARY_H
#define PROTO_DOCUMENT_SUMMARY_H

#include "common/buf.h"
#include "common/digest.h"
#include "common/err.h"

#define SUMMARY_FORMAT 1
#define SUMMARY_BYTES_MAX (64 * MIB)

struct summary_package {
	const char *name;    /* as the ecosystem writes it, "@scope/name" included */
	const char *version; /* with epoch, as the ecosystem writes it */
	/* The rest is NULL where the metadata does not say. */
	const char *arch;
	const char *source, *source_version; /* the source package it was built from */
	const char *license;                 /* as stated, several joined with " AND " */
	const char *origin;                  /* maintainer or author, as stated */
};

/* The packages that one file proves. */
struct summary_group {
	const char *cataloger; /* "dpkg", "apk", "npm", "python" */
	const char *type;      /* purl type: "deb", "apk", "npm", "pypi" */
	const char *evidence;  /* normalised path, raw bytes */
	struct summary_package *packages;
	size_t count;
};

/* Paths that an operating system package owns, of those that some cataloger takes as evidence. */
struct summary_claim {
	const char *evidence; /* the file that says so */
	const char **paths;
	size_t count;
};

/* A file that was meant to prove something and could not be read. fatal: an image that shows it must not be reported
 * as analysed (a package database); otherwise it is a stray file that only looks like metadata. */
struct summary_unparsed {
	const char *cataloger, *evidence, *reason;
	bool fatal;
};

/* An os-release file, or a symbolic link in its place (link is then its target and the rest NULL). */
struct summary_distribution {
	const char *evidence, *link;
	const char *id, *version_id, *version_codename, *name, *pretty_name, *id_like;
};

struct summary_counts {
	uint64_t entries; /* of the files document, whiteouts and opaque directories not counted */
	uint64_t bytes;   /* content of regular files */
	uint64_t whiteouts;
	uint64_t opaques;
	uint64_t lower_links; /* hard links to lower layers' files */
	uint64_t packages;    /* counted by summary_decode; printing ignores it */
};

struct summary {
	int format;
	const char *analyzer;  /* revision of the analyzer that wrote it */
	struct digest diff_id; /* of the uncompressed layer */
	uint64_t unpacked;     /* its bytes */
	struct summary_counts counts;
	struct summary_group *groups;
	size_t group_count;
	struct summary_claim *claims;
	size_t claim_count;
	struct summary_unparsed *unparsed;
	size_t unparsed_count;
	struct summary_distribution *distributions;
	size_t distribution_count;
};

/* Lines of a document, each with its newline, appended to out; long lists become several lines. Paths (evidence,
 * claimed paths, link) may hold any bytes and come back the same: they are escaped as in the files document. In the
 * other texts, bytes that are not UTF-8 become U+FFFD. */
void summary_print_head(struct buf *out, const char *analyzer);
void summary_print_group(struct buf *out, const struct summary_group *group);
void summary_print_claim(struct buf *out, const struct summary_claim *claim);
void summary_print_unparsed(struct buf *out, const struct summary_unparsed *unparsed);
void summary_print_distribution(struct buf *out, const struct summary_distribution *distribution);
void summary_print_end(struct buf *out, const struct digest *diff_id, uint64_t unpacked,
                       const struct summary_counts *counts);

/* The whole document at once; groups and the others in the order given. */
void summary_encode(struct buf *out, const struct summary *s);

/* Lines of groups, claims and so on again, about other evidence; those of another cataloger than the given one are left
 * out. */
enum err_code summary_rename(const char *lines, size_t len, const char *cataloger, const char *evidence,
                             struct buf *out, struct err *e) MUST_CHECK;

/* Everything decoded hangs on *out, which hangs on ctx. ERR_CORRUPT: not such a document, or cut off. ERR_UNSUPPORTED:
 * a newer format. */
enum err_code summary_decode(TALLOC_CTX *ctx, const char *bytes, size_t len, struct summary **out,
                             struct err *e) MUST_CHECK;

#endif
