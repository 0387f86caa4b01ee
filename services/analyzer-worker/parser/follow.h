/*
 * follow: where an entry lands when a directory on its way is a symbolic link of the same layer, as unpacking into a
 * directory that is used as a root would put it. Targets are only ever looked up among the layer's own links.
 */
#ifndef ANALYZER_PARSER_FOLLOW_H
#define ANALYZER_PARSER_FOLLOW_H

#include "services/analyzer-worker/parser/links.h"
#include "services/analyzer-worker/parser/name.h"
#include "services/analyzer-worker/parser/spill.h"

struct follow;

/* links and log stay the caller's. */
struct follow *follow_new(TALLOC_CTX *ctx, struct links *links, struct spill_log *log);

/* An entry of that path arrived. target: of a symbolic link, NULL for everything else but hard links. */
enum err_code follow_note(struct follow *f, const char *path, size_t len, const char *target, size_t target_len,
                          struct err *e) MUST_CHECK;

/* Follows the links in the name's directory, not one in its last place. ERR_INVALID: the links go in a circle. */
enum err_code follow_name(struct follow *f, struct name *name, struct err *e) MUST_CHECK;

#endif
