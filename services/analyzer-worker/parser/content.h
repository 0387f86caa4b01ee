/*
 * content: the bytes of files that a cataloger wants, gathered while they pass: small ones in memory, large ones in the
 * spill file, from where they are mapped when they are complete. One file at a time.
 */
#ifndef ANALYZER_PARSER_CONTENT_H
#define ANALYZER_PARSER_CONTENT_H

#include "services/analyzer-worker/parser/spill.h"

#define CONTENT_MEMORY_MAX (2 * MIB)

struct content;

struct content *content_new(TALLOC_CTX *ctx, struct spill *spill);

/* A file of size bytes begins. */
enum err_code content_begin(struct content *c, uint64_t size, struct err *e) MUST_CHECK;
/* Its next bytes; more than size in all is a broken invariant. */
enum err_code content_add(struct content *c, const void *bytes, size_t len, struct err *e) MUST_CHECK;
/* All of it, followed by a NUL; good until content_end. */
enum err_code content_get(struct content *c, const char **bytes, size_t *len, struct err *e) MUST_CHECK;
void content_end(struct content *c);

#endif
