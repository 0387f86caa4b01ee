/*
 * confine: takes from this process what parsing a layer does not need.
 *
 * confine_begin comes when everything that opens files (libraries that read their configuration at first use) has been
 * called once, and before the first byte of a stranger is read: no capabilities, now and for ever, no new privileges,
 * end with the parent, no core dump, no debugger, resource limits, no descriptor above the given one, and where the
 * kernel has Landlock no way into the file system, to TCP or to other processes. It must be called before there are
 * threads. confine_seal comes when all threads run: from then on the process can read, write and map what is open,
 * wait, and end. Every other system call kills it.
 *
 * In sanitizer builds, whose runtime needs more of all this, the address space is not limited, the file system stays
 * open and nothing is sealed.
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

/* Whether this build is one that closes the file system and seals. */
bool confine_seals(void);

#endif
