/*
 * build: the entries of one layer as they arrive, and the two documents they make.
 *
 *     build_add ...             each entry of the tar, in its order
 *     build_write               sorts, resolves, writes
 *
 * As when a tar is unpacked, of two entries with one path the later one counts, and what is no directory removes what
 * came before it below its path. Entries written through a symbolic link of the same layer land where the link leads.
 * An entry below something that is neither directory nor link is ERR_INVALID: unpacking would fail.
 *
 * Hard links take what their target was when they came. A target that the layer did not have then is a lower layer's,
 * and stays a hard link. Directories that no entry names are added as implied.
 *
 * Memory is fixed but for links (16 bytes each); the rest goes to the spill file. One thread.
 */
#ifndef ANALYZER_PARSER_BUILD_H
#define ANALYZER_PARSER_BUILD_H

#include "proto/document/summary.h"
#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/parser/name.h"
#include "services/analyzer-worker/parser/spill.h"
#include "services/analyzer-worker/parser/wants.h"

struct build;

struct build *build_new(TALLOC_CTX *ctx, struct spill *spill, const struct layer_limits *limits, size_t arena_size);

/* Hard links to files that nobody looked at are added to missing, and looked up in found; either may be NULL. Both stay
 * the caller's. */
void build_set_wants(struct build *b, struct wants *missing, const struct wants *found);

/* The seq that the entry of the next build_add gets. */
uint32_t build_next_seq(const struct build *b);

/* Keeps what a cataloger found in a wanted file. */
enum err_code build_keep_want(struct build *b, struct want *want, const char *note, size_t note_len,
                              struct err *e) MUST_CHECK;

/* Where an entry of that name really goes: through symbolic links of this layer on the way. Changes name. */
enum err_code build_follow(struct build *b, struct name *name, struct err *e) MUST_CHECK;

/* entry->path and, for hard links, entry->link are normalised and were followed. note: lines of the summary document
 * about the entry, written there if it survives. Errors do not name the entry; the caller does. */
enum err_code build_add(struct build *b, const struct files_entry *entry, const char *note, size_t note_len,
                        struct err *e) MUST_CHECK;

/* Writes all lines of the files document and those of the summary document between its first and its last; both through
 * write functions of the caller. Fills counts, except packages. */
enum err_code build_write(struct build *b, files_write write_files, void *files_arg, files_write write_summary,
                          void *summary_arg, struct summary_counts *counts, struct err *e) MUST_CHECK;

#endif
