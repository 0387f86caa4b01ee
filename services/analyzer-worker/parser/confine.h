/*
 * confine: takes from this process what parsing a layer does not need.
 *
 * confine_begin comes first: no new privileges, end with the parent, no core dump, no debugger, resource limits, no
 * descriptor above the given one. confine_seal comes when all threads run and everything that opens files (libraries
 * that read their configuration at first use) has been called once: from then on the process can read, write and map
 * what is open, wait, and end. Every other system call kills it.
 *
 * In sanitizer builds, whose runtime needs more of all this, the address space is not limited and nothing is sealed.
 */
#ifndef ANALYZER_PARSER_CONFINE_H
#define ANALYZER_PARSER_CONFINE_H

#include "common/err.h"

struct confine_limits {
	uint64_t memory;      /* bytes of address space */
	uint64_t cpu_seconds; /* of the whole process */
	uint64_t file_bytes;  /* of any file it writes */
};

enum err_code confine_begin(const struct confine_limits *limits, int highest_fd, struct err *e) MUST_CHECK;
enum err_code confine_seal(struct err *e) MUST_CHECK;

#endif
