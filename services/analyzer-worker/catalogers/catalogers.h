/*
 * catalogers: what in a layer proves packages, one ecosystem a file.
 *
 * A cataloger says by its path whether it wants a file; then it gets the content and says what that proves, as lines of
 * the summary document. It never sees another file: whatever needs the whole image (who owns a path, which distribution
 * this is) is decided from summaries (proto/document/image.h).
 *
 * A new one is a file with a const table, and a line in catalogers.c. Whatever changes results changes
 * ANALYZER_REVISION: layer documents are kept under it, and known layers are then analysed again.
 */
#ifndef ANALYZER_CATALOGERS_H
#define ANALYZER_CATALOGERS_H

#include "proto/document/summary.h"

#define ANALYZER_REVISION "1"

struct cataloger_file {
	const char *path;  /* normalised, terminated */
	const char *bytes; /* followed by a NUL that len does not count */
	size_t len;
};

/* Where a path lies: asked millions of times, so nothing is copied. */
struct cataloger_path {
	const char *path, *base; /* base is the last component, within path */
	size_t len, base_len;
};

/* What a cataloger found in one file. */
struct findings {
	TALLOC_CTX *ctx; /* for the time of parsing */
	const char *evidence;
	const struct cataloger *cataloger;
	struct summary_package *packages;
	size_t package_count;
	const char **claims;
	size_t claim_count;
	struct summary_distribution distribution; /* counts when its evidence is set */
};

struct cataloger {
	const char *name;   /* "dpkg" */
	const char *type;   /* purl type of its packages */
	uint64_t max_bytes; /* a larger file is unparsed */
	/* Files of this kind stand for a whole package database: one that cannot be read fails an image that shows it.
	 * Otherwise it is only noted: an image may hold any number of files that merely look like metadata. */
	bool fatal;
	bool (*wants)(const struct cataloger_path *path);
	/* ERR_CORRUPT, ERR_TOO_LARGE: the file is unparsed, with the text as reason. Texts in findings live on its ctx
	 * or within the file. */
	enum err_code (*parse)(const struct cataloger_file *file, struct findings *f, struct err *e);
};

extern const struct cataloger cataloger_dpkg, cataloger_apk, cataloger_npm, cataloger_python, cataloger_distribution;

/* The one that wants the path, or NULL. */
const struct cataloger *catalogers_find(const char *path, size_t len);

const struct cataloger *catalogers_by_name(const char *name);

/* Lets it read the file and prints what it found, or that it could not. *packages is increased. */
void catalogers_read(const struct cataloger *c, const struct cataloger_file *file, struct buf *lines,
                     uint64_t *packages);

/* The same for a file that is not read at all: too large. */
void catalogers_refuse(const struct cataloger *c, const char *path, uint64_t size, struct buf *lines);

/* A symbolic link where a cataloger looks. Most have no use for it, then nothing is printed. */
void catalogers_link(const struct cataloger *c, const char *path, const char *target, struct buf *lines);

/* For catalogers. The package returned is zeroed and has to be filled at once. findings_claim looks whether the path is
 * somebody's evidence and otherwise forgets it; leading slashes are taken away. */
struct summary_package *findings_package(struct findings *f);
void findings_claim(struct findings *f, const char *path, size_t len);
const char *findings_text(struct findings *f, const char *text, size_t len); /* trimmed copy; NULL when empty */

#endif
