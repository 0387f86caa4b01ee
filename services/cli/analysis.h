/* analysis: waiting for an image's analysis, and what it came to. */
#ifndef CLI_ANALYSIS_H
#define CLI_ANALYSIS_H

#include "services/cli/cli.h"

/* On ctx. */
enum err_code analysis_get(struct cli *cli, TALLOC_CTX *ctx, const char *image, struct image_detail **detail,
                           struct err *e) MUST_CHECK;

enum analysis_news {
	ANALYSIS_FRESH, /* this command had it analysed: says how long that took from its beginning, and what it cost */
	ANALYSIS_KNOWN, /* it was analysed before, nothing had to be done */
	ANALYSIS_WAITED, /* somebody had it analysed, maybe long ago: says how long that took, and when it was */
};

/* Waits until the analysis of the image ended, with progress, and prints the image, or with --json its record. A failed
 * analysis is the error that its reason names. */
enum err_code analysis_follow(struct cli *cli, const char *image, enum analysis_news news, struct err *e) MUST_CHECK;

/* A reason as the catalog keeps it, "<code>: <text>", as the error it was. Returns its code. */
enum err_code analysis_reason(const char *image, const char *reason, struct err *e);

/* K=V texts of a repeatable option as a map, on ctx. */
void analysis_annotations(struct cli *cli, TALLOC_CTX *ctx, struct proto_map *map);

#endif
