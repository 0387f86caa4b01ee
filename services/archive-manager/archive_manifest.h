/*
 * archive_manifest: the object in the archive that says what an archived image is: bucket "archive", key
 * "<hex of the image>/manifest".
 *
 *     {"format": 1, "digest": "sha256:...", "analysed_at": 1769900000000, "tags": [...],
 *      "record": "<what image_export gave, as text>",
 *      "objects": [{"bucket": "layers", "key": "...", "size": 174, "sha256": "sha256:..."}, ...]}
 *
 * The record is kept as the very text it was, because it is handed back as that. With its objects, a manifest is all
 * that a restore needs; the database is not asked.
 */
#ifndef ARCHIVE_MANAGER_ARCHIVE_MANIFEST_H
#define ARCHIVE_MANAGER_ARCHIVE_MANIFEST_H

#include "services/archive-manager/objects.h"

#define ARCHIVE_MANIFEST_FORMAT 1
#define ARCHIVE_MANIFEST_BYTES_MAX (32 * MIB)
#define ARCHIVE_MANIFEST_OBJECTS_MAX 2000

struct archive_manifest {
	struct digest digest;
	int64_t analysed_at;
	struct proto_texts tags;
	const char *record; /* JSON of at most RPC_PAYLOAD_MAX bytes, NUL-terminated */
	struct object_list objects;
};

/* The key of an image's manifest object, on ctx. */
char *archive_manifest_key(TALLOC_CTX *ctx, const struct digest *image);

/* The text, on ctx. The same manifest gives the same text. */
char *archive_manifest_print(TALLOC_CTX *ctx, const struct archive_manifest *m);

/* ERR_CORRUPT: not a manifest of this format, or of another image than that. Everything hangs on ctx. */
enum err_code archive_manifest_parse(TALLOC_CTX *ctx, const void *bytes, size_t len, const struct digest *image,
                                     struct archive_manifest *m, struct err *e) MUST_CHECK;

#endif
