/*
 * diff: what two images' packages and files differ in. Both are ordered streams, walked side by side; files go through
 * temporary files, so that memory does not depend on their number.
 */
#ifndef CLI_DIFF_H
#define CLI_DIFF_H

#include "proto/document/files.h"
#include "services/cli/cli.h"

struct diff_package {
	const char *type, *name;
	const char *before, *after; /* versions, several joined by ", "; NULL: it is not there */
};

/* One for each (type, name) that is not the same in both, ordered. They live until the callback returns. */
typedef enum err_code (*diff_package_found)(void *arg, const struct diff_package *found, struct err *e);
enum err_code diff_packages(struct cli *cli, const char *a, const char *b, diff_package_found found, void *arg,
                            struct err *e) MUST_CHECK;

/* before or after is NULL where the path is not there; otherwise they differ in something but the layer. */
typedef enum err_code (*diff_file_found)(void *arg, const struct files_entry *before, const struct files_entry *after,
                                         struct err *e);
enum err_code diff_files(struct cli *cli, const struct image_detail *a, const struct image_detail *b,
                         diff_file_found found, void *arg, struct err *e) MUST_CHECK;

#endif
