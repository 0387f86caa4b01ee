/*
 * wants: files whose content turns out to be wanted when it has passed.
 *
 * A hard link may lie where a cataloger looks while the file itself came earlier in the tar under a name that says
 * nothing (pnpm's package.json files are links into its store). Only when all names are known is it known which files
 * those are. Then the layer is read once more: the list goes through the spill file to the next child, which looks at
 * those files too, whatever their names. It sees the same tar, so an entry's position names it.
 *
 * The list is in order of seq while a layer is read the second time; a wanted file is looked for by moving along.
 */
#ifndef ANALYZER_PARSER_WANTS_H
#define ANALYZER_PARSER_WANTS_H

#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/parser/spill.h"

struct want {
	uint32_t seq;                      /* of the file, as in struct record */
	const struct cataloger *cataloger; /* that looks where the link is */
	uint64_t note;                     /* what it found, in the log; note_len 0: nothing */
	uint32_t note_len;
};

struct wants;

struct wants *wants_new(TALLOC_CTX *ctx);

/* First reading: the link needs that file. */
void wants_add(struct wants *w, uint32_t seq, const struct cataloger *cataloger);
size_t wants_count(const struct wants *w);

/* To the spill file, and back from another child's. */
enum err_code wants_save(struct wants *w, struct spill *spill, uint64_t *at, uint64_t *len, struct err *e) MUST_CHECK;
enum err_code wants_load(struct wants *w, struct spill *spill, uint64_t at, uint64_t len, struct err *e) MUST_CHECK;

/* Second reading: those of the entry, seq growing from call to call; *count is mostly 0. */
struct want *wants_of(struct wants *w, uint32_t seq, size_t *count);

/* What was found, when everything was read. NULL: nobody had asked. */
const struct want *wants_find(const struct wants *w, uint32_t seq, const struct cataloger *cataloger);

#endif
