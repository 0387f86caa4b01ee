#include "services/object-store-gateway/object.h"

#include <string.h>

#define ACCOUNT_MAX 128
#define BUCKET_MAX 64
#define KEY_MAX 1024

static const char bucket_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

enum err_code object_path_check(const struct object_path *path, struct err *e)
{
	size_t len = path->bucket ? strlen(path->bucket) : 0;

	if (!path->account || !*path->account)
		return ERR(e, ERR_INVALID, "the request names no account");
	if (strlen(path->account) > ACCOUNT_MAX)
		return ERR(e, ERR_INVALID, "an account's name has at most %d bytes", ACCOUNT_MAX);
	if (len == 0 || len > BUCKET_MAX || strspn(path->bucket, bucket_letters) != len)
		return ERR(e, ERR_INVALID, "\"%s\" is not a bucket: 1 to %d of a-z 0-9 - _ .",
		           path->bucket ? path->bucket : "", BUCKET_MAX);
	if (!path->key || !*path->key || strlen(path->key) > KEY_MAX)
		return ERR(e, ERR_INVALID, "a key in bucket %s has 1 to %d bytes", path->bucket, KEY_MAX);
	return ERR_OK;
}
