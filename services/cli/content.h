/* content: what `stowage image content` prints, a kind each. */
#ifndef CLI_CONTENT_H
#define CLI_CONTENT_H

#include "services/cli/cli.h"

/* type: "os", "packages" or an ecosystem. */
enum err_code content_packages(struct cli *cli, const struct image_detail *image, const char *type,
                               struct err *e) MUST_CHECK;

/* Licences as the packages state them, and how many packages each has. */
enum err_code content_licenses(struct cli *cli, const struct image_detail *image, struct err *e) MUST_CHECK;

/* The merged tree; only_suid: of it, what has setuid or setgid. */
enum err_code content_files(struct cli *cli, const struct image_detail *image, bool only_suid,
                            struct err *e) MUST_CHECK;

/* "manifest", "config", "dockerfile": as they were stored. */
enum err_code content_document(struct cli *cli, const struct image_detail *image, const char *name,
                               struct err *e) MUST_CHECK;

#endif
