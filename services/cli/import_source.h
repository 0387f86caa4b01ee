/*
 * import_source: the members of an image on disk, whether it is a directory or a tar (plain, gzip, bzip2, xz, zstd).
 *
 *     TRY(import_source_open(ctx, path, &source, e));
 *     if (import_source_text(source, "manifest.json", max, &bytes, &len, e) == ERR_OK) ...
 *     TRY(import_source_read(source, names, count, &receiver, e));
 *
 * A tar is read from its start for each import_source_read, and once when it is opened: what is small and looks like
 * JSON is kept then, and links are noted, because writers of docker-archives name a layer by a link to another. Names
 * are taken without "./" and "/" at their front; those with ".." are never found. Everything is bounded: entries, kept
 * bytes, bytes read. The file is a stranger's.
 *
 * ERR_CORRUPT: no archive, or cut off. ERR_TOO_LARGE: beyond a bound. ERR_NOT_FOUND: no such member. ERR_INVALID: path
 * is neither directory nor file.
 */
#ifndef CLI_IMPORT_SOURCE_H
#define CLI_IMPORT_SOURCE_H

#include "common/err.h"

#define IMPORT_ENTRIES_MAX 1000000
#define IMPORT_TEXT_MAX (8 * MIB)   /* of one kept member */
#define IMPORT_TEXTS_MAX (64 * MIB) /* of all of them */
#define IMPORT_BYTES_MAX ((uint64_t)1 << 40)

struct import_source;

enum err_code import_source_open(TALLOC_CTX *ctx, const char *path, struct import_source **source,
                                 struct err *e) MUST_CHECK;

/* A small member; the bytes are the source's or hang on it, with a NUL behind them. */
enum err_code import_source_text(struct import_source *s, const char *name, size_t max, const char **bytes, size_t *len,
                                 struct err *e) MUST_CHECK;

bool import_source_has_text(const struct import_source *s, const char *name);

/* The member that a name means, links followed; on ctx or the source's. NULL for a name that leaves the archive. */
const char *import_source_resolve(struct import_source *s, const char *name);

/* begin, then bytes in order, then end, for each member; index counts in names. An error stops it and is passed on. */
struct import_receiver {
	enum err_code (*begin)(void *arg, size_t index, uint64_t size, struct err *e);
	enum err_code (*bytes)(void *arg, const void *bytes, size_t len, struct err *e);
	enum err_code (*end)(void *arg, struct err *e);
	void *arg;
};

/* Each of the names once, in whatever order they lie there; names are resolved and differ. ERR_NOT_FOUND names the
 * first that is missing. */
enum err_code import_source_read(struct import_source *s, const char *const *names, size_t count,
                                 const struct import_receiver *receiver, struct err *e) MUST_CHECK;

#endif
