/* last_errors: what services said last, with what was said over and over shown once. */
#ifndef CLI_LAST_ERRORS_H
#define CLI_LAST_ERRORS_H

#include "common/base.h"

struct last_error {
	const char *line; /* the newest of those that are equal, as it was logged; of the caller's lines */
	size_t count;
};

/* lines: newest first, as service_status has them. Two are equal when they differ in time, request and trace alone.
 * Fills errors, which has room for most, in the same order, and returns how many; a kind beyond most is dropped, and
 * those that are in are counted to the end. */
size_t last_errors_collapse(const char *const *lines, size_t count, struct last_error *errors, size_t most);

#endif
