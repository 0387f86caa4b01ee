/*
 * links: which paths of the layer being read are links just now. A hard link to a hard link is a link to what that one
 * links to, and unpacking writes through symbolic links of the same layer; both need to know, when an entry arrives,
 * what an earlier one was.
 *
 * A table of 16 bytes a link, found by a keyed hash of the path (SipHash with a random key, so that nobody can choose
 * paths that collide; two of a million links would share a hash once in 30 million layers).
 */
#ifndef ANALYZER_PARSER_LINKS_H
#define ANALYZER_PARSER_LINKS_H

#include "common/err.h"

enum link_kind { LINK_NONE, LINK_HARD, LINK_SYMBOLIC };

struct links;

struct links *links_new(TALLOC_CTX *ctx, uint64_t max);

/* The path is now a link of that kind, or none. value is less than 2^62. ERR_TOO_LARGE: more than max links. */
enum err_code links_set(struct links *l, const char *path, size_t len, enum link_kind kind, uint64_t value,
                        struct err *e) MUST_CHECK;
enum link_kind links_get(const struct links *l, const char *path, size_t len, uint64_t *value);

/* Are there any of that kind, or were there? */
bool links_any(const struct links *l, enum link_kind kind);

#endif
