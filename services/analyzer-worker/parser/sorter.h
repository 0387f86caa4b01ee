/*
 * sorter: puts any number of records in order with a fixed amount of memory.
 *
 * Records gather in an arena; a full arena is sorted and written to the spill file as a run; reading merges the runs
 * with what is left in the arena. A layer of ordinary size never leaves the arena, and one whose tar was in order
 * already costs no more than looking.
 *
 *     sorter_add ... sorter_seal          then any number of times: sorter_rewind, sorter_next ... until *record is
 * NULL
 *
 * After sealing, records that come in order themselves may still be added by sorter_append, for the next rewind.
 * Equal path and seq: in any order. One thread.
 */
#ifndef ANALYZER_PARSER_SORTER_H
#define ANALYZER_PARSER_SORTER_H

#include "services/analyzer-worker/parser/record.h"
#include "services/analyzer-worker/parser/spill.h"

struct sorter;

/* arena_size 0: the usual 8 MiB. Small ones are for tests. */
struct sorter *sorter_new(TALLOC_CTX *ctx, struct spill *spill, size_t arena_size);
enum err_code sorter_add(struct sorter *s, const struct record *record, struct err *e) MUST_CHECK;
void sorter_seal(struct sorter *s);
enum err_code sorter_append(struct sorter *s, const struct record *record, struct err *e) MUST_CHECK;
enum err_code sorter_rewind(struct sorter *s, struct err *e) MUST_CHECK;

/* The record's strings live until the next call, and are not terminated. */
enum err_code sorter_next(struct sorter *s, const struct record **record, struct err *e) MUST_CHECK;

#endif
