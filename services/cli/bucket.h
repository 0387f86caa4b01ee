/*
 * bucket: which buckets of the object store are the services' own. Whoever writes or removes objects there by hand
 * makes images unreadable, so `store object put` and `rm` want --force for them; reading is always fine.
 */
#ifndef CLI_BUCKET_H
#define CLI_BUCKET_H

#include "services/cli/cli.h"

/* Who owns the bucket and what for; NULL: it is the users'. */
const char *bucket_owner(const char *bucket);

/* ERR_FORBIDDEN, naming the owner, for a bucket that has one, unless --force is given. */
enum err_code bucket_check(const struct cli *cli, const char *bucket, struct err *e) MUST_CHECK;

#endif
