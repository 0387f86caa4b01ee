/*
 * import: an image on disk as an upload: a docker-archive, or an OCI layout (directory or tar).
 *
 *     TRY(import_plan_make(ctx, source, &wish, &plan, e));    -- reads the small parts, decides which image is meant
 *     TRY(import_upload(cli, &plan, upload, e));              -- the blobs, checked while they are read
 *     TRY(import_manifest(ctx, &plan, e));                    -- plan.manifest, plan.digest
 *
 * An OCI layout has its manifest. A docker-archive has none: one is made of its config and its layers as they lie
 * there, always the same for the same content, so that importing twice gives the same image.
 */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "common/manifest.h"
#include "services/cli/cli.h"
#include "services/cli/import_source.h"

struct import_wish {
	const char *name;     /* which image; NULL: there is but one */
	const char *platform; /* NULL: of an index this machine's, else any */
};

struct import_blob {
	const char *member;   /* of the source, resolved */
	struct digest digest; /* expected; none until it is read where nobody says */
	uint64_t size;
	enum codec codec; /* as its first bytes say */
};

struct import_plan {
	struct import_source *source;
	struct import_blob config;
	const char *config_text;
	size_t config_len;
	struct import_blob *blobs; /* of layers, each once */
	size_t blob_count;
	size_t *layers; /* bottom first: index into blobs */
	size_t layer_count;
	const char *manifest; /* NULL: made in import_manifest */
	size_t manifest_len;
	struct digest digest;    /* of the manifest */
	struct proto_texts tags; /* that the source names */
};

enum err_code import_plan_make(TALLOC_CTX *ctx, struct import_source *source, const struct import_wish *wish,
                               struct import_plan *plan, struct err *e) MUST_CHECK;

/* The two kinds; import_plan_make chooses. */
enum err_code import_plan_oci(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan,
                              struct err *e) MUST_CHECK;
enum err_code import_plan_docker(TALLOC_CTX *ctx, const struct import_wish *wish, struct import_plan *plan,
                                 struct err *e) MUST_CHECK;

/* Adds a layer of the member with the digest (none: not known); the same member again is the same blob. */
enum err_code import_add_layer(TALLOC_CTX *ctx, struct import_plan *plan, const char *member,
                               const struct digest *digest, uint64_t size, struct err *e) MUST_CHECK;

/* Sends config and layers to bucket "uploads", keys "<upload>/<hex>". Fills digest, size and codec of what had none;
 * ERR_CORRUPT where content is not what its digest says. */
enum err_code import_upload(struct cli *cli, struct import_plan *plan, const char *upload, struct err *e) MUST_CHECK;

/* After the upload: manifest and digest, where the source had none. Checks that the whole is an image. */
enum err_code import_manifest(TALLOC_CTX *ctx, struct import_plan *plan, struct err *e) MUST_CHECK;

#endif
