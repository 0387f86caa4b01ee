/*
 * tree: the files of an image, merged from its layers' documents as they stream from the gateway. Memory depends on the
 * number of layers alone.
 */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include "proto/document/merge.h"
#include "services/cli/cli.h"

/* ERR_PRECONDITION, saying how to get it back, when the image is in the archive only, or is not analysed. */
enum err_code tree_check(const struct image_detail *image, struct err *e) MUST_CHECK;

/* Every visible entry in order; layer is an index into image->layers. */
enum err_code tree_walk(struct cli *cli, const struct image_detail *image, merge_emit emit, void *arg,
                        struct err *e) MUST_CHECK;

#endif
