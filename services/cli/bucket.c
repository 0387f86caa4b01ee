#include "services/cli/bucket.h"

#include <string.h>

static const struct {
	const char *bucket, *owner;
} owned[] = {
    {"layers", "the catalog: results of analysed layers"},
    {"images", "the catalog: manifests, configurations and Dockerfiles of images"},
    {"uploads", "the catalog: images that are being imported"},
    {"archive", "the archive-manager: what archived images consist of"},
};

const char *bucket_owner(const char *bucket)
{
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		if (strcmp(owned[i].bucket, bucket) == 0)
			return owned[i].owner;
	return NULL;
}

enum err_code bucket_check(const struct cli *cli, const char *bucket, struct err *e)
{
	const char *owner = bucket_owner(bucket);

	if (!owner || args_flag(cli->args, "force"))
		return ERR_OK;
	return ERR(e, ERR_FORBIDDEN, "bucket %s belongs to %s; --force does it all the same", bucket, owner);
}
