/*
 * spill: a scratch file used as memory: what does not fit into the child's few megabytes goes there and is read back.
 *
 * One file, addressed by offset, never freed before it is closed. Space is handed out in order up to a maximum, beyond
 * which it is ERR_TOO_LARGE. A log gathers small records into larger writes; what was added can be read at once.
 * One thread.
 */
#ifndef ANALYZER_PARSER_SPILL_H
#define ANALYZER_PARSER_SPILL_H

#include "common/err.h"

struct spill {
	int fd;
	uint64_t end, max;
};

enum err_code spill_reserve(struct spill *s, uint64_t len, uint64_t *offset, struct err *e) MUST_CHECK;
enum err_code spill_write(struct spill *s, uint64_t offset, const void *bytes, size_t len, struct err *e) MUST_CHECK;
enum err_code spill_read(struct spill *s, uint64_t offset, void *into, size_t len, struct err *e) MUST_CHECK;

struct spill_log;

struct spill_log *spill_log_new(TALLOC_CTX *ctx, struct spill *s);
enum err_code spill_log_add(struct spill_log *log, const void *bytes, size_t len, uint64_t *offset,
                            struct err *e) MUST_CHECK;
enum err_code spill_log_read(struct spill_log *log, uint64_t offset, void *into, size_t len, struct err *e) MUST_CHECK;

#endif
