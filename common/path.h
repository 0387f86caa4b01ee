/*
 * path: the few operations on directories that the standard library leaves to everyone.
 */
#ifndef COMMON_PATH_H
#define COMMON_PATH_H

#include "common/err.h"

/* As mkdir -p: what is missing of path is made with mode. An existing directory is left as it is. */
enum err_code path_make_directories(const char *path, unsigned mode, struct err *e) MUST_CHECK;

/* As rm -r of dir_fd/name, never following a symbolic link and never leaving the file system. Not there: success. */
enum err_code path_remove_tree(int dir_fd, const char *name, struct err *e) MUST_CHECK;

#endif
