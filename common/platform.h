/*
 * platform: operating system, architecture and variant of an image, in the words that image indexes use
 * ("linux/amd64", "linux/arm64/v8").
 */
#ifndef COMMON_PLATFORM_H
#define COMMON_PLATFORM_H

#include "common/err.h"

#define PLATFORM_PART_SIZE 32

struct platform {
	char os[PLATFORM_PART_SIZE];
	char architecture[PLATFORM_PART_SIZE];
	char variant[PLATFORM_PART_SIZE]; /* empty: none, or in a wish any */
};

/* "os/architecture[/variant]". ERR_INVALID quotes the text. */
enum err_code platform_parse(const char *text, struct platform *p, struct err *e) MUST_CHECK;

/* linux and the architecture of this machine: what is wished for when nobody said. */
struct platform platform_default(void);

char *platform_print(TALLOC_CTX *ctx, const struct platform *p);

/* True when have satisfies wish: same system and architecture, and the same variant unless the wish names none. An
 * unnamed variant of have is its architecture's usual one (arm64 v8, arm v7, amd64 v1). */
bool platform_matches(const struct platform *have, const struct platform *wish);

/* For an image that no index offers: have is what its configuration says. ERR_NOT_FOUND, with both, unless it fits the
 * wish. What the configuration leaves out contradicts nothing: many are silent about the variant, some about all. */
enum err_code platform_check(const struct platform *have, const struct platform *wish, struct err *e) MUST_CHECK;

#endif
